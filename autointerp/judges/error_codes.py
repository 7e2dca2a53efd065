"""Reads error answers of providers, and maps each to one of the outcomes of `autointerp.judges.base` by the table in `error_table`.

Codes: Anthropic's `error.type` and `error.details.error_code`
(platform.claude.com/docs/en/api/errors), OpenAI's `error.code` and `error.type`
(developers.openai.com/api/docs/guides/error-codes), and what vLLM and llama.cpp send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.error_table import row_of
from autointerp.judges.rate_headers import rate_limits, retry_after
from autointerp.messages import Usage
from autointerp.redaction import hide


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


def outcome_of(failure: Failure) -> JudgeError:
    """The outcome of an error answer, with the rate limits that its headers state."""
    outcome = _outcome(failure)
    outcome.limits = rate_limits(failure.headers)
    return outcome


def _outcome(failure: Failure) -> JudgeError:
    row, line, wait = (
        row_of(failure.status, failure.codes, failure.message),
        one_line(failure),
        retry_after(failure.headers),
    )
    if row.action == "stop":
        return MustStop(f"{line}: {row.advice}")
    # A server that says when it will be back is overloaded and not broken.
    if row.action == "wait" or (failure.status == 503 and wait is not None):
        return MustWait(line, retry_after_s=wait)
    if row.action == "retry":
        return MayRetry(line, usage=Usage(known=False) if row.may_be_billed else None)
    return ItemFailed(line, reason=row.action)


def failure_in_body(provider: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Failure | None:
    """The error inside an answer with status 200, as overloaded servers and gateways send it, or None.

    It is an object or a text under `error`, or the body itself (vLLM: `object` is `error`).
    """
    error = body if body.get("object") == "error" else body.get("error")
    if not error or not isinstance(error, Mapping | str):
        return None
    return Failure(provider, _status_in(error), codes_of(error), message_of(error), headers)


def _status_in(error: Any) -> int | None:
    """The HTTP status that gateways send as an error's `code`, as a number or as digits."""
    code = error.get("code") if isinstance(error, Mapping) else None
    status = int(code) if isinstance(code, str) and re.fullmatch("[45][0-9][0-9]", code) else code
    return status if isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600 else None


def message_of(error: Any) -> str:
    """The message of an error object, or of an error that is plain text.

    OpenRouter puts the upstream's own error into `metadata.raw`, and why its moderation refused the input into `metadata.reasons`
    beside `metadata.flagged_input`; FastAPI calls its message `detail`.
    """
    if not isinstance(error, Mapping):
        return error if isinstance(error, str) else ""
    metadata = error.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    raw, reasons = metadata.get("raw"), metadata.get("reasons")
    message = next((str(error[name]) for name in ("message", "detail", "error", "msg") if error.get(name)), "")
    if "flagged_input" in metadata and "was flagged" not in message:
        named = ", ".join(map(str, reasons)) if isinstance(reasons, list) and reasons else "no stated reason"
        message += f": the input was flagged for {named}"
    return f"{message}: {raw}" if isinstance(raw, str) and raw else message


def codes_of(error: Any) -> frozenset[str]:
    """The stable codes of an error object: its `type`, `code`, `status`, `details.error_code` and `innererror.code`, if strings."""
    if not isinstance(error, Mapping):
        return frozenset()
    details, inner = error.get("details"), error.get("innererror")
    values = [error.get("type"), error.get("code"), error.get("status")]
    values += [details.get("error_code")] if isinstance(details, Mapping) else []
    values += [inner.get("code")] if isinstance(inner, Mapping) else []
    return frozenset(value for value in values if isinstance(value, str))


def one_line(failure: Failure) -> str:
    """The failure on one line without secrets: provider, status, codes and the provider's message, shortened."""
    status = "" if failure.status is None else f" {failure.status}"
    codes = f" ({redact(', '.join(sorted(failure.codes)))})" if failure.codes else ""
    message = redact(failure.message)
    return f"{failure.provider} answered{status}{codes}" + (f": {message}" if message else "")


def redact(text: str) -> str:
    """The text on one line, at most 240 characters, without keys and passwords."""
    line = hide(" ".join(text.split()))
    printable = "".join(character if character.isprintable() else "?" for character in line)
    return printable if len(printable) <= 240 else printable[:239] + "…"
