"""Servers that speak Chat Completions, one row each: how to recognise them, and how they differ from one another.

A row states only facts that hold for every model of a server. What depends on the model is None and found out before a run
(`autointerp.calls.server_probe`). Sources, read in November 2026: docs.vllm.ai (reasoning outputs, structured outputs), llama.cpp's
server README, docs.ollama.com/api/openai-compatibility, openrouter.ai/docs (reasoning tokens, structured outputs),
api-docs.deepseek.com (JSON output, thinking mode), ai.google.dev/gemini-api/docs/openai, console.groq.com/docs, docs.together.ai,
learn.microsoft.com (Azure OpenAI v1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from autointerp.spec.addresses import is_own_address

JsonForm = Literal["schema", "object", "prompt"]
"""How JSON is asked for: by the reply's schema, as any JSON object, or in words alone."""
ThinkingSwitch = Literal["none", "chat_template_kwargs", "reasoning_effort", "reasoning", "thinking", "no_think"]
"""How a model is told whether to think: a field of the request, or the word `/no_think` in the question."""
ServerName = Literal["vllm", "llama.cpp", "ollama", "openrouter", "deepseek", "gemini", "groq", "together", "azure"]


@dataclass(frozen=True)
class Server:
    """What is known of a server. None: it depends on the model."""

    name: ServerName
    hosts: tuple[str, ...] = ()
    """Ends of the names of its hosts."""
    port: int | None = None
    """Its usual port, if no other server is likely to be there."""
    base_url: str | None = None
    """Its address, if there is only one."""
    json: JsonForm | None = None
    system_role: bool | None = None
    thinking_switch: ThinkingSwitch = "chat_template_kwargs"
    max_completion_tokens: bool = False


_ROWS = (
    Server("vllm", json="schema"),
    Server("llama.cpp", json="schema"),
    Server("ollama", port=11434, json="schema", system_role=True, thinking_switch="reasoning_effort"),
    Server(
        "openrouter",
        hosts=("openrouter.ai",),
        base_url="https://openrouter.ai/api/v1",
        system_role=True,
        thinking_switch="reasoning",
    ),
    Server(
        "deepseek",
        hosts=("api.deepseek.com",),
        base_url="https://api.deepseek.com",
        json="object",
        system_role=True,
        thinking_switch="thinking",
    ),
    Server(
        "gemini",
        hosts=("generativelanguage.googleapis.com",),
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        json="schema",
        thinking_switch="reasoning_effort",
    ),
    Server(
        "groq",
        hosts=("api.groq.com",),
        base_url="https://api.groq.com/openai/v1",
        system_role=True,
        thinking_switch="reasoning_effort",
        max_completion_tokens=True,
    ),
    Server(
        "together",
        hosts=("api.together.xyz", "api.together.ai"),
        base_url="https://api.together.xyz/v1",
        system_role=True,
    ),
    Server(
        "azure",
        hosts=("openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"),
        system_role=True,
        thinking_switch="reasoning_effort",
        max_completion_tokens=True,
    ),
)
SERVERS: Mapping[str, Server] = {row.name: row for row in _ROWS}
"""Every server by its name."""

KEYS: Mapping[str, str] = {
    "api.cerebras.ai": "CEREBRAS_API_KEY",
    "api.deepinfra.com": "DEEPINFRA_API_KEY",
    "api.deepseek.com": "DEEPSEEK_API_KEY",
    "api.fireworks.ai": "FIREWORKS_API_KEY",
    "api.groq.com": "GROQ_API_KEY",
    "api.mistral.ai": "MISTRAL_API_KEY",
    "api.openai.com": "OPENAI_API_KEY",
    "api.together.ai": "TOGETHER_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
    "api.x.ai": "XAI_API_KEY",
    "cognitiveservices.azure.com": "AZURE_OPENAI_API_KEY",
    "generativelanguage.googleapis.com": "GEMINI_API_KEY",
    "openai.azure.com": "AZURE_OPENAI_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "router.huggingface.co": "HF_TOKEN",
    "services.ai.azure.com": "AZURE_OPENAI_API_KEY",
}
"""The environment variable of the key that belongs to a host and its subdomains, as the server's own documentation names it."""


def server_at(base_url: str) -> Server | None:
    """The server at an address, by its host or its port; None if neither says."""
    try:
        address = urlsplit(base_url)
        host, port = (address.hostname or "").casefold(), address.port
    except ValueError:
        return None
    for row in _ROWS:
        if any(host == known or host.endswith(f".{known}") for known in row.hosts):
            return row
    return next((row for row in _ROWS if row.port is not None and row.port == port), None)


def key_variable_at(base_url: str) -> str:
    """The environment variable of the key that belongs to the server at an https address; empty if the server is not in the table."""
    return next((variable for host, variable in KEYS.items() if is_own_address(base_url, host)), "")
