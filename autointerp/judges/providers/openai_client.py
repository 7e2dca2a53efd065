"""The openai SDK's client, shared by the judges of OpenAI and of servers that speak its older protocol."""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

import openai

from autointerp.judges.providers.keys import key_of
from autointerp.judges.providers.sdk_client import SdkClient, open_sdk
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import Provider


class OpenAIClient(SdkClient):
    """The openai SDK's client. The SDK unwraps the `error` of an error body by itself."""

    errors: ClassVar[ModuleType] = openai
    base_error = openai.OpenAIError

    def __init__(self, provider: Provider, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a missing key."""
        key, variable = key_of(settings)
        sdk = open_sdk(openai.OpenAI, openai.DefaultHttpxClient, settings, api_key=key)
        super().__init__(provider, sdk, settings.timeout_s, has_key=bool(variable))
