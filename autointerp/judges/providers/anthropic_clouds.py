"""Claude on Amazon Bedrock and Google Vertex AI, through the classes of Anthropic's SDK: `bedrock/MODEL` and `vertex/MODEL`.

The SDK finds region, project and credentials as the clouds' own tools do. Requests and replies are those of the Messages API; models have the
cloud's names, such as `us.anthropic.claude-haiku-4-5-20251001-v1:0` and `claude-haiku-4-5@20251001`. To a `judge.base_url` outside the cloud no
credentials are sent but the key that `judge.key_env` names.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import anthropic
from anthropic._constants import ANTHROPIC_API_VERSION

from autointerp.errors import UsageError
from autointerp.judges import error_codes
from autointerp.judges.base import MustStop
from autointerp.judges.error_codes import Answer
from autointerp.judges.providers import anthropic as messages_api
from autointerp.judges.providers.keys import NO_KEY, key_of
from autointerp.judges.providers.llm_judge import LLMJudge
from autointerp.judges.providers.sdk_client import open_sdk
from autointerp.messages import Prompt
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS, anthropic_name

_OF_CREDENTIALS = ("google.auth", "botocore", "anthropic")
"""Packages whose exceptions, raised while a request is signed, are about credentials."""


class CloudClient(messages_api.AnthropicClient):
    """The anthropic SDK's client for a cloud, which signs requests."""

    def exchange(self, method: str, timeout_s: float | None = None, /, **request: Any) -> Answer:
        try:
            return super().exchange(method, timeout_s, **request)
        except Exception as error:
            if not isinstance(error, RuntimeError | ImportError) and not type(error).__module__.startswith(
                _OF_CREDENTIALS
            ):
                raise
            return MustStop(
                f"{self.provider.name} cannot be called: {error_codes.redact(str(error))}: check the credentials of the cloud"
            )


class CloudJudge(messages_api.AnthropicJudge):
    """A Claude model of a cloud. Clouds count no tokens here and state no day of retirement."""

    count_method = None
    provider: ClassVar[str]

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a missing region, project or key, and for settings that the model does not accept."""
        named = settings.model_copy(update={"model": f"anthropic/{anthropic_name(settings.model)}"})
        messages_api.check(named)
        key, _ = key_of(settings)
        # Without a key the SDK takes the cloud's credentials, which are for the cloud's own address only.
        credentials = {} if key == NO_KEY and settings.base_url is None else self.with_key(key)
        try:
            sdk = open_sdk(self.sdk(), anthropic.DefaultHttpxClient, settings, **credentials)
        except (anthropic.AnthropicError, ValueError, ImportError) as error:
            raise UsageError(f"judge.model = {settings.model} cannot be opened ({error}): {self.needs()}") from None
        client = CloudClient(PROVIDERS[self.provider], sdk, settings.timeout_s, has_key=True)
        LLMJudge.__init__(self, settings, client)
        self._named = named

    def identity(self) -> Mapping[str, Any]:
        return {
            "provider": self.provider,
            "model": self._model,
            "api": f"messages/{ANTHROPIC_API_VERSION}",
            "thinking": self._settings.thinking,
        }

    @classmethod
    @abstractmethod
    def sdk(cls) -> Any:
        """The SDK's class."""

    @classmethod
    @abstractmethod
    def with_key(cls, key: str) -> dict[str, str]:
        """The arguments of the SDK's class that give it a key in place of the cloud's credentials."""

    @classmethod
    @abstractmethod
    def needs(cls) -> str:
        """What has to be set, in a few words."""

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        return messages_api.request_of(self._named, prompt) | {"model": self._model}


class BedrockJudge(CloudJudge):
    """A Claude model on Amazon Bedrock."""

    provider = "bedrock"

    @classmethod
    def sdk(cls) -> Any:
        return anthropic.AnthropicBedrock

    @classmethod
    def with_key(cls, key: str) -> dict[str, str]:
        return {"api_key": key}

    @classmethod
    def needs(cls) -> str:
        return "set AWS_REGION, and AWS_BEARER_TOKEN_BEDROCK or the credentials of the AWS command line"


class VertexJudge(CloudJudge):
    """A Claude model on Google Vertex AI."""

    provider = "vertex"

    @classmethod
    def sdk(cls) -> Any:
        return anthropic.AnthropicVertex

    @classmethod
    def with_key(cls, key: str) -> dict[str, str]:
        return {"access_token": key}

    @classmethod
    def needs(cls) -> str:
        return "set CLOUD_ML_REGION and ANTHROPIC_VERTEX_PROJECT_ID"
