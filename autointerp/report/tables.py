"""The report's tables as rows of text, for the page and the Markdown report alike."""

from __future__ import annotations

from dataclasses import dataclass

from autointerp import formatting
from autointerp.findings.inputs import Fit, Studies
from autointerp.findings.results import Bin, ControlMean, RarityLevel
from autointerp.findings.summary import Summary
from autointerp.formatting import count, number, percent
from autointerp.records import COMPARED, GIVEN
from autointerp.report import cells, prose
from autointerp.report.escape import markdown as escaped


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of text. The first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown, with its caption above it. All text renders literally."""
        lines = [f"*{escaped(self.caption)}*", "", _row(self.header), _row(("---",) * len(self.header), raw=True)]
        return "\n".join(lines + [_row(row) for row in self.rows])


def _row(texts: tuple[str, ...], raw: bool = False) -> str:
    return "| " + " | ".join(text if raw else escaped(text) for text in texts) + " |"


def bins(summary: Summary) -> Table:
    """Grades by kind and activation bin: the numbers behind the plots and the curve."""
    grades = summary.rubric.grades
    rows = []
    for kind in COMPARED:
        of_kind = bins_of(summary, kind)
        events = sum(row.events for row in of_kind)
        for row in of_kind:
            rows.append(
                (
                    kind,
                    f"({row.low:.3g}, {row.high:.3g}]",
                    *(percent(row.share(grade)) if row.n else cells.BESIDE for grade in grades),
                    cells.interval(row),
                    count(row.n),
                    count(row.n_unscored),
                    count(row.n_units),
                    percent(row.events / events) if events else cells.absent("no activations"),
                )
            )
    header = (
        "kind",
        "bin",
        *(f"grade {g}" for g in grades),
        "mean grade",
        "scored",
        "unscored",
        "units",
        "share of events",
    )
    return Table("Grades by activation bin", header, tuple(rows))


def weightings(summary: Summary) -> Table:
    """The comparison in every reading: bins equally, by their events, at equal rarity, and the strongest bin alone."""
    weighted, chosen = summary.weightings, summary.headline.weighting
    strongest = max((row.bin for row in weighted.bins if row.compared), default=0)
    rows = tuple(
        (
            f"{name} (headline)" if key == chosen else name,
            cells.value(row, "features_mean"),
            cells.value(row, "neurons_mean"),
            cells.interval(row, "difference"),
            cells.value(row, "p_superior"),
            f"{count(row.n_features_scored)} features, {count(row.n_neurons_scored)} neurons",
        )
        for key, name, row in (
            ("bin_uniform", "all bins equal", weighted.bin_uniform),
            ("frequency", "bins weighted by their events in the corpus", weighted.frequency),
            ("equal_rarity", "at equal rarity, all levels equal", summary.equal_rarity),
            ("top", f"the strongest compared bin alone ({strongest})", weighted.top_bin),
        )
        if row is not None
    )
    header = ("reading", "features", "neurons", "difference", "P(feature > neuron)", "units with a grade")
    return Table("Mean grade in every reading", header, rows)


def bin_differences(summary: Summary) -> Table | None:
    """Features minus neurons in each bin, with the units behind it; None for a summary of an early version."""
    rows = tuple(
        (
            str(row.bin),
            count(row.n_features),
            count(row.n_neurons),
            cells.interval(row, "difference"),
            "yes" if row.compared else "no, too few units",
        )
        for row in summary.weightings.bins
    )
    header = ("bin", "features", "neurons", "difference", "in the headline")
    return Table("Features minus neurons by activation bin", header, rows) if rows else None


def rarity_levels(summary: Summary) -> Table | None:
    """Features and neurons in each level of rarity, with what it rests on; None for a summary of an early version."""
    if summary.equal_rarity is None:
        return None
    rows = tuple(
        (
            level_name(row),
            cells.interval(row.features),
            cells.interval(row.neurons),
            cells.interval(row, "difference") if row.compared else f"not compared: {row.why}",
            f"{count(row.n_features)} features, {count(row.n_neurons)} neurons",
            count(row.n),
        )
        for row in summary.equal_rarity.levels
    )
    header = ("the unit's strongest", "features", "neurons", "difference", "units", "exemplars")
    return Table("Mean grade at equal rarity", header, rows)


def level_name(level: RarityLevel) -> str:
    """A level of rarity in words, such as `1 in 1,000 tokens`."""
    return f"1 in {round(1 / level.high):,} tokens"


def controls(summary: Summary) -> Table:
    """Mean grade in each arm and kind, with the number of judgements."""
    rows = []
    for arm, name in prose.arms(summary).items():
        for kind in COMPARED:
            cell = control_mean(summary, arm, kind)
            rows.append((name, f"{kind}s", cells.interval(cell), count(cell.n), count(cell.n_unscored)))
    header = ("condition", "kind", "mean grade", "scored", "unscored")
    return Table("Controls", header, tuple(rows))


def control_mean(summary: Summary, arm: str, kind: str) -> ControlMean:
    """The mean grade of a kind of unit in an arm of `prose.arms`."""
    mean: ControlMean = getattr(getattr(summary.controls, arm), kind)
    return mean


def denominators(summary: Summary) -> Table:
    """What became of every sampled unit."""
    columns = ("sampled", "dead", "barely_active", "unexplained", "unscored", "scored")
    rows = tuple(
        (f"{kind}s", *(count(getattr(summary.denominator[kind], column)) for column in columns)) for kind in COMPARED
    )
    return Table("Sampled units", ("kind", *(c.replace("_", " ") for c in columns)), rows)


def unscored(summary: Summary, n_judgements: int) -> Table:
    """Unscored judgements by reason, over all judgements of all arms."""
    rows = [
        (
            prose.OUTCOMES.get(reason, reason),
            count(n),
            percent(n / n_judgements) if n_judgements else cells.absent("nothing was judged"),
        )
        for reason, n in sorted(summary.unscored.items(), key=lambda item: (-item[1], item[0]))
        if n
    ]
    total = sum(summary.unscored.values())
    share = percent(total / n_judgements) if n_judgements else cells.absent("nothing was judged")
    rows.append((f"total, of {formatting.plural(n_judgements, 'judgement')}", count(total), share))
    return Table("Unscored judgements", ("reason", "unscored", "share"), tuple(rows))


def facts(summary: Summary) -> list[tuple[str, str]]:
    """The cost of the run, as (name, value) pairs."""
    cached = summary.tokens.cache_read or 0
    tokens = f"{count(summary.tokens.input)} sent, {count(summary.tokens.output)} received"
    tokens += f", {count(cached)} read from cache" if cached else ""
    stages = ", ".join(
        f"{stage} {formatting.duration(seconds)}" for stage, seconds in summary.stage_s.items() if seconds is not None
    )
    pairs = [("cost", prose.cost(summary)), ("calls", count(summary.calls)), ("tokens", tokens)]
    pairs.append(("wall time", formatting.duration(summary.wall_s) + (f" ({stages})" if stages else "")))
    if summary.failed_attempts:
        pairs.append(("failed attempts", count(summary.failed_attempts)))
    if summary.lost_calls:
        at_most = summary.lost_usd_at_most
        more = f", at most {formatting.dollars(at_most)} more" if at_most is not None else ""
        pairs.append(("lost replies", count(summary.lost_calls) + more))
    return pairs


def provenance(summary: Summary) -> list[tuple[str, str]]:
    """The origin of the numbers, as (name, value) pairs."""
    subject, dictionary, corpus = summary.subject, summary.dictionary, summary.corpus
    return [
        ("run", summary.run_id),
        ("spec hash", summary.spec_hash),
        ("created, finished", f"{summary.created_at}, {summary.finished_at}"),
        ("subject", f"{subject.name} ({subject.precision})"),
        ("subject fingerprint", subject.fingerprint),
        ("dictionary", f"{dictionary.name} ({dictionary.architecture}, {dictionary.format})"),
        ("dictionary size", f"{count(dictionary.d_sae)} features on {count(dictionary.d_in)} dimensions"),
        ("dictionary fingerprint", dictionary.fingerprint),
        ("hook point", f"{summary.hook_point} (features), {summary.neuron_hook_point} (neurons)"),
        ("corpus", ", ".join(corpus.sources)),
        (
            "corpus size",
            f"{count(corpus.n_documents)} documents, {count(corpus.n_contexts)} contexts,"
            f" {count(corpus.n_tokens)} tokens, {count(corpus.n_counted)} counted",
        ),
        ("duplicates", corpus.contents_statement or "not looked for by the version that made the harvest"),
        ("BOS", corpus.bos_statement or "not recorded"),
        ("corpus fingerprint", corpus.fingerprint),
        (
            "explainer",
            summary.explainer
            + ("" if summary.explainer_is_llm or summary.explainer.startswith(GIVEN) else " (not an LLM)"),
        ),
        ("judge", summary.judge + ("" if summary.judge_is_llm else " (not an LLM)")),
        ("served models", ", ".join(summary.served_models) or "none"),
        ("rubric", f"{summary.rubric.name}, version {summary.rubric.version}"),
        ("seed", str(summary.seed)),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary.versions.items() if version)),
    ]


def check_pairs(check: Fit) -> list[tuple[str, str]]:
    """The dictionary's fit to its subject, as (name, value) pairs."""
    pairs = [
        ("measured on", f"{count(check.tokens)} tokens"),
        ("variance explained", cells.value(check, "variance_explained", _precise)),
        ("active features per token (L0)", cells.value(check, "l0", lambda value: number(value, 1))),
        ("silent features", cells.value(check, "dead_fraction", lambda share: f"{percent(share)} on these tokens")),
        (
            "norm of the reconstruction",
            cells.value(check, "norm_ratio", lambda share: f"{_precise(share)} of the norm"),
        ),
        ("cosine of the reconstruction", cells.value(check, "cosine", _precise)),
    ]
    loss = check.loss
    if loss is None:
        return [*pairs, ("loss recovered", "not measured: the activations cannot be replaced at this hook point")]
    losses = f"{number(loss.clean)} clean, {number(loss.reconstructed)} reconstructed, {number(loss.zeroed)} zeroed"
    recovered = check.loss_recovered
    share = "undefined: zeroing the activations does not raise the loss" if recovered is None else number(recovered, 3)
    return [*pairs, ("loss recovered", f"{share} ({losses}; nats over {count(loss.tokens)} tokens)")]


def correlations(studies: Studies) -> Table | None:
    """Similarity of the sampled features to neurons; None if they were not compared."""
    correlation = studies.correlation
    if correlation.signed is None or correlation.absolute is None:
        return None
    rows = tuple(
        (name, cells.value(figures, "share", percent), cells.value(figures, "median"), count(correlation.features))
        for name, figures in (
            ("highest correlation", correlation.signed),
            ("highest absolute correlation", correlation.absolute),
        )
    )
    header = ("with a neuron", f"at most {correlation.signed.at_most:g}", "median", "features")
    return Table("Correlation of each sampled feature with its most correlated neuron", header, rows)


def rounding(summary: Summary) -> Table:
    """The effect of rounding weak activations to 0, one row per share of the maximum."""
    assert summary.studies is not None
    study = summary.studies.rounding
    graded = {row.share: row for row in study.specificity}
    rows = []
    for share, explained in zip(study.shares, study.variance_explained, strict=True):
        row = graded.get(share)
        mean = cells.interval(row) if row else cells.absent("not computed")
        kept = cells.absent(study.reason("variance_explained")) if explained is None else _precise(explained)
        rows.append((f"{share:g}", mean, count(row.n_units) if row else cells.BESIDE, kept))
    header = ("rounded to 0 up to", "mean grade of features", "features graded", "variance explained")
    return Table("Weak activations rounded to 0", header, tuple(rows))


def densities(studies: Studies) -> list[tuple[str, str]]:
    """Densities of the dictionary's features, as (name, value) pairs."""
    density, l0, tokens = studies.density, studies.l0, count(studies.tokens)
    silent = f"{count(density.dead)} of {count(density.features)} ({percent(density.dead_share)}), on {tokens} tokens"
    median = cells.value(density, "median", lambda m: f"{formatting.scientific(m)} of tokens, silent features excluded")
    spread = f"mean {number(l0.mean, 1)}, median {l0.median:,.0f}, 5th to 95th percentile {l0.p5:,.0f} to {l0.p95:,.0f}"
    return [("silent features", silent), ("median density", median), ("active features per token (L0)", spread)]


def bins_of(summary: Summary, kind: str) -> list[Bin]:
    """The activation bins of one kind, weakest first, without the silent windows (bin 0)."""
    return sorted((row for row in summary.bins if row.kind == kind and row.bin >= 1), key=lambda row: row.bin)


def _precise(value: float) -> str:
    return number(value, 3)
