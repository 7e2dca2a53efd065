"""GPT models on Azure, through the class of OpenAI's SDK (`openai.AzureOpenAI`): `azure/DEPLOYMENT`.

The SDK reads the address from `AZURE_OPENAI_ENDPOINT` and the version from `OPENAI_API_VERSION`. A deployment has a name of one's own, so nothing
is known of its model: it reasons as it does by default, and its price is that of the spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai

from autointerp.errors import UsageError
from autointerp.judges.providers.keys import key_of
from autointerp.judges.providers.llm_judge import LLMJudge
from autointerp.judges.providers.openai import OpenAIJudge
from autointerp.judges.providers.openai_client import OpenAIClient
from autointerp.judges.providers.sdk_client import SdkClient, open_sdk
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS

PROVIDER = "azure"


class AzureClient(OpenAIClient):
    """The openai SDK's client for Azure."""

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a missing key, address or API version."""
        key, variable = key_of(settings)
        # The two kinds of key go into different headers.
        kind = "azure_ad_token" if variable.endswith("AD_TOKEN") else "api_key"
        try:
            sdk = open_sdk(openai.AzureOpenAI, openai.DefaultHttpxClient, settings, **{kind: key})
        except (openai.OpenAIError, ValueError) as error:
            raise UsageError(
                f"judge.model = {settings.model} cannot be opened ({error}): set AZURE_OPENAI_ENDPOINT and OPENAI_API_VERSION"
            ) from None
        SdkClient.__init__(self, PROVIDERS[PROVIDER], sdk, settings.timeout_s, has_key=bool(variable))


class AzureJudge(OpenAIJudge):
    """A deployment of a GPT model. Azure counts no tokens without charge and states no day of retirement."""

    count_method = None

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a missing key, address or API version."""
        LLMJudge.__init__(self, settings, AzureClient(settings))

    def identity(self) -> Mapping[str, Any]:
        return {**super().identity(), "provider": PROVIDER}

    @classmethod
    def no_probabilities(cls, settings: JudgeSettings) -> str | None:
        return None
