"""How far the judge can be relied on: one verdict from all checks.

The verdict qualifies the headline and never changes it. A property that was not measured never counts in the judge's favour.
`docs/reading-a-report.md` states the rules in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from autointerp.findings.judge_checks import checks_of
from autointerp.findings.sanity_checks import Check
from autointerp.findings.summary import JudgeCheck, JudgeVerdict, Summary
from autointerp.formatting import sentence


def of(summary: Summary) -> JudgeVerdict:
    """The verdict on the judge of a run, with its reasons in a sentence, and all checks."""
    checks = checks_of(summary)
    verdict, reasons = _verdict(checks)
    listed = [JudgeCheck(name=check.name, passed=check.passed, said=check.message) for check in checks.values()]
    return JudgeVerdict(verdict=verdict, sentence=f"{sentence('; '.join(reasons))}.", checks=listed)


def _verdict(checks: Mapping[str, Check]) -> tuple[Literal["believe", "with_care", "do_not"], list[str]]:
    """The verdict, and at most four reasons for it."""
    not_llm = [] if checks["llm"].passed else [checks["llm"].short_message]
    if disqualifying := [check.short_message for check in checks.values() if check.disqualifying]:
        return "do_not", [*disqualifying[:2], *not_llm]
    if not (checks["planted"].passed or checks["floor"].passed):
        reads = [checks[name].short_message for name in ("planted", "floor")]
        return "do_not", ["no check shows that it reads the explanations", *reads, *not_llm]
    confirming = [checks[name] for name in ("people", "second") if checks[name].passed]
    # A judge of the explainer's family can still be reliable: others have confirmed it.
    failed = [check.short_message for name, check in checks.items() if check.passed is False and name != "families"]
    missing = [checks[name].short_message for name in ("planted", "floor", "noise") if checks[name].passed is None]
    if not confirming:
        missing.append("neither people nor a second judge of another family confirm it")
    if failed or missing:
        return "with_care", [*failed, *missing][:3]
    return "believe", [checks["planted"].short_message, checks["noise"].short_message, confirming[0].short_message]
