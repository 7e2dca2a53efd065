"""The data of the page's list of units, in a compact form that the page's script reads.

Every string is stored once in a shared table, the most used first, and referred to by its index; the activation of a token becomes one
digit. All text passes `visible` here, so that the script sees only legible characters.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from autointerp.records import ExplanationKey
from autointerp.report import prose
from autointerp.report.escape import clip, visible
from autointerp.report.reader import Results, Row

ARMS = (*prose.ARMS, "near", "variant")
MEANS = ("mean_score", "mean_score_frequency", "shuffled_mean", "base_rate_mean")
"""A unit's mean grades, in the order in which the page has the reasons for missing ones."""
WINDOW_TOKENS = 32
"""Number of tokens shown around the mark. The files hold the whole window."""
_TOKEN_CHARS, _REASON_CHARS, _EXPLANATION_CHARS = 48, 200, 600


class _Strings:
    """The table of strings: all are counted first, then numbered so that the most used have the shortest numbers."""

    def __init__(self) -> None:
        self._uses: Counter[str] = Counter()
        self._indices: dict[str, int] = {}

    def use(self, text: str) -> str:
        """Count a use of the text, and return the text."""
        self._uses[text] += 1
        return text

    def table(self) -> list[str]:
        """All texts, the most used first. No text may be added afterwards."""
        ordered = sorted(self._uses, key=lambda text: (-self._uses[text], text))
        self._indices = {text: index for index, text in enumerate(ordered)}
        return ordered

    def index(self, text: str) -> int:
        """The text's index in the table."""
        return self._indices[text]


def page_data(results: Results) -> dict[str, Any]:
    """The JSON that the page's script reads; `units` are features and neurons, `known` are control units, in the file's order."""
    strings = _Strings()
    limit = shown_per_unit(len(results.units))
    bins = max((row.bin for row in results.summary.bins), default=1)
    all_units = [*results.units, *results.known]
    drafts = [_draft(unit, results, strings, limit, bins) for unit in all_units]
    table = strings.table()
    unit_indices = {unit["unit_id"]: index for index, unit in enumerate(all_units)}
    resolved = [_resolve(draft, strings, unit_indices) for draft in drafts]
    return {
        "strings": table,
        "arms": list(ARMS),
        "kinds": prose.KINDS,
        "outcomes": list(prose.OUTCOMES.values()),
        "bins": bins,
        "grades": results.summary.rubric.grades,
        "units": resolved[: len(results.units)],
        "known": resolved[len(results.units) :],
    }


def shown_per_unit(n_units: int) -> int:
    """Number of exemplars shown per unit: 12, and fewer for many units, so that the page stays small enough to send."""
    return max(4, min(12, 12 * 250 // max(n_units, 1)))


def choose(judged: list[Row], limit: int) -> list[str]:
    """The ids of the judged exemplars that the page shows of a unit: some of every bin, then two of each of near, neighbours' and silent ones.

    Within a bin they are in the file's order, but those also judged in the shuffled arm come first, so that both grades can be compared.
    """
    arms: dict[str, set[str]] = defaultdict(set)
    bin_of: dict[str, int] = {}
    for row in judged:
        arms[row["exemplar_id"]].add(row["arm"])
        bin_of[row["exemplar_id"]] = int(row["bin"])
    silent = [e for arm in ("near", "neighbour", "base_rate") for e in [e for e in arms if arm in arms[e]][:2]]
    by_bin: dict[int, list[str]] = defaultdict(list)
    active = (e for e in arms if not arms[e] & {"near", "neighbour", "base_rate"})
    for exemplar in sorted(active, key=lambda e: "shuffled" not in arms[e]):
        by_bin[bin_of[exemplar]].append(exemplar)
    in_turn: list[str] = []
    for turn in range(max((len(exemplars) for exemplars in by_bin.values()), default=0)):
        in_turn += [by_bin[bin_][turn] for bin_ in sorted(by_bin, reverse=True) if turn < len(by_bin[bin_])]
    return in_turn[: max(limit - len(silent), 1)] + silent


def _draft(unit: Row, results: Results, strings: _Strings, limit: int, bins: int) -> dict[str, Any]:
    """What the page shows of a unit, with strings still in full: their numbers are known only once all are counted."""
    judged = [row for row in results.judgements.get(unit["unit_id"], []) if row["exemplar_id"] in results.exemplars]
    by_exemplar: dict[str, list[Row]] = defaultdict(list)
    for row in judged:
        by_exemplar[row["exemplar_id"]].append(row)
    chosen = choose(judged, limit)
    explanation = unit["explanation"]
    text = strings.use(clip(visible(explanation), _EXPLANATION_CHARS)) if explanation else None
    exemplars = [_exemplar(results.exemplars[e], by_exemplar[e], unit["max_activation"], strings) for e in chosen]
    exemplars.sort(key=lambda exemplar: (-exemplar["bin"], -exemplar["fraction"]))
    return {
        "row": unit,
        "text": text,
        "means": _means(judged, bins),
        "variants": _variants(unit["unit_id"], judged, results, strings),
        "exemplars": exemplars,
        "judged": len(by_exemplar),
    }


def _exemplar(exemplar: Row, judged: list[Row], maximum: float | None, strings: _Strings) -> dict[str, Any]:
    tokens, activations, mark = exemplar["tokens"], exemplar["token_activations"], int(exemplar["mark"])
    start = max(0, min(mark - WINDOW_TOKENS // 2, len(tokens) - WINDOW_TOKENS))
    stop = min(len(tokens), start + WINDOW_TOKENS)
    return {
        "bin": int(exemplar["bin"]),
        "fraction": float(exemplar["activation_fraction"]),
        "mark": mark - start,
        "turn": exemplar.get("turn"),
        "cut": (1 if start else 0) + (2 if stop < len(tokens) else 0),
        "heat": "".join(_digit(value, maximum) for value in activations[start:stop]).rstrip("0"),
        "tokens": [strings.use(clip(visible(token), _TOKEN_CHARS)) for token in tokens[start:stop]],
        "judged": [
            (row, strings.use("" if row["arm"] == "variant" else clip(visible(row["reason"] or ""), _REASON_CHARS)))
            for row in sorted(judged, key=_order)
        ],
    }


def _order(row: Row) -> tuple[int, bool, int, str]:
    return ARMS.index(row["arm"]), row["again"], row["repeat"], row["explanation_unit_id"]


def _variants(unit_id: str, judged: list[Row], results: Results, strings: _Strings) -> list[tuple[str, str, list[int]]]:
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


def _digit(value: float | None, maximum: float | None) -> str:
    """The activation as one digit: 0 is silent, 1 to 9 divide (0, max] evenly."""
    if not value or not maximum or value <= 0:
        return "0"
    return str(min(9, int(9 * value / maximum) + 1))


def _means(judged: list[Row], bins: int) -> list[float | None]:
    """The unit's mean grade in each bin of the main arm, by the run's own judge."""
    grades: dict[int, list[int]] = defaultdict(list)
    for row in judged:
        if row["arm"] == "main" and row["score"] is not None and not row["again"]:
            grades[int(row["bin"])].append(int(row["score"]))
    return [_short(sum(grades[b]) / len(grades[b])) if grades[b] else None for b in range(1, bins + 1)]


def _resolve(draft: dict[str, Any], strings: _Strings, unit_indices: dict[str, int]) -> dict[str, Any]:
    """The draft in the form that `report.js` reads, with strings and units as indices."""
    unit = draft["row"]
    outcomes = list(prose.OUTCOMES)

    def judgement(row: Row, reason: str) -> list[int | str | None]:
        explained = row["explanation_unit_id"]
        shown = unit_indices.get(explained) if explained != row["unit_id"] else None
        return [
            ARMS.index(row["arm"]),
            outcomes.index(row["outcome"]),
            row["score"],
            strings.index(reason),
            shown,
            row["repeat"],
            *([int(row["again"])] if row["again"] or row["arm"] == "variant" else []),
            *([visible(prose.AIDS.get(_aid(row), _aid(row)))] if row["arm"] == "variant" else []),
        ]

    return {
        "id": visible(unit["unit_id"]),
        "k": unit["kind"],
        "s": unit["status"],
        "e": None if draft["text"] is None else strings.index(draft["text"]),
        "o": outcomes.index(unit["explanation_outcome"]) if unit["explanation_outcome"] in outcomes else None,
        "max": _short(unit["max_activation"]),
        "d": _short(unit["density"]),
        "n": [unit["n_scored"], unit["n_unscored"], draft["judged"]],
        "m": _short(unit["mean_score"]),
        "f": _short(unit["mean_score_frequency"]),
        "sh": _short(unit["shuffled_mean"]),
        "br": _short(unit["base_rate_mean"]),
        "w": [visible(unit.get(f"{name}_why") or "") for name in MEANS],
        "h": list(unit["histogram"] or []),
        "b": draft["means"],
        "v": [
            [visible(prose.AIDS.get(aid, aid)), strings.index(text), len(grades), _short(sum(grades) / len(grades) if grades else None)]
            for aid, text, grades in draft["variants"]
        ],
        "x": [
            [x["bin"], round(x["fraction"], 3), x["mark"], x["cut"], x["heat"], [strings.index(t) for t in x["tokens"]],
             [judgement(row, reason) for row, reason in x["judged"]], *([visible(x["turn"])] if x["turn"] else [])]
            for x in draft["exemplars"]
        ],
    }  # fmt: skip


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
