"""The tables that stand beside the figures, as rows of text: the page and the text report print the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autointerp import formatting
from autointerp.formatting import count, estimate, number, percent
from autointerp.records import COMPARED
from autointerp.report import prose
from autointerp.report.prose import Summary


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of text; the first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def bins(summary: Summary) -> Table:
    """What the two plots and the curve show, a row a kind and bin."""
    grades = prose.grades_of(summary)
    rows = []
    for kind in COMPARED:
        of_kind = bins_of(summary, kind)
        events = sum(row["events"] for row in of_kind)
        for row in of_kind:
            rows.append(
                (
                    kind,
                    f"({row['low']:.3g}, {row['high']:.3g}]",
                    *(percent(row.get(f"share_{grade}")) if row["n"] else formatting.NONE for grade in grades),
                    estimate(row["mean"], row["ci_low"], row["ci_high"]),
                    count(row["n"]),
                    count(row["n_unscored"]),
                    count(row["n_units"]),
                    percent(row["events"] / events) if events else formatting.NONE,
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
    """The headline under both weightings of the bins. Without numbers when it is withheld."""
    rows = []
    names = {"bin_uniform": "every bin alike (headline)", "frequency": "bins by their events in the corpus"}
    for key, name in names.items():
        cell: Mapping[str, Any] = summary["weightings"].get(key) or {}
        rows.append(
            (
                name,
                number(cell.get("features_mean")),
                number(cell.get("neurons_mean")),
                estimate(cell.get("difference"), cell.get("ci_low"), cell.get("ci_high")),
                number(cell.get("p_superior")),
                f"{count(cell.get('n_features_scored'))} / {count(cell.get('n_neurons_scored'))}",
            )
        )
    header = ("weighting", "features", "neurons", "difference", "P(feature > neuron)", "features / neurons scored")
    return Table(_caption("Mean grade under both weightings", summary), header, tuple(rows))


def controls(summary: Summary) -> Table:
    """Mean grade in each arm, for each kind, with denominators."""
    rows = []
    for arm, name in prose.ARMS.items():
        for kind in COMPARED:
            cell = (summary["controls"].get(arm) or {}).get(kind) or {}
            shown = estimate(cell.get("mean"), cell.get("ci_low"), cell.get("ci_high"))
            rows.append((name, f"{kind}s", shown, count(cell.get("n")), count(cell.get("n_unscored"))))
    header = ("judged on", "kind", "mean grade", "scored", "unscored")
    return Table(_caption("Controls", summary), header, tuple(rows))


def denominators(summary: Summary) -> Table:
    """What became of every sampled unit."""
    columns = ("sampled", "dead", "barely_active", "unexplained", "unscored", "scored")
    rows = tuple(
        (f"{kind}s", *(count((summary["denominator"].get(kind) or {}).get(column)) for column in columns))
        for kind in COMPARED
    )
    return Table(_caption("Units", summary), ("kind", *(c.replace("_", " ") for c in columns)), rows)


def unscored(summary: Summary, n_judgements: int) -> Table:
    """Unscored judgements by reason, over all judgements of all arms."""
    rows = [
        (prose.OUTCOMES.get(reason, reason), count(n), percent(n / n_judgements) if n_judgements else formatting.NONE)
        for reason, n in sorted(summary["unscored"].items(), key=lambda item: (-item[1], item[0]))
        if n
    ]
    total = sum(summary["unscored"].values())
    share = percent(total / n_judgements) if n_judgements else formatting.NONE
    rows.append((f"all, of {formatting.plural(n_judgements, 'judgement')}", count(total), share))
    return Table(_caption("Unscored judgements", summary), ("reason", "unscored", "share"), tuple(rows))


def facts(summary: Summary) -> list[tuple[str, str]]:
    """What the run cost, as pairs."""
    tokens = summary["tokens"]
    cached = tokens.get("cache_read") or 0
    said = f"{count(tokens['input'])} in, {count(tokens['output'])} out" + (
        f", {count(cached)} read from cache" if cached else ""
    )
    stages = summary.get("stage_s") or {}
    spent = ", ".join(f"{stage} {formatting.duration(s)}" for stage, s in stages.items() if s is not None)
    pairs = [("cost", prose.cost(summary)), ("calls", count(summary["calls"])), ("tokens", said)]
    pairs.append(("wall time", formatting.duration(summary["wall_s"]) + (f" ({spent})" if spent else "")))
    if summary.get("failed_attempts"):
        pairs.append(("failed attempts", count(summary["failed_attempts"])))
    if summary.get("lost_calls"):
        at_most = summary.get("lost_usd_at_most")
        more = f", at most {formatting.dollars(at_most)} more" if at_most is not None else ""
        pairs.append(("lost replies", count(summary["lost_calls"]) + more))
    return pairs


def provenance(summary: Summary) -> list[tuple[str, str]]:
    """Where the numbers come from, as pairs."""
    subject, dictionary, corpus = summary["subject"], summary["dictionary"], summary["corpus"]
    return [
        ("run", str(summary["run_id"])),
        ("spec hash", str(summary["spec_hash"])),
        ("created, finished", f"{summary['created_at']}, {summary['finished_at']}"),
        ("subject", f"{subject['name']} ({subject['precision']})"),
        ("subject fingerprint", str(subject["fingerprint"])),
        ("dictionary", f"{dictionary['name']} ({dictionary['architecture']}, {dictionary['format']})"),
        ("dictionary size", f"{count(dictionary['d_sae'])} features on {count(dictionary['d_in'])} dimensions"),
        ("dictionary fingerprint", str(dictionary["fingerprint"])),
        ("hook point", f"{summary['hook_point']} (features), {summary['neuron_hook_point']} (neurons)"),
        ("corpus", ", ".join(str(source) for source in corpus["sources"])),
        (
            "corpus size",
            f"{count(corpus['n_documents'])} documents, {count(corpus['n_contexts'])} contexts,"
            f" {count(corpus['n_tokens'])} tokens, {count(corpus['n_counted'])} counted",
        ),
        ("corpus fingerprint", str(corpus["fingerprint"])),
        ("explainer", str(summary["explainer"]) + ("" if summary["explainer_is_llm"] else " (not an LLM)")),
        ("judge", str(summary["judge"]) + ("" if summary["judge_is_llm"] else " (not an LLM)")),
        ("served models", ", ".join(str(model) for model in summary["served_models"]) or "none"),
        ("rubric", f"{summary['rubric']['name']}, version {summary['rubric']['version']}"),
        ("seed", str(summary["seed"])),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items() if version)),
    ]


def check_pairs(check: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a dictionary explains of its subject, as pairs."""
    pairs = [
        ("measured on", f"{count(check['tokens'])} tokens"),
        ("variance explained", number(check["variance_explained"], 3)),
        ("active a token (L0)", number(check["l0"], 1)),
        ("silent features", f"{percent(check['dead_fraction'])} on these tokens"),
        ("norm, cosine", f"{number(check['norm_ratio'], 3)} of the norm, cosine {number(check['cosine'], 3)}"),
    ]
    loss = check["loss"]
    if loss is None:
        return [*pairs, ("loss recovered", "not measured: the subject has no loss with another value there")]
    figures = (
        f"{number(loss['clean'])} clean, {number(loss['reconstructed'])} reconstructed, {number(loss['zeroed'])} zeroed"
    )
    recovered = check["loss_recovered"]
    share = "no meaning: zeroing costs nothing" if recovered is None else number(recovered, 3)
    return [*pairs, ("loss recovered", f"{share} ({figures}; nats over {count(loss['tokens'])} tokens)")]


def correlations(summary: Summary) -> Table:
    """How like neurons the sampled features are."""
    found, rows = summary["studies"]["correlation"], []
    for name, shown in (("signed", "highest correlation"), ("absolute", "highest absolute correlation")):
        figures = found.get(name) or {}
        rows.append((shown, percent(figures.get("share")), number(figures.get("median")), count(found.get("features"))))
    header = ("each feature's best neuron", "at most 0.3", "median", "features")
    return Table("Features and neurons", header, tuple(rows))


def rounding(summary: Summary) -> Table:
    """What rounding weak activations to 0 does, a row a share of the maximum."""
    found = summary["studies"]["rounding"]
    graded = {row["share"]: row for row in found.get("specificity") or []}
    rows = []
    for share, explained in zip(found["shares"], found["variance_explained"], strict=True):
        row: Mapping[str, Any] = graded.get(share) or {}
        mean = estimate(row.get("mean"), row.get("ci_low"), row.get("ci_high"))
        rows.append((f"{share:g}", mean, count(row.get("n_units")), number(explained, 3)))
    header = ("rounded to 0 up to", "mean grade of features", "features graded", "variance explained")
    return Table(_caption("Weak activations rounded to 0", summary), header, tuple(rows))


def densities(summary: Summary) -> list[tuple[str, str]]:
    """How often the dictionary's features are active, as pairs."""
    studies = summary["studies"]
    density, l0, tokens = studies["density"], studies["l0"], count(studies["tokens"])
    silent = f"{count(density['dead'])} of {count(density['features'])} ({percent(density['dead_share'])}), on {tokens} tokens"
    median = (
        formatting.NONE if density["median"] is None else f"{density['median']:.1e} of tokens, silent features left out"
    )
    spread = f"mean {number(l0['mean'], 1)}, median {l0['median']:,.0f}, 5th to 95th percentile {l0['p5']:,.0f} to {l0['p95']:,.0f}"
    return [("silent features", silent), ("median density", median), ("active a token (L0)", spread)]


def _caption(what: str, summary: Summary) -> str:
    return f"{what}; {prose.judged_by(summary)}"


def bins_of(summary: Summary, kind: str) -> list[dict[str, Any]]:
    """The activation bins of one kind, weakest first; silent windows are not one of them."""
    rows = [row for row in summary["bins"] if row["kind"] == kind and row["bin"] >= 1]
    return sorted(rows, key=lambda row: int(row["bin"]))
