"""Feature dashboards of a run, with the fields that SAEDashboard gives them.

Source: `NeuronpediaDashboardFeature` and `NeuronpediaDashboardActivation` of sae-dashboard 0.8.0
(`sae_dashboard/neuronpedia/neuronpedia_dashboard.py`), which Neuronpedia's converter reads. Fields that a run does not measure have
that class's own defaults: neighbouring neurons and features, logits and vectors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autointerp.exports.run_tables import Row, RunTables

TOP, PER_BIN = 20, 5
"""Number of activations in the group of the strongest, and in each activation bin, as in SAEDashboard."""
_EMPTY = (
    *("neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1"),
    *("correlated_neurons_indices", "correlated_neurons_l1", "correlated_neurons_pearson"),
    *("correlated_features_indices", "correlated_features_l1", "correlated_features_pearson"),
    *("neg_str", "neg_values", "pos_str", "pos_values"),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values", "decoder_weights_dist", "vector"),
)
_OF_THE_STRONGEST = -1
"""`bin_min` and `bin_contains` of the group of the strongest activations."""


def features(run: RunTables) -> Iterator[dict[str, Any]]:
    """The dashboard of each sampled feature that is active, by index."""
    corpus, bins = run.summary.corpus, sorted({(b.bin, b.low, b.high) for b in run.summary.bins})
    of_all = {
        "n_prompts_total": corpus.n_contexts,
        "n_tokens_in_prompt": int(run.spec.get("corpus", {}).get("context_tokens", 0)),
        "dataset": ", ".join(corpus.sources),
    }
    exemplars: dict[str, list[Row]] = defaultdict(list)
    for row in run.exemplars:
        exemplars[row["unit_id"]].append(row)
    for unit in active_features(run):
        yield {
            "feature_index": int(unit["index"]),
            **{name: [] for name in _EMPTY},
            "frac_nonzero": unit["density"] or 0.0,
            **_histogram(unit),
            **of_all,
            "activations": _activations(unit, exemplars[unit["unit_id"]], bins),
        }


def active_features(run: RunTables) -> list[Row]:
    """The sampled features that are active, by index."""
    return sorted(
        (unit for unit in run.units if unit["kind"] == "feature" and unit["status"] != "dead"),
        key=lambda unit: int(unit["index"]),
    )


def _histogram(unit: Row) -> dict[str, list[float]]:
    """Counts of active tokens, and the middles of their bars."""
    heights = [float(n) for n in unit.get("histogram") or []]
    width = (unit["max_activation"] or 0.0) / max(len(heights), 1)
    middles = [round((place + 0.5) * width, 3) for place in range(len(heights))]
    return {"freq_hist_data_bar_values": middles, "freq_hist_data_bar_heights": heights}


def _activations(unit: Row, exemplars: Sequence[Row], bins: Sequence[tuple[int, float, float]]) -> list[dict[str, Any]]:
    """The strongest exemplars, and the judged ones of each bin from the highest down."""
    active = sorted((row for row in exemplars if row["bin"]), key=lambda row: (-row["activation"], row["exemplar_id"]))
    distinct = {(row["document"], row["position"]): row for row in reversed(active)}
    strongest = sorted(distinct.values(), key=lambda row: (-row["activation"], row["exemplar_id"]))[:TOP]
    found = [_activation(row, _OF_THE_STRONGEST, unit["max_activation"], _OF_THE_STRONGEST) for row in strongest]
    shares = _shares(unit, bins)
    for bin_, low, high in reversed(bins):
        judged = [row for row in active if row["bin"] == bin_ and row["role"] == "score"][:PER_BIN]
        edges = (low * unit["max_activation"], high * unit["max_activation"], shares.get(bin_, 0.0))
        found += [_activation(row, *edges) for row in judged]
    return found


def _shares(unit: Row, bins: Sequence[tuple[int, float, float]]) -> Mapping[int, float]:
    """The share of the unit's active tokens in each bin; empty in tables of early versions."""
    events = unit.get("bin_events") or []
    total = sum(events)
    return {bin_: n / total for (bin_, _, _), n in zip(bins, events, strict=False)} if total else {}


def _activation(row: Row, low: float, high: float, share: float) -> dict[str, Any]:
    return {
        "bin_min": low,
        "bin_max": high,
        "bin_contains": share,
        "tokens": row["tokens"],
        # -0.0, which an encoder leaves at silent tokens, is 0.0 + -0.0.
        "values": [round(value or 0.0, 3) + 0.0 for value in row["token_activations"]],
        "qualifying_token_index": row["mark"],
    }
