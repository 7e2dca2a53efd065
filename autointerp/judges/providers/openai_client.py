"""The openai SDK's client, shared by the judges of OpenAI and of servers that speak its older protocol."""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

import openai

from autointerp.judges.providers import http
from autointerp.judges.providers.bounded_client import bounded
from autointerp.judges.providers.sdk_client import SdkClient
from autointerp.spec.providers import Provider


class OpenAIClient(SdkClient):
    """The openai SDK's client. The SDK unwraps the `error` of an error body by itself."""

    errors: ClassVar[ModuleType] = openai
    base_error = openai.OpenAIError

    def __init__(self, provider: Provider, key: str, base_url: str | None, timeout_s: float) -> None:
        client, limit = bounded(openai.DefaultHttpxClient()), http.timeout(timeout_s)
        sdk = openai.OpenAI(api_key=key, base_url=base_url, max_retries=0, timeout=limit, http_client=client)
        super().__init__(provider, sdk, timeout_s)
