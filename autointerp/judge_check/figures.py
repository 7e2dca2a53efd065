"""The findings of a judge check: agreement with the graded set, by kind of item, and whether texts can command the judge.

Intervals are over the set's explanations, because items of one explanation are alike. They say how much another set by the same
people might differ, not how much other people would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from autointerp.formatting import estimate, number
from autointerp.judge_check.graded_set import INJECTION, Item
from autointerp.judge_check.run import CheckResult
from autointerp.judge_check.verdict import verdict_of
from autointerp.records import Outcome
from autointerp.stats.agreement import coefficients
from autointerp.stats.estimates import Figure

CONFIDENCE, RESAMPLES, SEED = 0.95, 2000, 0
_RESAMPLING: dict[str, Any] = {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED}
SET = "set"
"""The set as a grader, beside the judge."""
FIGURES = {
    "exact": "exact agreement",
    "adjacent": "within one grade",
    "kappa": "quadratic kappa",
    "alpha": "ordinal alpha",
    "ac2": "quadratic AC2",
    "difference": "judge minus set",
}
"""Figures of agreement with their titles in the printed table."""
THIRDS = ("first third", "middle third", "last third")
NO_LLM = "a baseline that is not an LLM"
_TOTALS = ("calls", "input_tokens", "cache_write_tokens", "cache_read_tokens", "output_tokens", "served_models")


def findings(result: CheckResult) -> dict[str, Any]:
    """All figures of a check and every item's answer, as JSON."""
    plan, items = result.plan, result.plan.items
    pair = coefficients.pair(_rows(result), SET, result.judge, grades=plan.rubric.grades, **_RESAMPLING)
    report = {
        "judge": result.judge,
        "judge_is_llm": result.is_llm,
        "asked": {"ask": plan.ask, "per_call": plan.per_call, "shuffle": plan.shuffle},
        "set": {"name": plan.graded.name, "version": plan.graded.version, "hash": plan.graded.hash},
        "rubric": {"name": plan.rubric.name, "version": plan.rubric.version, "hash": plan.rubric.hash},
        "n": len(items),
        "unscored": dict(Counter(a.outcome.value for a in result.answers.values() if a.score is None)),
        "agreement": {name: getattr(pair, name).model_dump() for name in FIGURES},
        "confusion": _confusion(result),
        "expected_error": expected_error(result),
        "traps": {trap or "none": _shares(result, group) for trap, group in _by(items, lambda i: i.entry.trap)},
        "mark": position_effect(result),
        "injection": injection_effect(result),
        "order": order_effect(result) if plan.shuffle is not None else None,
    }
    report["verdict"] = verdict_of(report)._asdict()
    report |= {name: result.totals[name] for name in _TOTALS}
    report["cost_usd"] = None if result.totals["unpriced_calls"] else result.totals["cost_usd"]
    return report | {"items": [_item(result, item) for item in items]}


def injection_effect(result: CheckResult) -> dict[str, Any]:
    """How many of the items that command a grade got it: `obeyed` of `n`, with a Clopper-Pearson interval.

    `without` is the share expected without the command: how often items of the same right grade that command nothing got the
    commanded grade, averaged over the commanding items; None if there are no such items.
    """
    commanding = [i for i in result.plan.items if i.entry.commands is not None and _score(result, i) is not None]
    obeyed = sum(_score(result, item) == item.entry.commands for item in commanding)
    expected: list[float] = []
    for item in commanding:
        hits = [
            _score(result, other) == item.entry.commands
            for other in result.plan.items
            if other.entry.trap != INJECTION
            and other.entry.level == item.entry.level
            and _score(result, other) is not None
        ]
        expected += [sum(hits) / len(hits)] if hits else []
    interval = stats.binomtest(obeyed, len(commanding)).proportion_ci(CONFIDENCE) if commanding else None
    return {
        "obeyed": obeyed,
        "n": len(commanding),
        "ci_low": float(interval.low) if interval else None,
        "ci_high": float(interval.high) if interval else None,
        "without": sum(expected) / len(expected) if expected else None,
    }


def order_effect(result: CheckResult) -> dict[str, Any]:
    """How much grades change if the same items are asked in another order and company. This includes the judge's own noise."""
    twice = [
        {"item": item.id, "unit_id": item.explanation, "score": answer.score}
        for item in result.plan.items
        for answer in (result.answers[item.id], result.reordered[item.id])
        if answer.score is not None
    ]
    repeats = coefficients.repeats(pd.DataFrame(twice, columns=["item", "unit_id", "score"]), **_RESAMPLING)
    return {"n": repeats.n, "flip_rate": repeats.flip_rate.model_dump(), "within_sd": repeats.within_sd.model_dump()}


def expected_error(result: CheckResult) -> float | None:
    """Mean absolute difference between the judge's expected grade and the set's; None without token probabilities."""
    pairs = [(result.answers[item.id].expected, item.entry.grade) for item in result.plan.items]
    errors = [abs(expected - grade) for expected, grade in pairs if expected is not None]
    return sum(errors) / len(errors) if errors else None


def position_effect(result: CheckResult) -> dict[str, Any]:
    """Agreement by the third of its window in which an item's mark is.

    `adjusted` is the mean difference compared with that of all items of the same right grade, because positions and grades go together:
    items of grade 1 have the mark late, after the concept.
    """
    items = result.plan.items
    usual = {
        g: _shares(result, [i for i in items if i.entry.level == g])["difference"] for g in result.plan.rubric.grades
    }
    by_third = {}
    for third in THIRDS:
        inside = [item for item in items if third_of(item) == third]
        excess = [s - i.entry.grade - usual[i.entry.level] for i in inside if (s := _score(result, i)) is not None]
        by_third[third] = _shares(result, inside) | {"adjusted": sum(excess) / len(excess) if excess else None}
    return by_third


def third_of(item: Item) -> str:
    """The third of its window in which an item's mark is."""
    window = item.entry.window
    return THIRDS[min(2, 3 * window.mark // len(window.tokens))]


def table(report: Mapping[str, Any]) -> str:
    """The findings as text."""
    judge = report["judge"] + ("" if report["judge_is_llm"] else f", {NO_LLM}")
    asked, unscored = report["asked"], report["unscored"]
    n_unscored = sum(unscored.values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(unscored.items()))
    lines = [
        f"{judge}, on {report['n']} graded items of {report['set']['name']} {report['set']['version']}"
        f" (--ask {asked['ask']} --per-call {asked['per_call']})",
        f"  {'scored':<24} {report['n'] - n_unscored} of {report['n']}" + (f"; unscored: {reasons}" if reasons else ""),
    ]
    lines += [
        f"  {title:<24} {_estimate(Figure(**report['agreement'][name]), signed=name == 'difference')}"
        for name, title in FIGURES.items()
    ]
    if report["expected_error"] is not None:
        lines.append(f"  {'error of expected grade':<24} {number(report['expected_error'])}")
    grades = range(len(report["confusion"]))
    lines += ["", "  judge's grade     " + "".join(f"{grade:>6}" for grade in grades)]
    lines += [
        f"  right grade {grade:<6}" + "".join(f"{c:>6}" for c in row) for grade, row in enumerate(report["confusion"])
    ]
    lines += ["", *_share_table("trap", {"no trap" if k == "none" else k: v for k, v in report["traps"].items()})]
    lines += ["", *_share_table("position of mark", report["mark"])]
    lines += ["", f"  {_injection_line(report['injection'])}"]
    if report["order"]:
        changed = _estimate(Figure(**report["order"]["flip_rate"]))
        lines.append(f"  share of {report['order']['n']} items whose grade changed in another order: {changed}")
    return "\n".join([*lines, f"  {_usage_line(report)}", verdict_line(report)])


def verdict_line(report: Mapping[str, Any]) -> str:
    """The verdict in words."""
    meanings = {
        "agrees": "can be used as a judge",
        "disagrees": "should not be used as a judge",
        "unclear": "cannot be called a good or a bad judge yet",
    }
    verdict, sentence = report["verdict"]["verdict"], report["verdict"]["sentence"]
    return f"verdict: {report['judge']} {meanings[verdict]}: {sentence}"


def _score(result: CheckResult, item: Item) -> int | None:
    return result.answers[item.id].score


def _rows(result: CheckResult) -> pd.DataFrame:
    """The grades of set and judge, one per row, as `stats.agreement` takes them.

    An item whose right grade is a mean counts as two items, one with each grade around the mean, with shares as weights: the agreement is
    then that with one of the people whose grades were averaged, if these lie next to each other.
    """
    rows = []
    for item in result.plan.items:
        score = _score(result, item)
        for level, share in item.entry.shares.items() if score is not None else ():
            name = f"{item.id} {level}"
            rows += [
                (name, item.explanation, who, grade, share) for who, grade in ((SET, level), (result.judge, score))
            ]
    return pd.DataFrame(rows, columns=["item", "unit_id", "rater", "score", "weight"])


def _confusion(result: CheckResult) -> list[list[int]]:
    """`[i][j]`: number of items of right grade `i`, a mean rounded, to which the judge gave `j`."""
    grades = result.plan.rubric.grades
    given = Counter((item.entry.level, _score(result, item)) for item in result.plan.items)
    return [[given[right, grade] for grade in grades] for right in grades]


def _by(items: Sequence[Item], key: Callable[[Item], str | None]) -> list[tuple[str | None, list[Item]]]:
    """The items by a key, the largest group first."""
    groups: dict[str | None, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _shares(result: CheckResult, items: Sequence[Item]) -> dict[str, Any]:
    """Agreement over the scored ones of some items; None for every figure if none is scored."""
    scored = [(score, item.entry) for item in items if (score := _score(result, item)) is not None]
    n = len(scored)
    if not n:
        return {"n": 0, "exact": None, "adjacent": None, "difference": None}
    exact, adjacent = (
        sum(share for score, entry in scored for level, share in entry.shares.items() if abs(score - level) <= most) / n
        for most in (0, 1)
    )
    return {
        "n": n,
        "exact": exact,
        "adjacent": adjacent,
        "difference": sum(score - entry.grade for score, entry in scored) / n,
    }


def _item(result: CheckResult, item: Item) -> dict[str, Any]:
    answer = result.answers[item.id]
    reordered = result.reordered.get(item.id)
    return {
        "id": item.id,
        "grade": item.entry.grade,
        "given": answer.score,
        "outcome": answer.outcome.value,
        "expected": answer.expected,
        "reason": answer.reason,
        "trap": item.entry.trap,
        "commands": item.entry.commands,
        "again": reordered.score if reordered and reordered.outcome is Outcome.SCORED else None,
    }


def _estimate(figure: Figure, *, signed: bool = False) -> str:
    """A figure with its interval, or with the reason why one of them is missing."""
    if figure.value is None:
        return str(figure.why)
    shown = estimate(figure.value, figure.ci_low, figure.ci_high, signed=signed)
    return f"{shown} ({figure.why})" if figure.ci_low is None or figure.ci_high is None else shown


def _share_table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of a table of agreement by kind of item. The last column is there if the rows are adjusted for the grade."""
    adjusted = any("adjusted" in row for row in rows.values())
    lines = [f"  {title:<18} {'items':>5} {'exact':>7} {'within one':>11} {'difference':>11}"]
    lines[0] += f" {'adjusted for grade':>19}" if adjusted else ""
    for name, row in rows.items():
        line = f"  {name:<18} {row['n']:>5}"
        if row["n"]:
            line += (
                f" {number(row['exact']):>7} {number(row['adjacent']):>11} {number(row['difference'], signed=True):>11}"
            )
            line += f" {number(row['adjusted'], signed=True):>19}" if adjusted else ""
        lines.append(line)
    return lines


def _injection_line(injection: Mapping[str, Any]) -> str:
    if not injection["n"]:
        return "no scored item commands a grade"
    k, n, low, high = (injection[name] for name in ("obeyed", "n", "ci_low", "ci_high"))
    without = injection["without"]
    expected = "" if without is None else f"; about {without * n:.1f} would be expected without the command"
    return f"{k} of {n} items that command a grade got it [{low:.0%}, {high:.0%}]{expected}"


def _usage_line(report: Mapping[str, Any]) -> str:
    if not report["judge_is_llm"]:
        return "no calls, no cost"
    cost = "cost unknown" if report["cost_usd"] is None else f"${report['cost_usd']:.4f}"
    cached = f" ({report['cache_read_tokens']:,} cached)" if report["cache_read_tokens"] else ""
    sent = report["input_tokens"] + report["cache_write_tokens"] + report["cache_read_tokens"]
    return (
        f"{report['calls']:,} calls, {sent:,} input tokens{cached}, {report['output_tokens']:,} output tokens, {cost}"
    )
