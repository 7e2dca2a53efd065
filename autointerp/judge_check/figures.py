"""What a check of a judge says: agreement with the graded set, where it fails, and whether texts can command it.

Intervals are over the set's explanations, since items of one explanation are alike. They say how far another set by the same
people could differ, not how far other people would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from autointerp.judge_check.graded_set import INJECTION, Item
from autointerp.judge_check.run import Checked, Given
from autointerp.records import Outcome
from autointerp.stats import agreement
from autointerp.stats.estimates import Figure

CONFIDENCE, RESAMPLES, SEED = 0.95, 2000, 0
SET = "set"
"""The set, as one of two graders."""
FIGURES = {
    "exact": "the set's grade",
    "adjacent": "within one of it",
    "kappa": "kappa, quadratic",
    "alpha": "alpha, ordinal",
    "ac2": "AC2, quadratic",
    "difference": "mean difference",
}
THIRDS = ("first third", "middle third", "last third")
NO_LLM = "a baseline that is not an LLM"


def findings(checked: Checked) -> dict[str, Any]:
    """All figures of a check and every item's answer, as JSON."""
    plan, items = checked.plan, checked.plan.items
    pair = agreement.pair(_rows(checked), SET, checked.judge, grades=plan.rubric.grades, **_RESAMPLING)
    found = {
        "judge": checked.judge,
        "judge_is_llm": checked.is_llm,
        "asked": {"ask": plan.ask, "per_call": plan.per_call, "shuffle": plan.shuffle},
        "set": {"name": plan.graded.name, "version": plan.graded.version, "hash": plan.graded.hash},
        "rubric": {"name": plan.rubric.name, "version": plan.rubric.version, "hash": plan.rubric.hash},
        "n": len(items),
        "unscored": dict(Counter(g.outcome.value for g in checked.given.values() if g.score is None)),
        "agreement": {name: getattr(pair, name).model_dump() for name in FIGURES},
        "confusion": pair.confusion,
        "expected_error": expected_error(checked),
        "traps": {trap or "none": _share(checked, group) for trap, group in _by(items, lambda i: i.entry.trap)},
        "mark": position_effect(checked),
        "injection": obeyed(checked),
        "order": order_effect(checked) if plan.shuffle is not None else None,
    }
    found |= {name: checked.totals[name] for name in _TOTALS}
    found["cost_usd"] = None if checked.totals["unpriced_calls"] else checked.totals["cost_usd"]
    return found | {"items": [_item(checked, item) for item in items]}


def obeyed(checked: Checked) -> dict[str, Any]:
    """How often items that command a grade are given it: `obeyed` of `n`, with Clopper and Pearson's interval.

    `without` is how often it would have come anyway: the share of that grade among items of the same right grade that command
    nothing, averaged over the commanding ones; None where there are no such items.
    """
    commanding = [i for i in checked.plan.items if i.entry.commands is not None and _score(checked, i) is not None]
    k = sum(_score(checked, item) == item.entry.commands for item in commanding)
    anyway: list[float] = []
    for item in commanding:
        alike = [
            _score(checked, other) == item.entry.commands
            for other in checked.plan.items
            if other.entry.trap != INJECTION
            and other.entry.grade == item.entry.grade
            and _score(checked, other) is not None
        ]
        anyway += [sum(alike) / len(alike)] if alike else []
    interval = stats.binomtest(k, len(commanding)).proportion_ci(CONFIDENCE) if commanding else None
    return {
        "obeyed": k,
        "n": len(commanding),
        "ci_low": float(interval.low) if interval else None,
        "ci_high": float(interval.high) if interval else None,
        "without": sum(anyway) / len(anyway) if anyway else None,
    }


def order_effect(checked: Checked) -> dict[str, Any]:
    """How far grades change when the same items are asked in another order and company; noise of the judge is part of it."""
    twice = [
        {"item": item.id, "unit_id": item.explanation, "score": given.score}
        for item in checked.plan.items
        for given in (checked.given[item.id], checked.again[item.id])
        if given.score is not None
    ]
    found = agreement.repeats(pd.DataFrame(twice, columns=["item", "unit_id", "score"]), **_RESAMPLING)
    return {"n": found.n, "flip_rate": found.flip_rate.model_dump(), "within_sd": found.within_sd.model_dump()}


def expected_error(checked: Checked) -> float | None:
    """Mean distance of the judge's mean grade, by its own probabilities, from the set's; None where it gave none."""
    pairs = [(checked.given[item.id].expected, item.entry.grade) for item in checked.plan.items]
    errors = [abs(expected - grade) for expected, grade in pairs if expected is not None]
    return sum(errors) / len(errors) if errors else None


def position_effect(checked: Checked) -> dict[str, Any]:
    """The items by where in its window the mark stands.

    `adjusted` compares with items of the same right grade: grade 1 has its marks late, because the concept comes early there.
    """
    items = checked.plan.items
    usual = {
        g: _share(checked, [i for i in items if i.entry.grade == g])["difference"] for g in checked.plan.rubric.grades
    }
    found = {}
    for third in THIRDS:
        inside = [item for item in items if third_of(item) == third]
        beyond = [s - i.entry.grade - usual[i.entry.grade] for i in inside if (s := _score(checked, i)) is not None]
        found[third] = _share(checked, inside) | {"adjusted": sum(beyond) / len(beyond) if beyond else None}
    return found


def third_of(item: Item) -> str:
    """Where in its window an item's mark stands."""
    window = item.entry.window
    return THIRDS[min(2, 3 * window.mark // len(window.tokens))]


def table(found: dict[str, Any]) -> str:
    """The findings as text."""
    who = found["judge"] + ("" if found["judge_is_llm"] else f", {NO_LLM}")
    asked, unscored = found["asked"], found["unscored"]
    n_unscored = sum(unscored.values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(unscored.items()))
    lines = [
        f"{who}, against {found['n']} items of {found['set']['name']} {found['set']['version']}"
        f" (asked for: {asked['ask']}, {asked['per_call']} a call)",
        f"  {'scored':<20} {found['n'] - n_unscored} of {found['n']}" + (f"; unscored: {reasons}" if reasons else ""),
    ]
    lines += [f"  {title:<20} {_said(Figure(**found['agreement'][name]), name)}" for name, title in FIGURES.items()]
    if found["expected_error"] is not None:
        lines.append(f"  {'error of mean grade':<20} {found['expected_error']:.2f}")
    grades = range(len(found["confusion"]))
    lines += ["", "  right \\ given" + "".join(f"{grade:>6}" for grade in grades)]
    lines += [f"  {grade:>13}" + "".join(f"{c:>6}" for c in row) for grade, row in enumerate(found["confusion"])]
    for title, name in (("kind of item", "traps"), ("mark in the", "mark")):
        last = f" {'at equal grade':>15}" if name == "mark" else ""
        lines += ["", f"  {title:<14} {'n':>5} {'exact':>7} {'adjacent':>9} {'difference':>11}{last}"]
        lines += [_shares(kind, share) for kind, share in found[name].items()]
    lines += ["", f"  {_obedience(found['injection'])}"]
    if found["order"]:
        flips = _said(Figure(**found["order"]["flip_rate"]), "exact")
        lines.append(f"  in another order {flips} of {found['order']['n']} items get another grade")
    return "\n".join([*lines, f"  {_bill(found)}"])


_RESAMPLING: dict[str, Any] = {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED}
_TOTALS = ("calls", "input_tokens", "cache_write_tokens", "cache_read_tokens", "output_tokens", "served_models")


def _score(checked: Checked, item: Item) -> int | None:
    return checked.given[item.id].score


def _rows(checked: Checked) -> pd.DataFrame:
    rows = [(item.id, item.explanation, SET, item.entry.grade) for item in checked.plan.items]
    scored = [(item, _score(checked, item)) for item in checked.plan.items]
    rows += [(item.id, item.explanation, checked.judge, score) for item, score in scored if score is not None]
    return pd.DataFrame(rows, columns=["item", "unit_id", "rater", "score"])


def _by(items: Sequence[Item], key: Callable[[Item], str | None]) -> Iterable[tuple[str | None, list[Item]]]:
    groups: dict[str | None, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _share(checked: Checked, items: Sequence[Item]) -> dict[str, Any]:
    """Shares of the scored items; None without any."""
    off = [score - item.entry.grade for item in items if (score := _score(checked, item)) is not None]
    if not off:
        return {"n": 0, "exact": None, "adjacent": None, "difference": None}
    exact, adjacent = (sum(abs(d) <= most for d in off) / len(off) for most in (0, 1))
    return {"n": len(off), "exact": exact, "adjacent": adjacent, "difference": sum(off) / len(off)}


def _item(checked: Checked, item: Item) -> dict[str, Any]:
    given: Given = checked.given[item.id]
    again = checked.again.get(item.id)
    return {
        "id": item.id,
        "grade": item.entry.grade,
        "given": given.score,
        "outcome": given.outcome.value,
        "expected": given.expected,
        "reason": given.reason,
        "trap": item.entry.trap,
        "commands": item.entry.commands,
        "again": again.score if again and again.outcome is Outcome.SCORED else None,
    }


def _said(figure: Figure, name: str) -> str:
    if figure.value is None:
        return str(figure.why)
    sign = "+" if name == "difference" else ""
    if figure.ci_low is None or figure.ci_high is None:
        return f"{figure.value:{sign}.2f} ({figure.why})"
    return f"{figure.value:{sign}.2f} [{figure.ci_low:{sign}.2f}, {figure.ci_high:{sign}.2f}]"


def _shares(kind: str, share: dict[str, Any]) -> str:
    if not share["n"]:
        return f"  {kind:<14} {0:>5}"
    last = f" {share['adjusted']:>+15.2f}" if "adjusted" in share else ""
    shares = f"{share['exact']:>7.2f} {share['adjacent']:>9.2f} {share['difference']:>+11.2f}"
    return f"  {kind:<14} {share['n']:>5} {shares}{last}"


def _obedience(injection: dict[str, Any]) -> str:
    if not injection["n"]:
        return "no scored item commands a grade"
    k, n, low, high = (injection[name] for name in ("obeyed", "n", "ci_low", "ci_high"))
    without = "" if injection["without"] is None else f"; without the command about {injection['without'] * n:.1f}"
    return f"the commanded grade was given to {k} of {n} items that command one [{low:.0%}, {high:.0%}]{without}"


def _bill(found: dict[str, Any]) -> str:
    if not found["judge_is_llm"]:
        return "no calls, no cost"
    cost = "cost unknown" if found["cost_usd"] is None else f"${found['cost_usd']:.4f}"
    cached = f", {found['cache_read_tokens']:,} of them from a cache" if found["cache_read_tokens"] else ""
    sent = found["input_tokens"] + found["cache_write_tokens"] + found["cache_read_tokens"]
    return f"{found['calls']:,} calls, {sent:,} input tokens{cached}, {found['output_tokens']:,} output tokens, {cost}"
