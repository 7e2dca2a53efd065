"""How far the judge can be relied on: one verdict from all checks of it.

It qualifies the headline and never changes it. A property that was not measured never counts in the judge's favour.
`docs/reading-a-report.md` gives the rules in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from autointerp.findings.judge_checks import CHECKS, Check
from autointerp.findings.summary import JudgeCheck, JudgeVerdict, Summary
from autointerp.formatting import sentence


def of(summary: Summary) -> JudgeVerdict:
    """The verdict, its sentence for the first screen, and the checks."""
    checks = {check.name: check for check in (check(summary) for check in CHECKS)}
    verdict, said = _verdict(checks)
    listed = [JudgeCheck(name=check.name, passed=check.passed, said=check.said) for check in checks.values()]
    return JudgeVerdict(verdict=verdict, sentence=said, checks=listed)


def _verdict(checks: Mapping[str, Check]) -> tuple[Literal["believe", "with_care", "do_not"], str]:
    damning = [check.short for check in checks.values() if check.damning]
    baseline = [] if checks["llm"].passed else [checks["llm"].short]
    if damning:
        return "do_not", _joined([*damning[:2], *baseline])
    if not (checks["planted"].passed or checks["floor"].passed):
        unread = "nothing measured shows that it reads the explanations"
        return "do_not", _joined([unread, *(checks[name].short for name in ("planted", "floor")), *baseline])
    confirming = [checks[name] for name in ("people", "second") if checks[name].passed]
    failed = [check.short for name, check in checks.items() if check.passed is False and name != "families"]
    lacking = [checks[name].short for name in ("planted", "floor", "noise") if checks[name].passed is None]
    if not confirming:
        lacking.append("neither people nor a second judge of another family confirm it")
    if failed or lacking:
        return "with_care", _joined([*failed, *lacking][:3])
    return "believe", _joined([checks["planted"].short, checks["noise"].short, confirming[0].short])


def _joined(parts: list[str]) -> str:
    return f"{sentence('; '.join(parts))}."
