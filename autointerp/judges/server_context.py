"""The context that a Chat Completions server states, in tokens. Asking for it costs nothing.

Sources: `max_model_len` of vLLM's and SGLang's list of models, `context_length` of OpenRouter's and Together's, `context_window` of
Groq's, `max_context_length` of LM Studio's; `n_ctx` of llama.cpp's `/props` (its server README), the context of one slot; and
`context_length` of Ollama's `/api/ps` (docs.ollama.com/api/ps), which lists the models that are loaded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2

from autointerp.judges.providers import bounded_client, http
from autointerp.judges.providers.keys import key_of
from autointerp.judges.providers.reply_gate import count_of
from autointerp.judges.request_form import server_of
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import model_of

LIMIT_S = 5.0
"""Seconds to wait for one page."""
_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")


def stated_context(settings: JudgeSettings) -> int | None:
    """The context of the model that the settings name; None if its server does not state it."""
    return next((tokens for tokens in _statements(settings) if tokens), None)


def _statements(settings: JudgeSettings) -> Iterator[int | None]:
    base, server, model = settings.address.rstrip("/"), server_of(settings), model_of(settings.model)
    key, variable = key_of(settings)
    headers = {"Authorization": f"Bearer {key}"} if variable else {}
    root = base.removesuffix("/v1")
    with bounded_client.bounded(httpx2.Client(headers=headers, timeout=LIMIT_S)) as client:
        for listed in _objects(_page(client, f"{base}/models"), "data"):
            if listed.get("id") == model:
                yield from (count_of(listed.get(name)) for name in _FIELDS)
        if server is None or server.name == "llama.cpp":
            props = _page(client, f"{root}/props").get("default_generation_settings")
            yield count_of(props.get("n_ctx")) if isinstance(props, dict) else None
        if server is None or server.name == "ollama":
            for loaded in _objects(_page(client, f"{root}/api/ps"), "models"):
                if model in (loaded.get("name"), loaded.get("model")):
                    yield count_of(loaded.get("context_length"))


def _page(client: httpx2.Client, url: str) -> dict[str, Any]:
    """A page's JSON object; an empty one if there is none."""
    moment = time.monotonic() + LIMIT_S
    try:
        with bounded_client.deadline(moment), client.stream("GET", url) as response:
            value = json.loads(http.read(response.raise_for_status().iter_bytes(), moment))
    except (httpx2.HTTPError, httpx2.InvalidURL, http.TooLarge, http.DeadlinePassed, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _objects(page: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = page.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
