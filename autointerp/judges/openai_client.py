"""The openai SDK behind both of its protocols: one attempt, the whole body, and errors as outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import openai

from autointerp.judges import error_codes, http
from autointerp.judges.base import ItemFailed, JudgeError, MustStop


class OpenAIClient:
    """One SDK client without retries, shared by all threads."""

    def __init__(self, provider: str, key: str, base_url: str | None, timeout_s: float) -> None:
        self.provider = provider
        self.timeout_s = timeout_s
        self.sdk = openai.OpenAI(api_key=key, base_url=base_url, max_retries=0, timeout=http.timeout(timeout_s))

    def send(self, call: Callable[[Any], Any]) -> tuple[dict[str, Any], dict[str, str]] | JudgeError:
        """Body and headers of one request; `call` takes the SDK and returns a streaming response's context manager."""
        answer = self.exchange(call)
        return error_codes.outcome_of(answer) if isinstance(answer, error_codes.Failure) else answer

    def exchange(
        self, call: Callable[[Any], Any], timeout_s: float | None = None
    ) -> tuple[dict[str, Any], dict[str, str]] | error_codes.Failure | JudgeError:
        """The same, an error status as it came; `timeout_s` replaces the client's where `call` sets another."""
        timeout_s = timeout_s or self.timeout_s
        deadline = time.monotonic() + timeout_s
        try:
            with call(self.sdk) as response:
                headers = dict(response.headers)
                body = http.read(response.iter_bytes(), deadline)
        except openai.APIStatusError as error:
            return failure_of(self.provider, error)
        except (openai.APIConnectionError, httpx2.HTTPError, http.DeadlinePassed) as error:
            return http.connection_outcome(self.provider, error, timeout_s)
        except openai.OpenAIError as error:
            return MustStop(f"{self.provider} cannot be called: {error_codes.tidy(str(error))}: check the API key")
        except UnicodeError:
            return ItemFailed("the prompt holds characters that cannot be sent as UTF-8")
        parsed = http.parse(self.provider, body)
        return parsed if isinstance(parsed, JudgeError) else (parsed, headers)

    def close(self) -> None:
        """Release connections."""
        self.sdk.close()


def failure_of(provider: str, error: Any) -> error_codes.Failure:
    """The SDK's status error without the SDK."""
    body = error.body if isinstance(error.body, Mapping) else None
    message = body.get("message") if body else str(error.body or "")
    codes = error_codes.codes_of(body)
    return error_codes.Failure(provider, error.status_code, codes, str(message), dict(error.response.headers))
