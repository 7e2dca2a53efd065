"""One round of revision: an explanation is tested on held-out windows, and revised once against those that it gets wrong.

The explainer itself says which marks an explanation covers, without knowing where the unit is active or whose explanation it is. Half
of the windows are searched for counterexamples, which the explainer is then shown. The other half, which it is never shown, decides:
the revised explanation is kept if more of those are right, or as many of those and more of the first half. Bills et al. (2023) revise
explanations against counterexamples too, but the model writes theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from autointerp.calls import answers
from autointerp.calls.answers import Answer
from autointerp.hashing import content_hash
from autointerp.messages import ExplainMaterial, Prompt, TaskMaterial
from autointerp.prompts import explanation
from autointerp.prompts.untrusted_text import render_window, sanitise
from autointerp.records import Exemplar
from autointerp.scorers import fuzzing, yes_no_items
from autointerp.scorers.common_questions import numbered

Ask = Callable[[Prompt, Callable[[str], str], int], Answer[str]]
"""Asks a prompt, given the parser of its reply and the number of the repeat."""
MIN_WINDOWS = 4
"""With fewer held-out windows an explanation is not tested."""
FLAG = {True: "y", False: "n", None: "?"}
"""One character per window: covered, not covered, no answer."""


class Revised(NamedTuple):
    """The explanation that is kept, the reason, and the call that returned it; None if it is the first explanation."""

    text: str
    reason: str
    call_key: str | None


def revise(
    ask: Ask,
    first_prompt: Prompt,
    text: str,
    held_out: Sequence[Exemplar],
    render: Callable[[ExplainMaterial], Prompt],
    max_chars: int,
) -> Revised:
    """Return the better of an explanation and its revision.

    `text` is the explanation that answered `first_prompt`; `render` makes a prompt to the explainer from its material. Asks up to three
    questions: which of the held-out windows the explanation covers, for a revision, and which windows the revision covers.
    """
    held_out = interleaved(held_out)
    truth = [exemplar.activation > 0 for exemplar in held_out]
    if len(held_out) < MIN_WINDOWS or len(set(truth)) < 2:
        return Revised(text, "not revised: too few windows to test it on", None)
    before = covered(ask, text, held_out, first_prompt.max_tokens)
    shown_half, hidden_half = slice(0, None, 2), slice(1, None, 2)
    shown = zip(held_out[shown_half], truth[shown_half], before[shown_half], strict=True)
    wrong = [(exemplar, active) for exemplar, active, flag in shown if flag not in ("?", FLAG[active])]
    if set(before) == {"?"}:
        return Revised(text, "not revised: no answer says what it covers", None)
    if not wrong:
        return Revised(text, "not revised: no counterexample was found", None)
    assert isinstance(first_prompt.material, ExplainMaterial)
    missed = tuple(exemplar.marked_text for exemplar, active in wrong if active)
    mistaken = tuple(exemplar.marked_text for exemplar, active in wrong if not active)
    prompt = render(replace(first_prompt.material, draft=text, missed=missed, mistaken=mistaken))
    answer = answers.ask_until_usable(ask, prompt, partial(explanation.parse, max_chars=max_chars))
    if not answer.value or answer.value == text:
        return Revised(text, f"not revised: {answer.reason or 'the explainer kept it'}", None)
    after = covered(ask, answer.value, held_out, first_prompt.max_tokens)
    halves = (hidden_half, shown_half)
    old, new = ([n_right(flags[half], truth[half]) for half in halves] for flags in (before, after))
    n_hidden, n_shown = (len(truth[half]) for half in halves)
    figures = f"right about {new[0]} of {n_hidden} unseen windows (before: {old[0]})"
    figures += f" and {new[1]} of {n_shown} others (before: {old[1]})"
    if new > old:
        return Revised(answer.value, f"revised: {figures}", answer.call_key)
    return Revised(text, f"not revised: {figures}", None)


def interleaved(held_out: Sequence[Exemplar]) -> list[Exemplar]:
    """The windows in an order, given by hashes, whose even and odd positions have as many active and as many silent windows.

    Even positions are the half that is searched for counterexamples. One window is dropped if their number is odd.
    """
    shuffled = sorted(held_out, key=lambda e: content_hash(e.exemplar_id))
    active, silent = ([e for e in shuffled if (e.activation > 0) == is_active] for is_active in (True, False))
    even, odd = active[::2] + silent[1::2], active[1::2] + silent[::2]
    even, odd = (sorted(half, key=lambda e: content_hash([e.exemplar_id])) for half in (even, odd))
    return [e for pair in zip(even, odd, strict=False) for e in pair]


def covered(ask: Ask, text: str, windows: Sequence[Exemplar], max_tokens: int) -> str:
    """A flag per window: whether the explanation covers its mark, according to the explainer."""
    marked = tuple(exemplar.marked_text for exemplar in windows)
    user = f"<explanation>\n{sanitise(text)}\n</explanation>\n{numbered(map(render_window, marked))}"
    material = TaskMaterial("fuzzing", text, marked)
    prompt = Prompt(fuzzing.SYSTEM, user, yes_no_items.schema(len(marked)), max_tokens, material)
    answer = answers.ask_until_usable(ask, prompt, partial(_read_flags, n=len(marked)))
    return answer.value or "?" * len(marked)


def n_right(flags: str, truth: Sequence[bool]) -> int:
    """Number of windows whose flag is right."""
    return sum(flag == FLAG[active] for flag, active in zip(flags, truth, strict=True))


def _read_flags(text: str, n: int) -> str:
    return "".join(FLAG[answer] for answer in yes_no_items.read(text, n))
