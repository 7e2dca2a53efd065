"""A question for a grade, as tests put it to judges of every provider."""

from __future__ import annotations

from typing import Any

from autointerp.messages import MarkedText, Prompt, ScoreMaterial

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "grade": {"type": "integer", "enum": [0, 1, 2, 3]}},
    "required": ["reason", "grade"],
    "additionalProperties": False,
}
PROMPT = Prompt("Grade it.", "the cat sat", SCHEMA, 256, ScoreMaterial("cats", MarkedText(("cat",), 0)))
