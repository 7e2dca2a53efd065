"""Whether the judge can be believed: one verdict from all that a run measured of it.

It qualifies the headline and never changes it. The rules are conservative: what was not measured is said to be so, and never counts in
the judge's favour. `docs/reading-a-report.md` gives them in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from autointerp.findings.judge_checks import CHECKS, Check, Summary


def of(summary: Summary) -> dict[str, Any]:
    """`verdict` (`believe`, `with_care`, `do_not`), `sentence` for the first screen, and `checks` with `name`, `passed`, `said`.

    Reads a summary of any version: what an older one does not hold was not measured.
    """
    checks = [check(summary) for check in CHECKS]
    verdict, sentence = _verdict({check.name: check for check in checks})
    listed = [{"name": c.name, "passed": c.passed, "said": c.said} for c in checks]
    return {"verdict": verdict, "sentence": sentence, "checks": listed}


def _verdict(checks: Mapping[str, Check]) -> tuple[Literal["believe", "with_care", "do_not"], str]:
    damning = [check.short for check in checks.values() if check.damning]
    baseline = [] if checks["llm"].passed else [checks["llm"].short]
    if damning:
        return "do_not", _sentence([*damning[:2], *baseline])
    if not (checks["planted"].passed or checks["floor"].passed):
        unread = "nothing measured shows that it reads the explanations"
        return "do_not", _sentence([unread, *(checks[name].short for name in ("planted", "floor")), *baseline])
    confirming = [checks[name] for name in ("people", "second") if checks[name].passed]
    failed = [check.short for name, check in checks.items() if check.passed is False and name != "families"]
    lacking = [checks[name].short for name in ("planted", "floor", "noise") if checks[name].passed is None]
    if not confirming:
        lacking.append("neither people nor a second judge of another family confirm it")
    if failed or lacking:
        return "with_care", _sentence([*failed, *lacking][:3])
    return "believe", _sentence([checks["planted"].short, checks["noise"].short, confirming[0].short])


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
