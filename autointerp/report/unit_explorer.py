"""The data of the page's list of units, in a compact form that the page's script reads.

Every string is stored once in a shared table, the most used first, and referred to by its index; the activation of a token becomes one
digit. All text passes `visible` here, so that the script sees only legible characters.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from autointerp.records import ExplanationKey
from autointerp.report import prose
from autointerp.report.contexts import Row, bounds, heat
from autointerp.report.escape import clip, visible
from autointerp.report.reader import Results
from autointerp.report.string_table import ALPHABET, StringTable

ARMS = (*prose.ARMS, "near", "variant")
MEANS = ("mean_score", "mean_score_frequency", "shuffled_mean", "base_rate_mean")
"""A unit's mean grades, in the order in which the page has the reasons for missing ones."""
_TOKEN_CHARS, _REASON_CHARS, _EXPLANATION_CHARS = 48, 200, 600
_SHOWN_TOKENS = 8
"""Tokens shown of those that a unit promotes, and of those that it suppresses."""


def page_data(results: Results) -> dict[str, Any]:
    """The JSON that the page's script reads; `units` are features and neurons, `known` are control units, in the file's order."""
    strings = StringTable()
    bins = max((row.bin for row in results.summary.bins), default=1)
    all_units = [*results.units, *results.known]
    near = _nearest_neurons(results)
    drafts = [_draft(unit, results, strings, bins) | {"near": near.get(unit["unit_id"])} for unit in all_units]
    table = strings.table()
    unit_indices = {unit["unit_id"]: index for index, unit in enumerate(all_units)}
    resolved = [_resolve(draft, strings, unit_indices) for draft in drafts]
    return {
        "strings": table,
        "alphabet": ALPHABET,
        "neuronpedia": _page(results.summary.dictionary.neuronpedia),
        "arms": list(ARMS),
        "kinds": prose.KINDS,
        "outcomes": list(prose.OUTCOMES.values()),
        "bins": bins,
        "grades": results.summary.rubric.grades,
        "units": resolved[: len(results.units)],
        "known": resolved[len(results.units) :],
    }


def _page(address: str | None) -> str | None:
    """The address of a page on the web; None for anything else in its place, which a link could run."""
    return visible(address) if address and address.startswith("https://") else None


def _nearest_neurons(results: Results) -> dict[str, tuple[str, float]]:
    """The most correlated neuron of each feature, with the correlation, by unit id; empty if the run did not compare them."""
    study = results.summary.studies.correlation if results.summary.studies else None
    best = {match.feature: match for match in study.best} if study else {}
    features = [unit for unit in results.units if unit["kind"] == "feature"]
    found = {unit["unit_id"]: best[unit["index"]] for unit in features if unit["index"] in best}
    return {
        unit_id: (visible(match.neuron), round(match.r, 2)) for unit_id, match in found.items() if match.r is not None
    }


def _draft(unit: Row, results: Results, strings: StringTable, bins: int) -> dict[str, Any]:
    """What the page shows of a unit, with strings still in full: their numbers are known only once all are counted."""
    unit_id, judged = unit["unit_id"], results.judgements.get(unit["unit_id"], [])
    by_exemplar: dict[str, list[Row]] = defaultdict(list)
    for row in judged:
        by_exemplar[row["exemplar_id"]].append(row)
    explanation = unit["explanation"]
    text = strings.use(clip(visible(explanation), _EXPLANATION_CHARS)) if explanation else None

    def drawn(exemplar_ids: list[str]) -> list[dict[str, Any]]:
        rows = [
            (results.exemplars[name], by_exemplar.get(name, [])) for name in exemplar_ids if name in results.exemplars
        ]
        return [_exemplar(exemplar, judgements, unit["max_activation"], strings) for exemplar, judgements in rows]

    exemplars = drawn(results.chosen.get(unit_id, []))
    exemplars.sort(key=lambda exemplar: (-exemplar["bin"], -exemplar["fraction"]))
    return {
        "row": unit,
        "text": text,
        "means": _means(judged, bins),
        "variants": _variants(unit_id, judged, results, strings),
        "promoted": [
            strings.use(clip(visible(token), _TOKEN_CHARS)) for token in (unit.get("promoted") or [])[:_SHOWN_TOKENS]
        ],
        "suppressed": [
            strings.use(clip(visible(token), _TOKEN_CHARS)) for token in (unit.get("suppressed") or [])[:_SHOWN_TOKENS]
        ],
        "strongest": drawn(results.strongest.get(unit_id, [])),
        "exemplars": exemplars,
        "rest": len(by_exemplar.keys() - results.exemplars.keys()),
    }


def _exemplar(exemplar: Row, judged: list[Row], maximum: float | None, strings: StringTable) -> dict[str, Any]:
    tokens, activations, mark = exemplar["tokens"], exemplar["token_activations"], int(exemplar["mark"])
    start, stop = bounds(len(tokens), mark)
    return {
        "bin": int(exemplar["bin"]),
        "fraction": float(exemplar["activation_fraction"]),
        "mark": mark - start,
        "turn": exemplar.get("turn"),
        "flags": (start > 0) + 2 * (stop < len(tokens)) + 4 * exemplar["role"].startswith("explain_"),
        "heat": "".join(heat(value, maximum) for value in activations[start:stop]).rstrip("0"),
        "tokens": [strings.use(clip(visible(token), _TOKEN_CHARS)) for token in tokens[start:stop]],
        "judged": [
            (row, strings.use("" if row["arm"] == "variant" else clip(visible(row["reason"] or ""), _REASON_CHARS)))
            for row in sorted(judged, key=_order)
        ],
    }


def _order(row: Row) -> tuple[int, bool, int, str]:
    return ARMS.index(row["arm"]), row["again"], row["repeat"], row["explanation_unit_id"]


def _variants(
    unit_id: str, judged: list[Row], results: Results, strings: StringTable
) -> list[tuple[str, str, list[int]]]:
    """The unit's explanations made with an aid: the aid, the text (empty if the files lack it), and its grades."""
    texts = results.explanations.get(unit_id, {})
    grades: dict[str, list[int]] = {aid: [] for aid in texts}
    for row in judged:
        if row["arm"] == "variant" and not row["again"]:
            scored = grades.setdefault(_aid(row), [])
            scored += [row["score"]] if row["score"] is not None else []
    shown = {aid: strings.use(clip(visible(texts.get(aid, "")), _EXPLANATION_CHARS)) for aid in grades}
    return [(aid, shown[aid], grades[aid]) for aid in sorted(grades)]


def _aid(row: Row) -> str:
    return ExplanationKey.parse(str(row["explanation_unit_id"])).aid


def _means(judged: list[Row], bins: int) -> list[float | None]:
    """The unit's mean grade in each bin of the main arm, by the run's own judge."""
    grades: dict[int, list[int]] = defaultdict(list)
    for row in judged:
        if row["arm"] == "main" and row["score"] is not None and not row["again"]:
            grades[int(row["bin"])].append(int(row["score"]))
    return [round(sum(grades[b]) / len(grades[b]), 2) if grades[b] else None for b in range(1, bins + 1)]


def _resolve(draft: dict[str, Any], strings: StringTable, unit_indices: dict[str, int]) -> dict[str, Any]:
    """The draft in the form that `report.js` reads, with strings and units as indices."""
    unit = draft["row"]
    outcomes = list(prose.OUTCOMES)

    def judgement(row: Row, reason: str) -> list[int | str | None]:
        explained = row["explanation_unit_id"]
        shown = unit_indices.get(explained) if explained != row["unit_id"] else None
        aid = [visible(prose.AIDS.get(_aid(row), _aid(row)))] if row["arm"] == "variant" else []
        more: list[int | str] = [int(row["again"]), *aid] if row["again"] or aid else []
        return [
            ARMS.index(row["arm"]),
            outcomes.index(row["outcome"]),
            row["score"],
            strings.index(reason),
            *([shown, row["repeat"]] if shown is not None or row["repeat"] or more else []),
            *more,
        ]

    def context(x: dict[str, Any]) -> list[Any]:
        judged = [judgement(row, reason) for row, reason in x["judged"]]
        turn = [visible(x["turn"])] if x["turn"] else []
        return [
            x["bin"],
            round(x["fraction"], 3),
            x["mark"],
            x["flags"],
            x["heat"],
            strings.pack(x["tokens"]),
            judged,
            *turn,
        ]

    reasons = [visible(unit.get(f"{name}_why") or "") for name in MEANS]
    return {
        "id": visible(unit["unit_id"]),
        "k": unit["kind"],
        "s": unit["status"],
        "e": None if draft["text"] is None else strings.index(draft["text"]),
        "o": outcomes.index(unit["explanation_outcome"]) if unit["explanation_outcome"] in outcomes else None,
        "max": _short(unit["max_activation"]),
        "d": _short(unit["density"]),
        "n": [unit["n_scored"], unit["n_unscored"], draft["rest"]],
        "m": _short(unit["mean_score"]),
        "f": _short(unit["mean_score_frequency"]),
        "sh": _short(unit["shuffled_mean"]),
        "br": _short(unit["base_rate_mean"]),
        **({"w": reasons} if any(reasons) else {}),
        "h": list(unit["histogram"] or []),
        "b": draft["means"],
        "v": [
            [visible(prose.AIDS.get(aid, aid)), strings.index(text), len(grades), _short(sum(grades) / len(grades) if grades else None)]
            for aid, text, grades in draft["variants"]
        ],
        **({"p": [strings.pack(draft["promoted"]), strings.pack(draft["suppressed"])]} if draft["promoted"] else {}),
        **({"near": draft["near"]} if draft["near"] else {}),
        "t": [context(x) for x in draft["strongest"]],
        "x": [context(x) for x in draft["exemplars"]],
    }  # fmt: skip


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
