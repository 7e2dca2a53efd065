"""The openai SDK behind both of its protocols: one attempt, the whole body, and errors as outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from autointerp.judges import http, outcomes
from autointerp.judges.base import ItemFailed, JudgeError, MustStop


class OpenAIClient:
    """One SDK client without retries, shared by all threads."""

    def __init__(self, provider: str, key: str, base_url: str | None, timeout_s: float) -> None:
        import openai

        self._provider = provider
        self._timeout_s = timeout_s
        self._sdk = openai.OpenAI(api_key=key, base_url=base_url, max_retries=0, timeout=http.timeout(timeout_s))

    def send(self, call: Callable[[Any], Any]) -> tuple[dict[str, Any], dict[str, str]] | JudgeError:
        """Body and headers of one request; `call` takes the SDK and returns a streaming response's context manager."""
        import httpx2
        import openai

        deadline = time.monotonic() + self._timeout_s
        try:
            with call(self._sdk) as response:
                headers = dict(response.headers)
                body = http.read(response.iter_bytes(), deadline)
        except openai.APIStatusError as error:
            return _status_outcome(self._provider, error)
        except (openai.APIConnectionError, httpx2.HTTPError, http.DeadlinePassed) as error:
            return http.connection_outcome(self._provider, error, self._timeout_s)
        except openai.OpenAIError as error:
            return MustStop(f"{self._provider} cannot be called: {outcomes.tidy(str(error))}: check the API key")
        except UnicodeError:
            return ItemFailed("the prompt holds characters that cannot be sent as UTF-8")
        parsed = http.parse(self._provider, body)
        return parsed if isinstance(parsed, JudgeError) else (parsed, headers)

    def close(self) -> None:
        """Release connections."""
        self._sdk.close()


def _status_outcome(provider: str, error: Any) -> JudgeError:
    body = error.body if isinstance(error.body, Mapping) else None
    message = body.get("message") if body else str(error.body or "")
    codes = outcomes.codes_of(body)
    return outcomes.outcome_of(
        outcomes.Failure(provider, error.status_code, codes, str(message), dict(error.response.headers))
    )
