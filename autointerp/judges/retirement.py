"""When a judge's model retires, by its provider's API; the table in `prices.toml` is only as new as the installed version."""

from __future__ import annotations

from contextlib import closing
from datetime import date

from autointerp.judges import prices
from autointerp.judges.base import MayRetry, MustWait
from autointerp.judges.registry import load_class
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS, provider_of


def retirement_date(settings: JudgeSettings) -> date | None:
    """The day on which the judge's model retires or retired, or None if its provider does not say.

    Sends one request, and none to providers whose API has no such date. Raises `JudgeError`: `MustStop` for a model that is unknown
    or has retired already. Raises `UsageError` for a missing key.
    """
    provider = PROVIDERS[provider_of(settings.model)]
    if not provider.states_retirement:
        return None
    with closing(load_class(provider.judge)(settings)) as judge:
        day: date | None = judge.retirement_date()
        return day


def retirement(settings: JudgeSettings, today: date | None = None) -> str | None:
    """A sentence if the judge's model has retired or retires within 90 days, else None.

    The provider's date counts; if it gives none or cannot be reached, the announced one. Raises `MustStop` if the provider rejects
    the model or the key, and `UsageError` for a missing key.
    """
    if not PROVIDERS[provider_of(settings.model)].states_retirement:
        return None
    try:
        day = retirement_date(settings)
    except (MayRetry, MustWait):
        day = None
    if day is None:
        return prices.retirement_note(settings.model, today)
    return prices.retirement_notice(settings.model, day, today)
