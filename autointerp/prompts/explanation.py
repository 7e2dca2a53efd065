"""Explaining: exemplars of one unit to a prompt, and the reply to a validated explanation.

The explainer sees strongest exemplars, others from across the lower bins, and windows in which the unit is silent; and whatever `aids`
the spec asks for, each between tags of its own with a line on what it says. None of their documents is ever judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from autointerp.messages import ExplainMaterial, MarkedText, Prompt
from autointerp.prompts.replies import ReplyUnusable, read_object
from autointerp.prompts.untrusted_text import harmless, show
from autointerp.records import Aids, Exemplar
from autointerp.spec.rubric import Rubric

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"explanation": {"type": "string", "description": "one noun phrase, at most 25 words"}},
    "required": ["explanation"],
    "additionalProperties": False,
}
ROLES = ("explain_top", "explain_spread", "explain_quiet")
HOTTEST = 6
"""Tokens of a window whose strength is written out."""
SAYS = {
    "contrast": "Here the marked token is not active, though it is like ones above that are: say what sets those apart.",
    "neighbours": "Here something similar is active at the mark and this feature is not: what covers these too is too wide.",
    "logits": "Where it is active, these tokens become likelier to follow, or less likely. A hint at most: describe the texts.",
    "missed": "Here it is active at the mark, which the explanation above does not cover.",
    "mistaken": "Here it is not active at the mark, though the explanation above covers it.",
}
"""What the windows, or tokens, between each kind of tags are."""

_PREAMBLE = re.compile(
    r"^(sure|okay|ok|certainly|of course|here('s| is| are)|let me|let's|first,|i think|i believe|i see|we need|we have|"
    r"the user|based on|looking at|to (determine|find|explain|understand)|after (analy|review|look))\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(explanation|answer)\s*:\s*|^the (marked|activating) (tokens?|texts?|words?)( in the texts?)?"
    r" (are|is|have in common( that they are)?|have the common feature of being)( all)?( about| related to)? ",
    re.IGNORECASE,
)
_ON_SILENCE = re.compile(
    r"[\s,;.]*\b(while|whereas|but|and|unlike)?\s*the silent (texts?|tokens?|windows?)\b.*$", re.IGNORECASE
)
_SHOP_TALK = re.compile(r"\b(activating|active|silent) (token|text|window|example)s?\b", re.IGNORECASE)
_THINKING = re.compile(r"</?think|step by step|\bwait,|\bhmm\b", re.IGNORECASE)


def material(exemplars: Iterable[Exemplar], max_activation: float, found: Aids | None = None) -> ExplainMaterial:
    """What the explainer is shown: activating windows strongest first, then silent ones, and the aids."""
    shown: dict[str, list[Exemplar]] = {role: [] for role in ROLES}
    for exemplar in exemplars:
        if exemplar.role in shown:
            shown[exemplar.role].append(exemplar)
    activating = shown["explain_top"] + shown["explain_spread"]
    activating.sort(key=lambda exemplar: -exemplar.activation)
    found = found or Aids()
    return ExplainMaterial(
        activating=tuple(_marked(exemplar, max_activation) for exemplar in activating),
        quiet=tuple(_marked(exemplar, max_activation) for exemplar in shown["explain_quiet"]),
        contrast=tuple(_marked(exemplar, max_activation) for exemplar in found.contrast),
        neighbours=tuple(_marked(exemplar, max_activation) for exemplar in found.neighbours),
        raised=found.raised,
        lowered=found.lowered,
    )


def prompt(rubric: Rubric, material: ExplainMaterial, max_tokens: int) -> Prompt:
    """The question what a unit's activating windows have in common, or how the draft of an explanation is to be mended."""
    activating = "\n\n".join(_activating(number, window) for number, window in enumerate(material.activating, 1))
    silent = "\n\n".join(f"[{n}] {harmless(window.text)}" for n, window in enumerate(material.quiet, 1))
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
    """The explanation of a complete reply, without its opening words and without what it says of the silent texts.

    Raises `ReplyUnusable` for reasoning, preambles and excess length.
    """
    value = read_object(text).get("explanation")
    if not isinstance(value, str):
        raise ReplyUnusable("the explanation is missing or not text")
    explanation = " ".join(value.split()).strip("\"'` ")
    explanation = _ON_SILENCE.sub("", _OPENING.sub("", explanation))
    if not explanation:
        raise ReplyUnusable("the explanation is empty")
    if len(explanation) > max_chars:
        raise ReplyUnusable(f"the explanation has {len(explanation)} characters, more than {max_chars}")
    if _SHOP_TALK.search(explanation):
        raise ReplyUnusable("it speaks of activating tokens or silent texts: name only the thing itself")
    if _PREAMBLE.match(explanation) or _THINKING.search(explanation):
        raise ReplyUnusable(f"it holds a preamble or reasoning, not only the explanation: {explanation[:60]!r}")
    return explanation


def _marked(exemplar: Exemplar, max_activation: float) -> MarkedText:
    scale = max_activation or 1.0
    heat = tuple(min(10, max(0, round(10 * a / scale))) for a in exemplar.token_activations)
    return MarkedText(exemplar.tokens, exemplar.mark, heat)


def _activating(number: int, window: MarkedText) -> str:
    hottest = sorted(range(len(window.tokens)), key=lambda i: (-window.heat[i], i))[:HOTTEST]
    strengths = ", ".join(
        f"{harmless(window.tokens[i].strip() or repr(window.tokens[i]))} {window.heat[i]}"
        for i in sorted(hottest)
        if window.heat[i]
    )
    return f"[{number}] {show(window)}\nstrength 0-10: {strengths or 'below 1'}"


def _aids(material: ExplainMaterial) -> Iterator[str]:
    """Each aid between its tags, and what it says."""
    yield from _windows("contrast", material.contrast)
    yield from _windows("neighbours", material.neighbours)
    effects = {"likelier": material.raised, "less likely": material.lowered}
    tokens = "\n".join(f"{name}: {_quoted(some)}" for name, some in effects.items() if some)
    if tokens:
        yield f"\n<logits>\n{tokens}\n</logits>\n{SAYS['logits']}"
    if material.draft:
        yield f"\n<explanation>\n{harmless(material.draft)}\n</explanation>"
    yield from _windows("missed", material.missed)
    yield from _windows("mistaken", material.mistaken)


def _windows(tag: str, windows: Sequence[MarkedText]) -> Iterator[str]:
    if windows:
        shown = "\n\n".join(f"[{n}] {show(window)}" for n, window in enumerate(windows, 1))
        yield f"\n<{tag}>\n{shown}\n</{tag}>\n{SAYS[tag]}"


def _quoted(tokens: Sequence[str]) -> str:
    return harmless(", ".join(json.dumps(token, ensure_ascii=False) for token in tokens))
