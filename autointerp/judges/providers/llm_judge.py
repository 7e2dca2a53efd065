"""What the judges of all LLM providers share: settings, one client, and the way from a prompt to a reply or an error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import date
from typing import Any, ClassVar

from autointerp.judges.base import JudgeError
from autointerp.judges.providers import http
from autointerp.judges.providers.sdk_client import SdkClient
from autointerp.messages import Prompt, Reply
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import model_of


class LLMJudge(ABC):
    """A model behind a provider's API. All threads share one client; closing the judge closes it.

    Subclasses name the SDK methods and say what they are sent and how their body is read.
    """

    is_llm = True
    ask_method: ClassVar[str]
    """The SDK method that answers a question."""
    count_method: ClassVar[str | None] = None
    """The SDK method that counts a question's tokens; None if there is none."""

    def __init__(self, settings: JudgeSettings, client: SdkClient) -> None:
        self._settings = settings
        self._model = model_of(settings.model)
        self._client = client

    @property
    def name(self) -> str:
        return self._settings.model

    @abstractmethod
    def identity(self) -> Mapping[str, Any]: ...

    def ask(self, prompt: Prompt) -> Reply:
        answer = self._client.send(self.ask_method, **self._request(prompt))
        outcome = answer if isinstance(answer, JudgeError) else self._read(*answer)
        if isinstance(outcome, JudgeError):
            raise outcome
        return outcome

    def count_tokens(self, prompt: Prompt) -> int | None:
        if self.count_method is None:
            return None
        return http.count(self._fetch(self.count_method, **self._count_request(prompt)), "input_tokens") or None

    def retirement_date(self) -> date | None:
        """The day on which the model retires or retired, or None if the provider names none.

        One request. Raises `JudgeError`: `MustStop` if the model is unknown or has retired already.
        """
        return None

    def close(self) -> None:
        self._client.close()

    @classmethod
    def no_probabilities(cls, settings: JudgeSettings) -> str | None:
        """Why a model returns no token probabilities, in a few words; None if it may return them."""
        return None

    @abstractmethod
    def _request(self, prompt: Prompt) -> dict[str, Any]:
        """The arguments of `ask_method`."""

    def _count_request(self, prompt: Prompt) -> dict[str, Any]:
        """The arguments of `count_method`."""
        raise NotImplementedError

    @abstractmethod
    def _read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
        """An answer as a reply, or the failure that its body states."""

    def _fetch(self, method: str, **request: Any) -> dict[str, Any]:
        """The body of a request that bills nothing. Raises `JudgeError`."""
        answer = self._client.send(method, **request)
        if isinstance(answer, JudgeError):
            answer.usage = None
            raise answer
        return answer[0]


def day_of(value: Any) -> date | None:
    """The day at the beginning of an ISO 8601 date or time; None for anything else."""
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
