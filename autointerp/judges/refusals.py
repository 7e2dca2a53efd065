"""What a Chat Completions server refuses in a request, read from its error, and the next simpler form to try.

Evidence for the wordings: vLLM 400 `System role not supported` (Gemma 2's template) and `Conversation roles must alternate`; llama.cpp
500 with the same texts from its template engine, and `Failed to parse grammar`; Gemini 400 `Developer instruction is not enabled for
models/gemma-3-27b-it`; DeepSeek 400 `This response_format type is unavailable now`; Groq 400 `This model does not support response
format json_schema`; OpenAI and Azure 400 `Unsupported parameter: 'max_tokens' is not supported with this model. Use
'max_completion_tokens' instead.` and `Unsupported value: 'temperature' does not support 0 with this model`; strict servers 400 or 422
`Extra inputs are not permitted` with the field's name; Ollama 400 `"m" does not support thinking`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from autointerp.judges.request_form import RequestForm, is_set
from autointerp.spec.judge_sections import Judge as JudgeSettings

_NAMED: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (feature, re.compile(wording, re.IGNORECASE))
    for feature, wording in (
        ("thinking_switch", r"chat_template_kwargs|enable_thinking|reasoning|thinking|think.{0,20}not support"),
        ("temperature", r"temperature"),
        ("json", r"response.?format|json.?schema|json.?object|json mode|structured.?output|guided|grammar"),
        ("max_completion_tokens", r"max_tokens|max_completion_tokens"),
        (
            "system_role",
            r"system|developer.?(role|message|instruction)|roles? must|must alternate|(invalid|unknown|unsupported) role",
        ),
    )
)
"""A feature of the request and the words by which errors name it. The first that matches and can be left out counts."""
_BAD_REQUEST = re.compile(r"answered (400|404|415|422|501)\b")
_SAYS = {
    "system_role": "it takes no system role: the system text goes into the question",
    "object": "it takes no JSON schema: it is asked for a JSON object, with the schema in the question",
    "prompt": "it takes no JSON format: JSON is asked for in the question alone",
    "max_completion_tokens": "it takes the reply's limit as {}",
    "temperature": "it takes no temperature: the model's own is used",
    "thinking_switch": "it takes no {}: the model thinks, or does not, as it is served",
}


class Change(NamedTuple):
    """The next form to try, and what it says of the server."""

    form: RequestForm
    finding: str


def simpler(form: RequestForm, settings: JudgeSettings, error: str) -> Change | None:
    """The form without what an error names; for a bad request that names nothing, without JSON and then without a system role.

    None if nothing is left to change, or if the spec itself sets all that the error names (`set_in_spec`).
    """
    named = [feature for feature, wording in _NAMED if wording.search(error)]
    if not named and _BAD_REQUEST.search(error):
        named = ["json", "system_role"]
    changes = (_without(feature, form) for feature in named if not is_set(settings, feature))
    return next((change for change in changes if change is not None), None)


def set_in_spec(settings: JudgeSettings, error: str) -> str | None:
    """The first key of the spec's judge that an error names; None if it names none that is set."""
    return next((f for f, wording in _NAMED if is_set(settings, f) and wording.search(error)), None)


def weaker_json(form: RequestForm, settings: JudgeSettings) -> Change | None:
    """The form that relies less on the server for JSON; None if there is none, or the spec sets it."""
    return None if is_set(settings, "json") else _without("json", form)


def _without(feature: str, form: RequestForm) -> Change | None:
    """The form without one feature; None if it does not have it."""
    if feature == "system_role":
        return Change(replace(form, system_role=False), _SAYS[feature]) if form.system_role else None
    if feature == "json" and form.json == "schema":
        return Change(replace(form, json="object"), _SAYS["object"])
    if feature == "json" and form.json == "object":
        return Change(replace(form, json="prompt"), _SAYS["prompt"])
    if feature == "max_completion_tokens":
        other = not form.max_completion_tokens
        name = "max_completion_tokens" if other else "max_tokens"
        return Change(replace(form, max_completion_tokens=other), _SAYS[feature].format(name))
    if feature == "temperature":
        return Change(replace(form, temperature=False), _SAYS[feature]) if form.temperature else None
    if feature == "thinking_switch" and form.thinking_switch != "none":
        changed = replace(form, thinking_switch="none")
        return Change(changed, _SAYS[feature].format(form.thinking_switch))
    return None
