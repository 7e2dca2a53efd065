"""What a run asks of its judge before anybody believes it: a check each, with its figures and the limit that it must keep.

A check passes, fails, or was not measured; no summary of any version makes one raise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Summary = Mapping[str, Any]

RIGHT_ENOUGH = 0.9
"""Share of planted items that must be graded right. Of a difference on two grades, a judge right on a share r shows 2r - 1."""
RIGHT_AT_LEAST = 0.75
"""Below this share it shows less than half of a difference, and is not to be believed."""
MIN_PLANTED = 3
"""Fewer planted units than this show nothing: their difference has no interval."""
MOST_FLIPS = 0.2
"""More regradings than one in five that differ are called noise."""
LEAST_ICC = 0.75
"""The reliability of one grade that Koo and Li (2016) call good."""
MIN_REPEATED = 10
"""Fewer items graded again than this do not show the judge's noise."""
LEAST_KAPPA = 0.4
"""What the interval of quadratic kappa must lie above: from there on Landis and Koch (1977) call agreement moderate."""
MIN_LABELS = 15
"""A person with fewer grades than this is not counted."""
MOST_UNSCORED = 0.1
"""A larger unscored share is a failing, whatever the spec allows."""
_ALIASES = {"o": "gpt", "chatgpt": "gpt"}


class Check(NamedTuple):
    """One thing that was asked of the judge. `passed` is None where it was not measured; `short` is `said` in a few words."""

    name: str
    passed: bool | None
    said: str
    short: str
    damning: bool = False
    """Whether the judge is not to be believed for this alone."""


def family(model: str) -> str:
    """The family of a judge's model by its name: `claude`, `gpt`, `llama`, `qwen`; what has no such name is a family of its own."""
    name = model.rsplit("/", 1)[-1].lower()
    found = re.match(r"[a-z]+", name)
    return _ALIASES.get(found[0], found[0]) if found else name


def _planted(summary: Summary) -> Check:
    found = _held(summary, "evidence", "planted")
    if not found:
        return _unmeasured("planted", "No unit with a known explanation was planted", "no units were planted")
    units = _count(found["n_units"], "planted unit")
    if found["n_units"] < MIN_PLANTED:
        return _unmeasured("planted", f"Only {units}: fewer than {MIN_PLANTED} show nothing", f"only {units}")
    figures = _estimate(found["separation"], "mean")
    if not found["separates"]:
        said = f"The judge does not tell the words of {units} from other text: hits less misses is {figures}."
        return Check(
            "planted",
            False,
            said,
            f"it does not tell planted words from other text (difference {figures})",
            damning=True,
        )
    hits, misses = _right(summary, found)
    if hits is None or misses is None:
        return _unmeasured("planted", "Planted units lack graded hits or misses", "planted units were left unscored")
    share = (hits + misses) / 2
    known = f"{_percent(hits)} of planted hits and {_percent(misses)} of misses"
    said = f"Of {units}, the judge graded {_percent(hits)} of hits and {_percent(misses)} of misses right, and hits above misses by {figures}."
    if share >= RIGHT_ENOUGH:
        return Check("planted", True, said, f"right on {known}")
    wanted = f" At least {_percent(RIGHT_ENOUGH)} should be."
    return Check("planted", False, said + wanted, f"right on only {known}", damning=share < RIGHT_AT_LEAST)


def _right(summary: Summary, found: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The shares of planted hits in the upper and of misses in the lower half of the scale: in one share the larger class would win."""
    levels = [level["grade"] for level in summary["rubric"]["levels"]]
    middle = (min(levels) + max(levels)) / 2

    def share(name: str, is_right: Callable[[int], bool]) -> float | None:
        given = found[name]["given"]
        total = sum(given.values())
        return sum(n for grade, n in given.items() if is_right(int(grade))) / total if total else None

    return share("hits", lambda grade: grade > middle), share("misses", lambda grade: grade <= middle)


def _floor(summary: Summary) -> Check:
    return _contrast(
        summary,
        "floor",
        "main_minus_shuffled",
        "No exemplar was judged under another unit's explanation, so nothing shows that the judge reads it",
        "The judge tells a unit's own explanation from another unit's: own less another's is",
        "The judge does not tell a unit's own explanation from another unit's: own less another's is",
        (
            "no shuffled control",
            "own explanations score above others'",
            "own explanations score no higher than others'",
        ),
    )


def _base_rate(summary: Summary) -> Check:
    return _contrast(
        summary,
        "base_rate",
        "main_minus_base_rate",
        "No silent window was judged, so it is not known how easily an explanation is earned",
        "Active windows score above windows in which the unit is silent by",
        "Active windows do not score above windows in which the unit is silent: the difference is",
        (
            "no silent windows",
            "active windows score above silent ones",
            "active windows score no higher than silent ones",
        ),
    )


def _contrast(
    summary: Summary, name: str, key: str, lacking: str, above: str, below: str, shorts: tuple[str, str, str]
) -> Check:
    found = _held(summary, "controls", key)
    difference, low = found.get("difference"), found.get("ci_low")
    if difference is None:
        return _unmeasured(name, lacking, shorts[0])
    figures = f"{_estimate(found, 'difference')} over {_count(found['n_units'], 'unit')}"
    if low is None and difference > 0:
        return _unmeasured(name, f"{above} {figures}, without an interval", shorts[0])
    if low is not None and low > 0:
        return Check(name, True, f"{above} {figures}.", shorts[1])
    return Check(name, False, f"{below} {figures}.", shorts[2])


def _noise(summary: Summary) -> Check:
    found = _held(summary, "evidence", "repeats")
    if not found:
        return _unmeasured("noise", "No item was graded twice", "its noise was not measured")
    items, flips, icc = _count(found["n"], "item"), found["flip_rate"], found["icc_single"]
    said = f"Of {items} graded again, {_percent(flips['value'])} of regradings differ"
    if found["n"] < MIN_REPEATED:
        return _unmeasured("noise", f"{said}: too few items", f"its noise is known from {items} only")
    if icc["value"] is None:
        return _unmeasured("noise", f"{said}; the reliability of a grade is {icc['why']}", "its noise is undefined")
    said += f"; the reliability of one grade (ICC) is {_estimate(icc, 'value')}"
    low = flips["value"] <= MOST_FLIPS and icc["value"] >= LEAST_ICC
    short = "its grades repeat" if low else "its grades do not repeat"
    limits = "" if low else f"; at most {_percent(MOST_FLIPS)} and at least {_number(LEAST_ICC)} are asked for"
    return Check("noise", low, f"{said}{limits}.", f"{short} ({_percent(flips['value'])} differ)")


def _second(summary: Summary) -> Check:
    found = _held(summary, "evidence", "second")
    if not found:
        return _unmeasured("second", "No second judge graded anything again", "no second judge")
    name, kappa = found["judge"], found["agreement"]["kappa"]
    agrees, said = _agrees(kappa, name, found["n"])
    same, opposes, claim = _keeps(summary, found["corrected"]["difference"], f"{name}'s grades")
    known = {family(summary["judge"]), family(summary["explainer"]), "embedded"}
    passed = _all(agrees, same)
    if passed and family(name) in known:
        passed, claim = (
            None,
            f"{claim} It is of a family that explained or judged here, or no LLM: it confirms nothing.",
        )
    short = f"{name} {_short(passed)} (kappa {_estimate(kappa, 'value')})"
    return Check("second", passed, f"{said} {claim}".strip(), short, damning=opposes)


def _people(summary: Summary) -> Check:
    found = _held(summary, "evidence", "people")
    if not found:
        return _unmeasured(
            "people", "No person has graded a sample; autointerp label RUN asks for it", "no person has graded"
        )
    each = [_agrees(pair["kappa"], pair["b"], pair["n"]) for pair in found["agreement"]]
    enough = [a for (a, _), pair in zip(each, found["agreement"], strict=True) if pair["n"] >= MIN_LABELS]
    agrees = _all(*enough) if enough else None
    same, opposes, claim = _keeps(summary, found["corrected"]["difference"], "people's grades")
    passed = _all(agrees, same)
    said = " ".join([*(said for _, said in each), claim]).strip()
    kappas = ", ".join(_estimate(pair["kappa"], "value") for pair in found["agreement"])
    return Check("people", passed, said, f"people {_short(passed, many=True)} (kappa {kappas})", damning=opposes)


def _agrees(kappa: Mapping[str, Any], name: str, n: int) -> tuple[bool | None, str]:
    on = f"on {_count(n, 'item')}"
    if kappa["value"] is None or kappa["ci_low"] is None:
        value = "" if kappa["value"] is None else f"{_number(kappa['value'])}, "
        return None, f"Agreement with {name} {on}: quadratic kappa {value}{kappa['why']}."
    return kappa["ci_low"] >= LEAST_KAPPA, f"Agreement with {name} {on}: quadratic kappa {_estimate(kappa, 'value')}."


def _keeps(summary: Summary, corrected: Mapping[str, Any], by: str) -> tuple[bool | None, bool, str]:
    """Whether the corrected headline claims what the headline does, whether it claims the opposite, and both in words."""
    if summary["headline"].get("withheld"):
        return True, False, ""
    figures = _held(summary, "weightings", "bin_uniform")
    ours, theirs = _claim(figures), _claim(corrected)
    if corrected["value"] is None or ours is None or theirs is None:
        why = corrected["why"] or "there is no interval to compare"
        return None, False, f"The headline is not corrected by {by}: {why}."
    moved = f"{_estimate(figures, 'difference')} becomes {_estimate(corrected, 'value')}"
    if ours == theirs:
        return True, False, f"Corrected by {by}, the headline says the same: {moved}."
    if ours * theirs < 0:
        return False, True, f"Corrected by {by}, the headline says the opposite: {moved}."
    return False, False, f"Corrected by {by}, the headline no longer says the same: {moved}."


def _claim(figures: Mapping[str, Any]) -> int | None:
    low, high = figures.get("ci_low"), figures.get("ci_high")
    return None if low is None or high is None else int(low > 0) - int(high < 0)


def _unscored(summary: Summary) -> Check:
    judged = _held(summary, "controls", "main", "all")
    if not judged or not judged["n"] + judged["n_unscored"]:
        return _unmeasured("unscored", "Nothing was judged", "nothing was judged")
    share = max([summary["unscored_share"], *(s for s in _held(summary, "main_unscored_share").values() if s)])
    bounds, claim = _held(summary, "headline_bounds"), _claim(_held(summary, "weightings", "bin_uniform"))
    said = f"{_percent(summary['unscored_share'])} of all judgements are unscored, at most {_percent(share)} of those of one kind"
    undone = bool(claim) and bounds.get("low") is not None and bounds["low"] * bounds["high"] <= 0
    if undone:
        said += f"; had all gone one way, the difference would lie between {_number(bounds['low'])} and {_number(bounds['high'])}"
    passed = share <= MOST_UNSCORED and not undone
    return Check(
        "unscored",
        passed,
        f"{said}.",
        "what is unscored could undo the headline" if undone else f"{_percent(share)} are unscored",
    )


def _families(summary: Summary) -> Check:
    judge, explainer = str(summary["judge"]), str(summary["explainer"])
    if family(judge) == family(explainer):
        who = judge if judge == explainer else f"{explainer} and {judge}, of one family,"
        said = f"{who} explains and judges" if judge == explainer else f"{who} explain and judge"
        return Check(
            "families",
            False,
            f"{said}: a model may prefer explanations like its own.",
            "one family explains and judges",
        )
    return Check("families", True, f"Different families explain ({explainer}) and judge ({judge}).", "families differ")


def _llm(summary: Summary) -> Check:
    judge = summary["judge"]
    if summary["judge_is_llm"]:
        return Check("llm", True, f"The judge is a language model: {judge}.", "it is a language model")
    return Check(
        "llm", False, f"The judge ({judge}) is a baseline, not a language model.", "it is not a language model"
    )


CHECKS: tuple[Callable[[Summary], Check], ...] = (
    *(_planted, _floor, _base_rate, _noise, _people, _second, _unscored, _families, _llm),
)


def _held(summary: Summary, *keys: str) -> Mapping[str, Any]:
    """What the summary holds there; empty where an older version has nothing."""
    found: Mapping[str, Any] = summary
    for key in keys:
        found = found.get(key) or {}
    return found


def _unmeasured(name: str, said: str, short: str) -> Check:
    return Check(name, None, f"{said}.", short)


def _all(*answers: bool | None) -> bool | None:
    """False where one is, else None where one is, else True."""
    return False if False in answers else None if None in answers else True


def _short(passed: bool | None, *, many: bool = False) -> str:
    s = "" if many else "s"
    return {True: f"confirm{s} it", False: f"contradict{s} it", None: f"neither confirm{s} nor contradict{s} it"}[
        passed
    ]


def _estimate(figures: Mapping[str, Any], key: str) -> str:
    value, low, high = figures[key], figures["ci_low"], figures["ci_high"]
    return _number(value) if value is None or low is None else f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share in (0, 1) or share >= 0.1 else f"{100 * share:.1f}%"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
