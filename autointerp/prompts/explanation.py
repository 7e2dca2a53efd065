"""The explaining prompt: renders a unit's exemplars, and validates the explanation in the reply.

The explainer sees the strongest exemplars, others from across the lower bins, windows in which the unit is silent, and the aids that the
spec asks for, each between tags of its own with a note on what it means. None of their documents is ever judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from autointerp.messages import ExplainMaterial, MarkedText, Prompt
from autointerp.prompts import explanation_form
from autointerp.prompts.replies import ReplyUnusable, read_object
from autointerp.prompts.untrusted_text import render_window, sanitise
from autointerp.records import Aids, Exemplar
from autointerp.spec.rubric import Rubric

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"explanation": {"type": "string", "description": "one noun phrase, at most 25 words"}},
    "required": ["explanation"],
    "additionalProperties": False,
}
ROLES = ("explain_top", "explain_spread", "explain_quiet")
STRENGTHS_SHOWN = 6
"""Tokens per window whose strength is written out: the strongest ones."""
TAG_NOTES = {
    "contrast": "Here the marked token is not active, though it is like ones above that are: say what sets those apart.",
    "neighbours": "Here something similar is active at the mark and this feature is not: what covers these too is too wide.",
    "logits": "Where it is active, these tokens become likelier to follow, or less likely. A hint at most: describe the texts.",
    "missed": "Here it is active at the mark, which the explanation above does not cover.",
    "mistaken": "Here it is not active at the mark, though the explanation above covers it.",
}
"""The note after each pair of tags: what the windows or tokens between them are."""

_OPENING = re.compile(
    r"^\**(explanation|answer)\s*:\**(?!\s*(?:and\b|or\b|followed\b|,|labels?\b))\s*|^the (marked|activating) (tokens?|texts?|words?)( in the texts?)?"
    r" (are|is|have in common( that they are)?|have the common feature of being)( all)?( about| related to)? ",
    re.IGNORECASE,
)
_ABOUT_SILENT_TEXTS = re.compile(
    r"(?:[\s,;.]+\b(?:while|whereas|but|and|unlike)|[,;.])\s+the silent (?:texts|tokens|windows)\b.*$", re.IGNORECASE
)


def material(exemplars: Iterable[Exemplar], max_activation: float, aids: Aids | None = None) -> ExplainMaterial:
    """Collect what the explainer is shown: activating windows strongest first, silent windows, and the aids."""
    shown: dict[str, list[Exemplar]] = {role: [] for role in ROLES}
    for exemplar in exemplars:
        if exemplar.role in shown:
            shown[exemplar.role].append(exemplar)
    activating = shown["explain_top"] + shown["explain_spread"]
    activating.sort(key=lambda exemplar: -exemplar.activation)
    aids = aids or Aids()
    return ExplainMaterial(
        activating=tuple(_with_levels(exemplar, max_activation) for exemplar in activating),
        silent=tuple(_with_levels(exemplar, max_activation) for exemplar in shown["explain_quiet"]),
        contrast=tuple(_with_levels(exemplar, max_activation) for exemplar in aids.contrast),
        neighbours=tuple(_with_levels(exemplar, max_activation) for exemplar in aids.neighbours),
        raised=aids.raised,
        lowered=aids.lowered,
    )


def prompt(rubric: Rubric, material: ExplainMaterial, max_tokens: int) -> Prompt:
    """Ask what a unit's activating windows have in common, or for a revision if the material has a draft."""
    activating = "\n\n".join(_activating(number, window) for number, window in enumerate(material.activating, 1))
    silent = "\n\n".join(f"[{n}] {sanitise(window.text)}" for n, window in enumerate(material.silent, 1))
    user = f"<activating>\n{activating}\n</activating>"
    if silent:
        user += f"\n<silent>\n{silent}\n</silent>"
    user += "".join(_aids(material))
    if material.draft:
        user += "\nMend the explanation so that it fits all that is shown; keep it where nothing speaks against it."
        user += " One noun phrase, at most 25 words."
    else:
        user += "\nWhat are the marked tokens, or what are they about? One noun phrase, at most 25 words."
    return Prompt(rubric.explain_instructions.strip(), user, SCHEMA, max_tokens, material)


def parse(text: str, max_chars: int) -> str:
    """The explanation in a complete reply, without stock opening words and without remarks about the silent texts.

    Raises `ReplyUnusable` for reasoning, preambles, refusals, pieces of the prompt or of JSON, and excess length. Its messages are quoted in the next attempt's prompt
    (`calls.answers.with_refusals`) and so are part of that call's key: do not reword them.
    """
    value = read_object(text).get("explanation")
    if not isinstance(value, str):
        raise ReplyUnusable("the explanation is missing or not text")
    explanation = explanation_form.unquoted(" ".join(value.split()))
    explanation = _ABOUT_SILENT_TEXTS.sub("", _OPENING.sub("", explanation))
    if not explanation:
        raise ReplyUnusable("the explanation is empty")
    if len(explanation) > max_chars:
        raise ReplyUnusable(f"the explanation has {len(explanation)} characters, more than {max_chars}")
    if explanation_form.speaks_of_the_task(explanation):
        raise ReplyUnusable("it speaks of activating tokens or silent texts: name only the thing itself")
    if explanation_form.is_no_explanation(explanation):
        raise ReplyUnusable(f"it holds a preamble or reasoning, not only the explanation: {explanation[:60]!r}")
    return explanation


def _with_levels(exemplar: Exemplar, max_activation: float) -> MarkedText:
    """The window with its activations in tenths of the unit's maximum."""
    scale = max_activation or 1.0
    levels = tuple(min(10, max(0, round(10 * a / scale))) for a in exemplar.token_activations)
    return MarkedText(exemplar.tokens, exemplar.mark, levels)


def _activating(number: int, window: MarkedText) -> str:
    strongest = sorted(range(len(window.tokens)), key=lambda i: (-window.activation_levels[i], i))[:STRENGTHS_SHOWN]
    strengths = ", ".join(
        f"{sanitise(window.tokens[i].strip() or repr(window.tokens[i]))} {window.activation_levels[i]}"
        for i in sorted(strongest)
        if window.activation_levels[i]
    )
    return f"[{number}] {render_window(window)}\nstrength 0-10: {strengths or 'below 1'}"


def _aids(material: ExplainMaterial) -> Iterator[str]:
    """Each aid between its tags, followed by its note."""
    yield from _windows("contrast", material.contrast)
    yield from _windows("neighbours", material.neighbours)
    effects = {"likelier": material.raised, "less likely": material.lowered}
    tokens = "\n".join(f"{name}: {_quoted(effect)}" for name, effect in effects.items() if effect)
    if tokens:
        yield f"\n<logits>\n{tokens}\n</logits>\n{TAG_NOTES['logits']}"
    if material.draft:
        yield f"\n<explanation>\n{sanitise(material.draft)}\n</explanation>"
    yield from _windows("missed", material.missed)
    yield from _windows("mistaken", material.mistaken)


def _windows(tag: str, windows: Sequence[MarkedText]) -> Iterator[str]:
    if windows:
        shown = "\n\n".join(f"[{n}] {render_window(window)}" for n, window in enumerate(windows, 1))
        yield f"\n<{tag}>\n{shown}\n</{tag}>\n{TAG_NOTES[tag]}"


def _quoted(tokens: Sequence[str]) -> str:
    return sanitise(", ".join(json.dumps(token, ensure_ascii=False) for token in tokens))
