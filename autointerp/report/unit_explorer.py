"""The evidence for each unit, made small: what the page's script needs to show it, and no more.

Every string stands once in a shared table, most used first, and is referred to by its place; activations become one digit
of heat a token. All text passes `visible` here, so that the script only ever sees legible characters.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from autointerp.records import ExplanationKey
from autointerp.report import prose
from autointerp.report.escape import clip, visible
from autointerp.report.reader import Results, Row

ARMS = (*prose.ARMS, "near", "variant")
WINDOW_TOKENS = 32
"""Tokens shown around the mark; the files hold the whole window."""
_TOKEN_CHARS, _REASON_CHARS, _EXPLANATION_CHARS = 48, 200, 600


class _Strings:
    """Strings counted first, then numbered from the most used on."""

    def __init__(self) -> None:
        self._uses: Counter[str] = Counter()
        self._place: dict[str, int] = {}

    def use(self, text: str) -> str:
        self._uses[text] += 1
        return text

    def table(self) -> list[str]:
        ordered = sorted(self._uses, key=lambda text: (-self._uses[text], text))
        self._place = {text: place for place, text in enumerate(ordered)}
        return ordered

    def place(self, text: str) -> int:
        return self._place[text]


def compact(results: Results) -> dict[str, Any]:
    """The data island: `strings`, `arms`, `outcomes`, `bins`, `grades`, and `units` and `known` ones in the order of the file."""
    strings = _Strings()
    limit = shown_per_unit(len(results.units))
    bins = max((row.bin for row in results.summary.bins), default=1)
    everything = [*results.units, *results.known]
    drafts = [_draft(unit, results, strings, limit, bins) for unit in everything]
    table = strings.table()
    numbers = {unit["unit_id"]: place for place, unit in enumerate(everything)}
    resolved = [_resolve(draft, strings, numbers) for draft in drafts]
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
    """Exemplars shown a unit: 12, fewer when there are so many units that the page would grow too large to send."""
    return max(4, min(12, 12 * 250 // max(n_units, 1)))


def choose(judged: list[Row], limit: int) -> list[str]:
    """Which of a unit's judged exemplars the page shows: every bin in turn, then two near and two silent ones, each in the file's order.

    Where an exemplar was also judged in the shuffled arm it goes first in its bin, so that both verdicts stand side by side.
    """
    arms: dict[str, set[str]] = defaultdict(set)
    bin_of: dict[str, int] = {}
    for row in judged:
        arms[row["exemplar_id"]].add(row["arm"])
        bin_of[row["exemplar_id"]] = int(row["bin"])
    quiet = [e for arm in ("near", "base_rate") for e in [e for e in arms if arm in arms[e]][:2]]
    by_bin: dict[int, list[str]] = defaultdict(list)
    firing = (e for e in arms if not arms[e] & {"near", "base_rate"})
    for exemplar in sorted(firing, key=lambda e: "shuffled" not in arms[e]):
        by_bin[bin_of[exemplar]].append(exemplar)
    active: list[str] = []
    for turn in range(max((len(group) for group in by_bin.values()), default=0)):
        active += [by_bin[place][turn] for place in sorted(by_bin, reverse=True) if turn < len(by_bin[place])]
    return active[: max(limit - len(quiet), 1)] + quiet


def _draft(unit: Row, results: Results, strings: _Strings, limit: int, bins: int) -> dict[str, Any]:
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
    tokens, heat, mark = exemplar["tokens"], exemplar["token_activations"], int(exemplar["mark"])
    start = max(0, min(mark - WINDOW_TOKENS // 2, len(tokens) - WINDOW_TOKENS))
    stop = min(len(tokens), start + WINDOW_TOKENS)
    return {
        "bin": int(exemplar["bin"]),
        "fraction": float(exemplar["activation_fraction"]),
        "mark": mark - start,
        "cut": (1 if start else 0) + (2 if stop < len(tokens) else 0),
        "heat": "".join(_digit(value, maximum) for value in heat[start:stop]).rstrip("0"),
        "tokens": [strings.use(clip(visible(token), _TOKEN_CHARS)) for token in tokens[start:stop]],
        "judged": [
            (row, strings.use("" if row["arm"] == "variant" else clip(visible(row["reason"] or ""), _REASON_CHARS)))
            for row in sorted(judged, key=_order)
        ],
    }


def _order(row: Row) -> tuple[int, bool, int, str]:
    return ARMS.index(row["arm"]), row["again"], row["repeat"], row["explanation_unit_id"]


def _variants(unit_id: str, judged: list[Row], results: Results, strings: _Strings) -> list[tuple[str, str, list[int]]]:
    """The unit's other explanations: their aid, their text (empty where it is not kept), and the grades that they got."""
    texts = results.explanations.get(unit_id, {})
    grades: dict[str, list[int]] = {aid: [] for aid in texts}
    for row in judged:
        if row["arm"] == "variant" and not row["again"]:
            scored = grades.setdefault(_aid(row), [])
            scored += [row["score"]] if row["score"] is not None else []
    said = {aid: strings.use(clip(visible(texts.get(aid, "")), _EXPLANATION_CHARS)) for aid in grades}
    return [(aid, said[aid], grades[aid]) for aid in sorted(grades)]


def _aid(row: Row) -> str:
    return ExplanationKey.parse(str(row["explanation_unit_id"])).aid


def _digit(value: float | None, maximum: float | None) -> str:
    """One digit of heat: 0 is silent, 1 to 9 split (0, max] evenly."""
    if not value or not maximum or value <= 0:
        return "0"
    return str(min(9, int(9 * value / maximum) + 1))


def _means(judged: list[Row], bins: int) -> list[float | None]:
    grades: dict[int, list[int]] = defaultdict(list)
    for row in judged:
        if row["arm"] == "main" and row["score"] is not None and not row["again"]:
            grades[int(row["bin"])].append(int(row["score"]))
    return [_short(sum(grades[b]) / len(grades[b])) if grades[b] else None for b in range(1, bins + 1)]


def _resolve(draft: dict[str, Any], strings: _Strings, numbers: dict[str, int]) -> dict[str, Any]:
    unit = draft["row"]
    outcomes = list(prose.OUTCOMES)

    def verdict(row: Row, reason: str) -> list[int | str | None]:
        other = row["explanation_unit_id"]
        shown = numbers.get(other) if other != row["unit_id"] else None
        return [
            ARMS.index(row["arm"]),
            outcomes.index(row["outcome"]),
            row["score"],
            strings.place(reason),
            shown,
            row["repeat"],
            *([int(row["again"])] if row["again"] or row["arm"] == "variant" else []),
            *([visible(prose.AIDS.get(_aid(row), _aid(row)))] if row["arm"] == "variant" else []),
        ]

    return {
        "id": visible(unit["unit_id"]),
        "k": unit["kind"],
        "s": unit["status"],
        "e": None if draft["text"] is None else strings.place(draft["text"]),
        "o": outcomes.index(unit["explanation_outcome"]) if unit["explanation_outcome"] in outcomes else None,
        "max": _short(unit["max_activation"]),
        "d": _short(unit["density"]),
        "n": [unit["n_scored"], unit["n_unscored"], draft["judged"]],
        "m": _short(unit["mean_score"]),
        "f": _short(unit["mean_score_frequency"]),
        "sh": _short(unit["shuffled_mean"]),
        "br": _short(unit["base_rate_mean"]),
        "h": list(unit["histogram"] or []),
        "b": draft["means"],
        "v": [
            [visible(prose.AIDS.get(aid, aid)), strings.place(text), len(grades), _short(sum(grades) / len(grades) if grades else None)]
            for aid, text, grades in draft["variants"]
        ],
        "x": [
            [x["bin"], round(x["fraction"], 3), x["mark"], x["cut"], x["heat"], [strings.place(t) for t in x["tokens"]],
             [verdict(row, reason) for row, reason in x["judged"]]]
            for x in draft["exemplars"]
        ],
    }  # fmt: skip


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
