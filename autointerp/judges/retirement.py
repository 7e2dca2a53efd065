"""When a judge's model retires, as its provider says today; the table in `prices.toml` is only as new as this program."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from autointerp.judges import anthropic, openai, prices
from autointerp.judges.base import MayRetry, MustStop, MustWait
from autointerp.judges.batch_api import Answer
from autointerp.judges.error_codes import Failure, outcome_of
from autointerp.judges.registry import provider_of
from autointerp.spec.sections import Judge as JudgeSettings


def retires(settings: JudgeSettings) -> date | None:
    """The day on which the judge's model retires or retired, or None where its provider does not say.

    One request, none for providers without a list of models. Raises `JudgeError`: `MustStop` for a model that is
    retired or unknown already. Raises `UsageError` for a missing key.
    """
    provider, _, model = settings.model.partition("/")
    if provider == "anthropic":
        return _anthropic_date(model, _ask_anthropic(settings, model))
    if provider == "openai":
        return _day(_ask_openai(settings, model).get("shutdown_date"))
    return None


def retirement(settings: JudgeSettings, today: date | None = None) -> str | None:
    """A sentence where the judge's model is retired or retires within 90 days, else None.

    The provider's date counts; where it gives none or cannot be reached, the announced one. Raises `MustStop` where
    the provider says that the model or the key is no good, and `UsageError` for a missing key.
    """
    if provider_of(settings.model) not in ("anthropic", "openai"):
        return None
    try:
        day = retires(settings)
    except (MayRetry, MustWait):
        day = None
    if day is None:
        return prices.retirement_note(settings.model, today)
    return prices.retirement_notice(settings.model, day, today)


def _ask_anthropic(settings: JudgeSettings, model: str) -> dict[str, Any]:
    client = anthropic.open_client(settings)
    try:
        method = client.models.with_streaming_response.retrieve
        return _body(anthropic.exchange(method, {"model_id": model}, settings.timeout_s))
    finally:
        client.close()


def _ask_openai(settings: JudgeSettings, model: str) -> dict[str, Any]:
    client = openai.open_client(settings)
    try:
        return _body(client.exchange(lambda sdk: sdk.models.with_streaming_response.retrieve(model)))
    finally:
        client.close()


def _body(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, tuple):
        return answer[0]
    error = outcome_of(answer) if isinstance(answer, Failure) else answer
    error.usage = None
    raise error


def _anthropic_date(model: str, info: Mapping[str, Any]) -> date | None:
    day = _day(info.get("retires_at"))
    if info.get("lifecycle") == "retired":
        when = "" if day is None else f" since {day}"
        raise MustStop(f"{model} is retired{when}: name another model in judge.model")
    return day


def _day(said: Any) -> date | None:
    try:
        return date.fromisoformat(str(said)[:10])
    except ValueError:
        return None
