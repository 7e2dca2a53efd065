"""Caveats: sentences that must be read with the headline, each with its numbers. Those about the judge are its failed checks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from autointerp.findings.absences import RULES
from autointerp.findings.evidence import Evidence
from autointerp.findings.giveaways import NAMES as GIVEAWAYS
from autointerp.findings.judge_checks import checks_of
from autointerp.findings.results import EqualRarity
from autointerp.findings.summary import Summary
from autointerp.findings.thin_figures import thin_figures
from autointerp.formatting import estimate, number, percent, plural
from autointerp.records import GIVEN
from sae.harvest.columns import COUNTED

FEW_FREEDOM = 19.0
"""An interval with fewer degrees of freedom than 20 units of equal weight have rests on few units."""
DENSITY_RATIO = 2.0
"""Median densities of features and neurons that differ by more than this factor are called mismatched."""
ACTIVE_SHARE = 0.1
"""A caveat is given if the unit is active elsewhere in more than this share of silent windows."""
UNSCORED_UNIT_SHARE = 0.1
"""A caveat is given if more than this share of the sampled units has no score."""
PIECES_SHARE = 0.25
"""A caveat is given if more than this share of the documents are pieces of a few long texts."""
IGNORED_MARK_SHARE = 0.75
"""A caveat is given if words near the mark are graded this far up from misses to hits: the judge then hardly uses the mark."""
OWN_TOKENIZER_SHARE = 0.75
"""Tokens per embedding below which a tokenizer may be another model's. Padding adds at most a few percent of embeddings."""
GIVEN_AWAY, FEWEST_GIVEAWAY_UNITS = 0.55, 5
"""A caveat is given if length and mark alone tell items apart with at least this balanced accuracy, over at least so many units."""
CHECK_ORDER = (
    "llm",
    "families",
    "distinction",
    "floor",
    "base_rate",
    "random",
    "planted",
    "noise",
    "people",
    "second",
    "unscored",
)
"""The checks in the order of their caveats."""
ALSO_IF_NOT_MEASURED = ("floor", "base_rate")
"""Checks that are caveats also if they were not measured."""


def caveats(summary: Summary, exemplars: pd.DataFrame) -> list[str]:
    """The caveats of a summary, most important first. `exemplars` needs `role`, `token_activations` and `counted`, if it was stored."""
    parts = (
        *(
            _failed_checks,
            _few_planted,
            _uneven_raters,
            _equal_labels,
            _weak_explainer,
            _high_base_rate,
            _ignored_mark,
            _no_room,
        ),
        *(
            _readings_disagree,
            _bins_left_out,
            _few_units,
            _unscored_units,
            _density,
            _other_contexts,
            _foreign_tokenizer,
        ),
        *(_pieces_of_one_text, _giveaways, _thin_figures),
    )
    sentences = [sentence for part in parts for sentence in part(summary)]
    return [*sentences, *_active_silent_windows(exemplars), *_uncounted_activations(exemplars)]


def _failed_checks(summary: Summary) -> Iterator[str]:
    checks = checks_of(summary)
    for name in CHECK_ORDER:
        check = checks[name]
        if check.passed is False or (check.passed is None and name in ALSO_IF_NOT_MEASURED):
            yield check.message


def _few_planted(summary: Summary) -> Iterator[str]:
    evidence = summary.evidence
    why = None if evidence is None else evidence.planted.why if evidence.planted else evidence.absent.get("planted")
    if why and why != RULES[Evidence]["planted"]:
        yield f"Planted units are missing: {why}."


def _uneven_raters(summary: Summary) -> Iterator[str]:
    people = summary.evidence.people if summary.evidence else None
    for each in people.passed_over if people else ():
        if each.uneven:
            most, least = (pick(each.shares.items(), key=lambda share: share[1]) for pick in (max, min))
            yield (
                f"{each.rater} skipped {each.n} of {each.n_seen} items, unevenly: {percent(most[1])} of {most[0]} and"
                f" {percent(least[1])} of {least[0]}. If the skipped items are the hard ones, people's agreement with the judge and the"
                " corrected headline are biased."
            )


def _equal_labels(summary: Summary) -> Iterator[str]:
    evidence = summary.evidence
    for graded, graders in ((evidence.people, "people"), (evidence.second, "the second judge")) if evidence else ():
        if graded and graded.corrected.difference.ci_low is not None and graded.corrected.difference.uncertain:
            yield (
                f"The correction by {graders} counts the items of {graded.corrected.difference.uncertain} as certain: all labels"
                " there are equal, and more of them may not be."
            )


def _weak_explainer(summary: Summary) -> Iterator[str]:
    given = summary.explainer.startswith(GIVEN)
    if not summary.explainer_is_llm and summary.explainer != summary.judge and not given:
        yield (
            f"The explainer ({summary.explainer}) is not a language model: poor explanations lower the grades of all units."
        )


def _high_base_rate(summary: Summary) -> Iterator[str]:
    main, base = summary.controls.main.all.mean, summary.controls.base_rate.all.mean
    contrast = summary.controls.main_minus_base_rate
    above = contrast.difference if contrast.ci_low is None else contrast.ci_low
    if main is None or base is None or above is None or above <= 0:
        return
    lowest = summary.rubric.grades[0]
    if base - lowest >= (main - lowest) / 2:
        yield (
            f"The base rate is high: explanations have a mean grade of {number(base)} where the unit is silent, and of"
            f" {number(main)} where it is active, so many of them fit text that has nothing to do with the unit."
        )


def _ignored_mark(summary: Summary) -> Iterator[str]:
    planted = summary.evidence.planted if summary.evidence else None
    if planted is None or not planted.separates:
        return
    hits, near, misses = planted.hits.mean, planted.near.mean, planted.misses.mean
    if hits is None or near is None or misses is None:
        return
    if near - misses >= IGNORED_MARK_SHARE * (hits - misses):
        yield (
            f"The judge hardly uses the mark: texts have a mean grade of {number(near)} if a word beside a planted word is"
            f" marked, {number(hits)} if the planted word itself is, and {number(misses)} without planted words."
        )


def _no_room(summary: Summary) -> Iterator[str]:
    ends = summary.evidence.normalised if summary.evidence else None
    if ends and ends.floor is not None and ends.ceiling is not None and ends.ceiling <= ends.floor:
        yield (
            "The ceiling is not above the floor: true explanations of planted units have a mean grade of"
            f" {number(ends.ceiling)}, explanations of other units {number(ends.floor)}."
        )


def _readings_disagree(summary: Summary) -> Iterator[str]:
    weightings = summary.weightings
    readings = {
        "with all bins equal": weightings.bin_uniform,
        "with bins weighted by their events": weightings.frequency,
        "in the strongest bin alone": weightings.top_bin,
        "at equal rarity": summary.equal_rarity,
    }
    lower, higher = [], []
    for name, figures in readings.items():
        if figures is not None and figures.ci_low is not None and figures.ci_high is not None:
            shown = f"{estimate(figures.difference, figures.ci_low, figures.ci_high, signed=True)} {name}"
            lower += [shown] if figures.ci_high < 0 else []
            higher += [shown] if figures.ci_low > 0 else []
    if lower and higher:
        yield (
            f"The readings of the difference contradict each other: it is {', '.join(higher)}, but {', '.join(lower)}. Which"
            " kind has the higher grades depends on how strong or rare the activations are."
        )


def _bins_left_out(summary: Summary) -> Iterator[str]:
    headline = summary.headline
    if headline.bins_compared and headline.bins_left_out:
        total = len(headline.bins_compared) + len(headline.bins_left_out)
        left_out = ", ".join(map(str, headline.bins_left_out))
        yield (
            f"The headline compares {len(headline.bins_compared)} of {total} bins: in {'bins' if ',' in left_out else 'bin'}"
            f" {left_out} too few features or neurons have a grade."
        )


def _few_units(summary: Summary) -> Iterator[str]:
    figures = summary.weightings.bin_uniform
    if figures.difference is not None and figures.ci_low is None:
        reason = (figures.why or "there are too few units").removeprefix("no interval: ")
        yield f"The difference of {number(figures.difference, signed=True)} has no interval: {reason}."
    elif figures.freedom is not None and figures.freedom < FEW_FREEDOM:
        yield (
            f"The difference rests on few units: {plural(figures.n_features_scored, 'feature')} and"
            f" {plural(figures.n_neurons_scored, 'neuron')} tell as much of its spread as"
            f" {figures.freedom + 1:.0f} units of one kind. Another sample may contain units that this one lacks."
        )


def _unscored_units(summary: Summary) -> Iterator[str]:
    zeroed = summary.difference_if_unscored_units_are_zero
    for kind, counts in summary.denominator.items():
        missing = counts.sampled - counts.scored
        if counts.sampled and missing > UNSCORED_UNIT_SHARE * counts.sampled:
            shown = number(zeroed, signed=True)
            effect = (
                "" if zeroed is None else f"; if all units without a score had the lowest grade, it would be {shown}"
            )
            yield (
                f"{missing} of {counts.sampled} sampled {kind}s have no score ({counts.dead} dead, {counts.barely_active}"
                f" barely active, {counts.unexplained} unexplained, {counts.unscored} unscored) and do not enter the"
                f" difference{effect}."
            )


def _density(summary: Summary) -> Iterator[str]:
    ratio = summary.density.ratio
    if ratio is not None and not 1 / DENSITY_RATIO <= ratio <= DENSITY_RATIO:
        factor, word = (ratio, "more") if ratio > 1 else (1 / ratio, "less")
        yield (
            f"Features and neurons differ in density: the median feature is active {factor:.3g} times {word} often than the"
            f" median neuron ({percent(summary.density.feature)} and {percent(summary.density.neuron)} of tokens), so a bin of (0, max]"
            f" holds rarer activations of one kind than of the other. {_at_equal_rarity(summary.equal_rarity)}"
        )


def _at_equal_rarity(figures: EqualRarity | None) -> str:
    """The difference at equal rarity in a sentence, or why there is none."""
    if figures is None or figures.difference is None:
        return f"No difference at equal rarity: {figures.why if figures else 'the summary is of an early version'}."
    levels = sum(level.compared for level in figures.levels)
    shown = estimate(figures.difference, figures.ci_low, figures.ci_high, signed=True)
    return f"At equal rarity the difference is {shown} ({levels} of {plural(len(figures.levels), 'level')})."


def _other_contexts(summary: Summary) -> Iterator[str]:
    dictionary, corpus = summary.dictionary, summary.corpus
    if None not in (dictionary.trained_with_bos, corpus.bos) and dictionary.trained_with_bos != corpus.bos:
        words = ("with", "without") if corpus.bos else ("without", "with")
        yield f"Contexts were read {words[0]} BOS, but the dictionary's files state that it was trained {words[1]} it."
    if dictionary.trained_context and corpus.context_tokens and corpus.context_tokens > dictionary.trained_context:
        yield (
            f"Contexts have up to {corpus.context_tokens} tokens, but the dictionary was trained on"
            f" {dictionary.trained_context}: its activations at later positions are of a kind that it has not seen."
        )


def _foreign_tokenizer(summary: Summary) -> Iterator[str]:
    tokens, embeddings = summary.subject.n_tokens, summary.subject.n_embeddings
    if tokens and embeddings and tokens < OWN_TOKENIZER_SHARE * embeddings:
        yield (
            f"The subject has embeddings of {embeddings:,} tokens, but its tokenizer only {tokens:,} tokens: it may be another model's,"
            " and then the units are active in garbled text."
        )


def _pieces_of_one_text(summary: Summary) -> Iterator[str]:
    contents = summary.corpus.contents
    if contents and contents.pieces > PIECES_SHARE * summary.corpus.n_documents:
        texts = plural(contents.cut, "long text")
        yield (
            f"{contents.pieces} of {summary.corpus.n_documents} documents are pieces of {texts}: units were explained and judged on"
            " parts of the same text, and may respond otherwise to other texts."
        )


def _giveaways(summary: Summary) -> Iterator[str]:
    for giveaway in summary.giveaways:
        measured = giveaway.balanced_accuracy
        if measured.mean is None or measured.mean < GIVEN_AWAY or measured.n < FEWEST_GIVEAWAY_UNITS:
            continue
        if measured.ci_low is None or measured.ci_low > 0.5:
            shown = estimate(measured.mean, measured.ci_low, measured.ci_high)
            yield (
                f"In {GIVEAWAYS.get(giveaway.comparison, giveaway.comparison)}, the length of a text and the place of its mark alone tell what the judge is"
                f" to tell: a rule that reads nothing else has a balanced accuracy of {shown} over {plural(measured.n, 'unit')}, where"
                " chance is 0.50."
            )


def _thin_figures(summary: Summary) -> Iterator[str]:
    for scorer, kinds in thin_figures(summary):
        yield (
            f"{scorer.capitalize()} covers {' and '.join(map(str, kinds))}: these are selected by what it can evaluate, and stand for"
            " no others, so its difference between features and neurons is not one of the kinds."
        )


def _active_silent_windows(exemplars: pd.DataFrame) -> Iterator[str]:
    windows = exemplars.loc[exemplars["role"] == "quiet", "token_activations"]
    active = sum(bool(len(a)) and max(a) > 0 for a in windows)
    if active > ACTIVE_SHARE * len(windows):
        yield (
            f"In {percent(active / len(windows))} of the silent windows the unit is active at another token than the marked"
            " one: the explanation may rightly fit there, so the base rate is overstated."
        )


def _uncounted_activations(exemplars: pd.DataFrame) -> Iterator[str]:
    if len(exemplars) and (COUNTED not in exemplars or exemplars[COUNTED].isna().any()):
        yield (
            "The harvest is of a version that had activations at tokens which are not counted, such as the first of a context:"
            " simulation and fuzzing leave out the first positions and special tokens, but heat, marks and silent windows are"
            " still by those activations. Remove the harvest's folder and run the spec under another name to measure again."
        )
