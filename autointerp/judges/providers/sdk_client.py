"""Requests through a provider's SDK: one attempt each, the whole body, and every failure as an outcome.

The SDKs of Anthropic and OpenAI come from the same generator, so their clients and exceptions have the same shape.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from operator import attrgetter
from types import ModuleType
from typing import Any, ClassVar

import httpx2

from autointerp.errors import UsageError
from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MustStop
from autointerp.judges.error_codes import Answer, Failure
from autointerp.judges.providers import bounded_client, http
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import Provider


def open_sdk(sdk: Any, http_client: Any, settings: JudgeSettings, **key: str) -> Any:
    """A client of class `sdk` without retries, whose requests go to its own server only. Raises `UsageError` for a wrong address."""
    client = bounded_client.bounded(http_client())
    timeout = http.timeout(settings.timeout_s)
    try:
        opened = sdk(base_url=settings.base_url, max_retries=0, timeout=timeout, http_client=client, **key)
        client.event_hooks = client.event_hooks | {"request": [http.only_to(opened.base_url)]}
    except httpx2.InvalidURL as error:
        raise UsageError(
            f"the address of {settings.model} is none ({error}): correct judge.base_url, or the environment variable instead of it"
        ) from None
    return opened


class SdkClient:
    """One SDK client without retries, shared by all threads. Subclasses name the SDK."""

    errors: ClassVar[ModuleType]
    """The SDK's module, which holds `APIStatusError` and `APIConnectionError`."""
    base_error: ClassVar[type[Exception]]
    """The SDK's most general exception."""

    def __init__(self, provider: Provider, sdk: Any, timeout_s: float, *, has_key: bool) -> None:
        self.provider = provider
        self.has_key = has_key
        self.timeout_s = timeout_s
        self._sdk = sdk

    def stream(self, method: str, **request: Any) -> AbstractContextManager[Any]:
        """The response of an SDK method such as `messages.create`, whose body is read as it arrives.

        Entering the context sends the request and raises the SDK's exceptions.
        """
        resource, _, verb = method.rpartition(".")
        response: AbstractContextManager[Any]
        response = getattr(attrgetter(resource)(self._sdk).with_streaming_response, verb)(**request)
        return response

    def exchange(self, method: str, timeout_s: float | None = None, /, **request: Any) -> Answer:
        """Body and headers of one request, an error answer as it came, or the outcome of a connection that failed.

        `timeout_s` replaces the client's own.
        """
        timeout_s = timeout_s or self.timeout_s
        deadline = time.monotonic() + timeout_s
        try:
            with (
                bounded_client.deadline(deadline),
                self.stream(method, **request, timeout=http.timeout(timeout_s)) as response,
            ):
                headers = dict(response.headers)
                body = http.read(response.iter_bytes(), deadline)
        except self.errors.APIStatusError as error:
            return self.failure_of(error)
        except (self.errors.APIConnectionError, httpx2.HTTPError, http.DeadlinePassed, http.TooLarge) as error:
            return http.connection_outcome(self.provider.name, error, timeout_s)
        except self.base_error as error:
            detail = error_codes.redact(str(error))
            check = self.provider.keys[0] if self.provider.keys else "the credentials of the cloud"
            return MustStop(f"{self.provider.name} cannot be called: {detail}: check {check}")
        except UnicodeError:
            return ItemFailed("the prompt holds characters that cannot be sent as UTF-8")
        parsed = http.parse(self.provider.name, body)
        return parsed if isinstance(parsed, JudgeError) else (parsed, headers)

    def send(self, method: str, /, **request: Any) -> tuple[dict[str, Any], dict[str, str]] | JudgeError:
        """Body and headers of one request, or the outcome of its failure."""
        answer = self.exchange(method, **request)
        if not isinstance(answer, Failure):
            return answer
        outcome = error_codes.outcome_of(answer)
        if isinstance(outcome, MustStop) and answer.status in (401, 403) and not self.has_key:
            return MustStop(f"{outcome}; no key was sent there: set judge.key_env to the variable that holds one")
        return outcome

    def failure_of(self, error: Any) -> Failure:
        """The SDK's status error without the SDK's types."""
        body = self._error_object(error.body)
        message = error_codes.message_of(body) or str(error.body or "")
        codes, headers = error_codes.codes_of(body), dict(error.response.headers)
        return Failure(self.provider.name, error.status_code, codes, message, headers)

    def close(self) -> None:
        """Close its connections."""
        self._sdk.close()

    def _error_object(self, body: Any) -> Mapping[str, Any] | None:
        """The object with `message` and codes in what the SDK holds as an error's body."""
        return body if isinstance(body, Mapping) else None
