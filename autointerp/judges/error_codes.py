"""Maps every error answer of a provider to one of the outcomes of `autointerp.judges.base`.

The rules use the HTTP status and the provider's stable codes, and wording only for the few cases in `_WORDING` that have no
code of their own. Codes: Anthropic's `error.type` and `error.details.error_code`
(platform.claude.com/docs/en/api/errors), OpenAI's `error.code` and `error.type`
(developers.openai.com/api/docs/guides/error-codes), and what vLLM and llama.cpp send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.rate_headers import rate_limits, retry_after


@dataclass(frozen=True)
class Failure:
    """An error answer without the SDK's types: status (None for an error in the body of a 200), stable codes, message, headers."""

    provider: str
    status: int | None
    codes: frozenset[str]
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = tuple[dict[str, Any], dict[str, str]] | Failure | JudgeError
"""What one request came to: body and headers, an error answer, or a connection that failed."""


_ACCOUNT = "settle it with the provider, then run the same command again"
_PARAMETER = "change judge.model, judge.thinking or judge.temperature"

_STOP: dict[str, str] = {
    # credentials
    "authentication_error": "check the API key",
    "invalid_api_key": "check the API key",
    "account_deactivated": "check the API key",
    "permission_error": "check what the API key may do",
    "sandbox_egress_restricted": "run it from a network that may reach the provider",
    "unsupported_country_region_territory": "the provider does not serve this country",
    # money
    "billing_error": _ACCOUNT,
    "insufficient_quota": _ACCOUNT,
    "billing_hard_limit_reached": _ACCOUNT,
    "billing_not_active": _ACCOUNT,
    "enforced_spend_limit_reached": _ACCOUNT,
    "contract_spend_limit_reached": _ACCOUNT,
    "linked_organization_billing_unavailable": _ACCOUNT,
    "linked_organization_spend_limit_reached": _ACCOUNT,
    "user_profile_billing_not_authorized": _ACCOUNT,
    "user_profile_not_billable": _ACCOUNT,
    "organization_on_hold": _ACCOUNT,
    "cmek_key_disabled": _ACCOUNT,
    "cmek_key_network_blocked": _ACCOUNT,
    # the model, or a setting that it does not accept
    "model_not_found": "check judge.model: it may be misspelt, retired or not open to this account",
    "not_found_error": "check judge.model: it may be misspelt, retired or not open to this account",
    "unsupported_parameter": _PARAMETER,
    "unsupported_value": _PARAMETER,
    "unknown_parameter": _PARAMETER,
}
_WAIT = frozenset(
    {
        "ramp_limit_exceeded",
        "rate_limit_error",
        "rate_limit_exceeded",
        "overloaded_error",
        "slow_down",
        "cmek_context_unavailable",
        "cmek_key_unreachable",
    }
)
_TOO_LONG = frozenset(
    {
        "context_length_exceeded",
        "string_above_max_length",
        "request_too_large",
        "request_body_too_large_after_decoding",
        "exceed_context_size_error",
    }
)
_REJECTED = frozenset(
    {
        "content_policy_violation",
        "content_filter",
        "invalid_prompt",
        "bio_policy",
        "misalignment_policy_violation",
    }
)
_STATUS_STOP = {
    401: "check the API key",
    402: _ACCOUNT,
    403: "check what the API key may do",
    404: _STOP["model_not_found"],
}
_STATUS_RETRY = frozenset({408, 409, 425, 499})

# Errors that share one status and code and differ only in their message: a prompt beyond the context (Anthropic, vLLM), an empty
# account (Anthropic), a thinking mode that the model does not accept (Anthropic), and a request body that was cut off in transit.
_WORDING: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"prompt is too long|maximum context length|exceeds? the (available )?context", re.IGNORECASE),
        "too_long",
    ),
    (re.compile(r"credit balance is too low", re.IGNORECASE), "account"),
    (re.compile(r"thinking\.type|thinking.{0,40}not supported", re.IGNORECASE), "parameter"),
    (re.compile(r"not valid json.*unexpected end", re.IGNORECASE), "cut_off"),
)


def outcome_of(failure: Failure) -> JudgeError:
    """The outcome of an error answer, with the rate limits that its headers state."""
    outcome = _outcome(failure)
    outcome.limits = rate_limits(failure.headers)
    return outcome


def _outcome(failure: Failure) -> JudgeError:
    # Codes before the status, and account codes before rate codes: a spend limit is also a 429, with Anthropic's
    # `rate_limit_error` type beside its own code.
    line = one_line(failure)
    stop = next((_STOP[code] for code in sorted(failure.codes) if code in _STOP), None)
    if stop is not None:
        return MustStop(f"{line}: {stop}")
    wait = retry_after(failure.headers)
    if failure.codes & _WAIT or failure.status in (429, 529) or (failure.status == 503 and wait is not None):
        return MustWait(line, retry_after_s=wait)
    if failure.codes & _TOO_LONG or failure.status == 413:
        return ItemFailed(line, reason="too_long")
    if failure.codes & _REJECTED:
        return ItemFailed(line, reason="content_rejected")
    return _by_status(failure, line)


def failure_in_body(provider: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Failure | None:
    """The error inside an answer with status 200, as overloaded servers and gateways send it, or None."""
    error = body.get("error")
    if not isinstance(error, Mapping):
        return None
    code = error.get("code")
    status = code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 else None
    return Failure(provider, status, codes_of(error), str(error.get("message", "")), headers)


def codes_of(error: Any) -> frozenset[str]:
    """The stable codes of an error object: its `type`, `code` and `details.error_code`, as far as they are strings."""
    if not isinstance(error, Mapping):
        return frozenset()
    details = error.get("details")
    inner = details.get("error_code") if isinstance(details, Mapping) else None
    return frozenset(value for value in (error.get("type"), error.get("code"), inner) if isinstance(value, str))


def one_line(failure: Failure) -> str:
    """The failure on one line without secrets: provider, status, codes and the provider's message, shortened."""
    status = "" if failure.status is None else f" {failure.status}"
    codes = f" ({redact(', '.join(sorted(failure.codes)))})" if failure.codes else ""
    message = redact(failure.message)
    return f"{failure.provider} answered{status}{codes}" + (f": {message}" if message else "")


def redact(text: str) -> str:
    """The text on one line, at most 240 characters, with everything that looks like an API key replaced by `[key]`."""
    line = re.sub(r"\b(sk|pk|rk)-[\w*.-]{4,}|(?<=Bearer )\S+", "[key]", " ".join(text.split()))
    printable = "".join(character if character.isprintable() else "?" for character in line)
    return printable if len(printable) <= 240 else printable[:239] + "…"


def _by_status(failure: Failure, line: str) -> JudgeError:
    status = failure.status
    if status in _STATUS_STOP:
        return MustStop(f"{line}: {_STATUS_STOP[status]}")
    if status is None or status in _STATUS_RETRY or status >= 500:
        return MayRetry(line)
    cause = next((cause for wording, cause in _WORDING if wording.search(failure.message)), None)
    if cause == "too_long":
        return ItemFailed(line, reason="too_long")
    if cause == "account":
        return MustStop(f"{line}: {_ACCOUNT}")
    if cause == "parameter":
        return MustStop(f"{line}: {_PARAMETER}")
    if cause == "cut_off":
        return MayRetry(line)
    return ItemFailed(line, reason="provider_error")
