"""The report's tables as rows of text, for the page and the Markdown report alike."""

from __future__ import annotations

from dataclasses import dataclass

from autointerp import formatting
from autointerp.findings.caveats import FEW_FREEDOM
from autointerp.findings.inputs import Fit, Studies
from autointerp.findings.results import Bin, ControlMean
from autointerp.findings.summary import Summary
from autointerp.formatting import count, estimate, number, percent
from autointerp.records import COMPARED
from autointerp.report import prose


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of text. The first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
                    *(percent(row.share(grade)) if row.n else formatting.NOT_AVAILABLE for grade in grades),
                    measured(row.mean, row.ci_low, row.ci_high, row.why, row.freedom),
                    count(row.n),
                    count(row.n_unscored),
                    count(row.n_units),
                    percent(row.events / events) if events else formatting.NOT_AVAILABLE,
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
    return Table(_caption("Grades by activation bin", summary), header, tuple(rows))


def weightings(summary: Summary) -> Table:
    """The headline's comparison under every weighting of the bins."""
    weighted = summary.weightings
    top = f"the strongest compared bin alone ({max(summary.headline.bins_compared, default=0)})"
    rows = tuple(
        (
            name,
            number(row.features_mean),
            number(row.neurons_mean),
            measured(row.difference, row.ci_low, row.ci_high, row.why, row.freedom),
            number(row.p_superior),
            f"{count(row.n_features_scored)} / {count(row.n_neurons_scored)}",
        )
        for name, row in (
            ("all bins equal (headline)", weighted.bin_uniform),
            ("bins weighted by their events in the corpus", weighted.frequency),
            (top, weighted.top_bin),
        )
        if row is not None
    )
    header = ("weighting", "features", "neurons", "difference", "P(feature > neuron)", "features / neurons scored")
    return Table(_caption("Mean grade under every weighting", summary), header, rows)


def bin_differences(summary: Summary) -> Table | None:
    """Features minus neurons in each bin, with the units behind it; None for a summary of an early version."""
    rows = tuple(
        (
            str(row.bin),
            count(row.n_features),
            count(row.n_neurons),
            measured(row.difference, row.ci_low, row.ci_high, row.why),
            "yes" if row.compared else "no, too few units",
        )
        for row in summary.weightings.bins
    )
    header = ("bin", "features", "neurons", "difference", "in the headline")
    return Table(_caption("Features minus neurons by activation bin", summary), header, rows) if rows else None


def measured(
    value: float | None, low: float | None, high: float | None, why: str | None, freedom: float | None = None
) -> str:
    """An estimate with its interval, or with the reason why it has none; marked if its interval rests on few units."""
    shown = estimate(value, low, high)
    if value is not None and low is None and why:
        return f"{shown} ({why})"
    return f"{shown} (few units)" if freedom is not None and freedom < FEW_FREEDOM else shown


def controls(summary: Summary) -> Table:
    """Mean grade in each arm and kind, with the number of judgements."""
    rows = []
    for arm, name in prose.arms(summary).items():
        for kind in COMPARED:
            cell = control_mean(summary, arm, kind)
            shown = measured(cell.mean, cell.ci_low, cell.ci_high, cell.why, cell.freedom)
            rows.append((name, f"{kind}s", shown, count(cell.n), count(cell.n_unscored)))
    header = ("condition", "kind", "mean grade", "scored", "unscored")
    return Table(_caption("Controls", summary), header, tuple(rows))


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
    return Table(_caption("Sampled units", summary), ("kind", *(c.replace("_", " ") for c in columns)), rows)


def unscored(summary: Summary, n_judgements: int) -> Table:
    """Unscored judgements by reason, over all judgements of all arms."""
    rows = [
        (
            prose.OUTCOMES.get(reason, reason),
            count(n),
            percent(n / n_judgements) if n_judgements else formatting.NOT_AVAILABLE,
        )
        for reason, n in sorted(summary.unscored.items(), key=lambda item: (-item[1], item[0]))
        if n
    ]
    total = sum(summary.unscored.values())
    share = percent(total / n_judgements) if n_judgements else formatting.NOT_AVAILABLE
    rows.append((f"total, of {formatting.plural(n_judgements, 'judgement')}", count(total), share))
    return Table(_caption("Unscored judgements", summary), ("reason", "unscored", "share"), tuple(rows))


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
        ("explainer", summary.explainer + ("" if summary.explainer_is_llm else " (not an LLM)")),
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
        ("variance explained", number(check.variance_explained, 3)),
        ("active features per token (L0)", number(check.l0, 1)),
        ("silent features", f"{percent(check.dead_fraction)} on these tokens"),
        ("norm, cosine", f"{number(check.norm_ratio, 3)} of the norm, cosine {number(check.cosine, 3)}"),
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
        (name, percent(figures.share), number(figures.median), count(correlation.features))
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
        mean = estimate(row.mean, row.ci_low, row.ci_high) if row else formatting.NOT_AVAILABLE
        rows.append((f"{share:g}", mean, count(row.n_units if row else None), number(explained, 3)))
    header = ("rounded to 0 up to", "mean grade of features", "features graded", "variance explained")
    return Table(_caption("Weak activations rounded to 0", summary), header, tuple(rows))


def densities(studies: Studies) -> list[tuple[str, str]]:
    """Densities of the dictionary's features, as (name, value) pairs."""
    density, l0, tokens = studies.density, studies.l0, count(studies.tokens)
    silent = f"{count(density.dead)} of {count(density.features)} ({percent(density.dead_share)}), on {tokens} tokens"
    median = formatting.scientific(density.median)
    if density.median is not None:
        median += " of tokens, silent features excluded"
    spread = f"mean {number(l0.mean, 1)}, median {l0.median:,.0f}, 5th to 95th percentile {l0.p5:,.0f} to {l0.p95:,.0f}"
    return [("silent features", silent), ("median density", median), ("active features per token (L0)", spread)]


def bins_of(summary: Summary, kind: str) -> list[Bin]:
    """The activation bins of one kind, weakest first, without the silent windows (bin 0)."""
    return sorted((row for row in summary.bins if row.kind == kind and row.bin >= 1), key=lambda row: row.bin)


def _caption(title: str, summary: Summary) -> str:
    return f"{title}; {prose.judged_by(summary)}"
