"""The form of a request to a Chat Completions server: which fields carry the instructions, the schema, the limit and the thinking switch.

The form comes from the spec, from what is known of the server, and from a probe (`autointerp.calls.server_probe`), in this order. It
decides how a question is sent and not what is asked, so it is not part of a call's key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from autointerp.messages import Prompt
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import model_of
from autointerp.spec.servers import SERVERS, JsonForm, Server, ThinkingSwitch, server_at

_THINKERS = re.compile(
    r"qwen-?3|qwq|glm-?[45]|smollm-?3|gpt-oss|gemini-(2\.5|[3-9])|deepseek|granite-?[34]|gemma-?4|nemotron|hunyuan|exaone-?4"
    r"|kimi|seed-oss",
    re.IGNORECASE,
)
"""Families of models that can think. They are told not to, unless `judge.thinking` is set; other models are told nothing."""
_ALWAYS_THINKS = re.compile(r"gpt-oss", re.IGNORECASE)
"""Families that cannot be told not to think, only to think little."""
_SCHEMA_TEXT = "\n\nReply with one JSON object and nothing else. It must satisfy this JSON schema:\n"


@dataclass(frozen=True)
class RequestForm:
    """How a server is asked."""

    system_role: bool = True
    """False: the instructions stand before the question, in the user's message."""
    json: JsonForm = "schema"
    max_completion_tokens: bool = False
    """Whether the limit of the reply is sent under this name rather than as `max_tokens`."""
    temperature: bool = True
    """False: no temperature is sent."""
    thinking_switch: ThinkingSwitch = "none"

    def to_json(self) -> dict[str, Any]:
        """The form as the ledger keeps it."""
        return asdict(self)


def server_of(settings: JudgeSettings) -> Server | None:
    """The server that a judge is asked at, by its name in the spec or by its address; None if it is not in the table."""
    return SERVERS[settings.server] if settings.server else server_at(settings.base_url or "")


def form_of(settings: JudgeSettings) -> RequestForm:
    """The form that the spec and the table of servers give; for what neither says, that of most servers."""
    server = server_of(settings)
    known = RequestForm() if server is None else _form_at(server)
    chosen = {
        name: value
        for name in ("system_role", "json", "max_completion_tokens")
        if (value := _setting(settings, name)) is not None
    }
    return replace(known, **chosen, thinking_switch=_switch(settings, server))


def is_set(settings: JudgeSettings, feature: str) -> bool:
    """Whether the spec itself decides a field of the form."""
    return _setting(settings, feature) is not None


def is_certain(settings: JudgeSettings) -> bool:
    """Whether the form needs no probe: the spec or the table decides everything that servers refuse."""
    server = server_of(settings)
    certain = all(
        _setting(settings, name) is not None or (server is not None and getattr(server, name) is not None)
        for name in ("system_role", "json")
    )
    return certain and (is_set(settings, "thinking_switch") or _switch(settings, server) == "none")


def messages_of(form: RequestForm, prompt: Prompt, thinking: bool) -> list[dict[str, str]]:
    """The messages of a request. Without a system role or without a schema, their text is part of the question."""
    system, user = prompt.system, prompt.user
    if form.json != "schema" and not prompt.choices:
        system += _SCHEMA_TEXT + json.dumps(dict(prompt.schema), ensure_ascii=False)
    if form.thinking_switch == "no_think":
        user += " /think" if thinking else " /no_think"
    if not form.system_role:
        return [{"role": "user", "content": f"{system}\n\n{user}"}]
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def response_format(form: RequestForm, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The field that asks for JSON, or nothing if the question does so in words."""
    if form.json == "prompt":
        return {}
    if form.json == "object":
        return {"response_format": {"type": "json_object"}}
    named = {"name": "reply", "strict": True, "schema": dict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def thinking_fields(form: RequestForm, settings: JudgeSettings) -> dict[str, Any]:
    """The fields that tell a model whether to think."""
    on = settings.thinking
    if (
        form.thinking_switch == "chat_template_kwargs"
    ):  # Qwen3 and GLM read the first name, DeepSeek and Granite the second
        return {"chat_template_kwargs": {"enable_thinking": on, "thinking": on}}
    if form.thinking_switch == "reasoning_effort":
        return {"reasoning_effort": _effort(settings)}
    if form.thinking_switch == "reasoning":
        return {"reasoning": {"effort": "low"} if _always_thinks(settings) and not on else {"enabled": on}}
    if form.thinking_switch == "thinking":
        return {"thinking": {"type": "enabled" if on else "disabled"}}
    return {}


def _form_at(server: Server) -> RequestForm:
    return RequestForm(
        system_role=server.system_role is not False,
        json=server.json or "schema",
        max_completion_tokens=server.max_completion_tokens,
    )


def _setting(settings: JudgeSettings, feature: str) -> Any:
    """The value that the spec gives a field of the form; None if it gives none."""
    return getattr(settings, "json_form" if feature == "json" else feature, None)


def _switch(settings: JudgeSettings, server: Server | None) -> ThinkingSwitch:
    """How the model is told whether to think: as the spec says, else as its server and its family take it."""
    if settings.thinking_switch:
        return settings.thinking_switch
    if not (settings.thinking or _THINKERS.search(model_of(settings.model))):
        return "none"
    if server is not None:
        return server.thinking_switch
    return "reasoning_effort" if _always_thinks(settings) else "chat_template_kwargs"


def _effort(settings: JudgeSettings) -> str:
    server = server_of(settings)
    if settings.thinking:
        takes_default = server is not None and server.name == "groq" and not _always_thinks(settings)
        return "default" if takes_default else "medium"
    return "low" if _always_thinks(settings) else "none"


def _always_thinks(settings: JudgeSettings) -> bool:
    return bool(_ALWAYS_THINKS.search(settings.model))
