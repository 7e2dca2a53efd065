"""One revision round: an explanation is tested on windows that it was not made from, and mended once by those it gets wrong.

The explainer itself says which marks an explanation covers, knowing neither where the unit is active nor whose explanation it is. Half
of the windows are looked through for counterexamples, which it is shown; the other half, of which it is shown none, decides whether the
mended explanation is kept: it must tell more of those right, or as many and more of the first half. Bills et al. (2023) revise explanations against counterexamples too, but written by the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from autointerp.calls import answers
from autointerp.calls.answers import Answer
from autointerp.hashing import content_hash
from autointerp.messages import ExplainMaterial, MarkedText, Prompt, TaskMaterial
from autointerp.prompts import explanation
from autointerp.prompts.untrusted_text import harmless, show
from autointerp.records import Exemplar
from autointerp.scorers import fuzzing, yes_no_items
from autointerp.scorers.common_questions import numbered

Ask = Callable[[Prompt, Callable[[str], str], int], Answer[str]]
FEWEST = 4
"""Windows below which there is nothing to test an explanation on."""
SAID = {True: "y", False: "n", None: "?"}


class Revised(NamedTuple):
    """The explanation that is kept, why, and the call that it came from; None for the one that was there before."""

    text: str
    why: str
    call_key: str | None


def revised(
    ask: Ask,
    told: Prompt,
    text: str,
    held: Sequence[Exemplar],
    mend: Callable[[ExplainMaterial], Prompt],
    max_chars: int,
) -> Revised:
    """The better of an explanation and its mended version, `told` being the question that the first answers.

    `mend` renders a question to the explainer. Three calls: which of the `held` windows the explanation covers, the mended one, and
    which windows that covers.
    """
    held = in_order(held)
    truth = [exemplar.activation > 0 for exemplar in held]
    if len(held) < FEWEST or len(set(truth)) < 2:
        return Revised(text, "not revised: too few windows to test it on", None)
    before = covered(ask, text, held, told.max_tokens)
    wrong = [
        (e, t) for e, t, said in zip(held[::2], truth[::2], before[::2], strict=True) if said != "?" and said != SAID[t]
    ]
    if set(before) == {"?"}:
        return Revised(text, "not revised: no answer says what it covers", None)
    if not wrong:
        return Revised(text, "not revised: no counterexample was found", None)
    assert isinstance(told.material, ExplainMaterial)
    missed = tuple(_window(e) for e, t in wrong if t)
    mistaken = tuple(_window(e) for e, t in wrong if not t)
    question = mend(replace(told.material, draft=text, missed=missed, mistaken=mistaken))
    answer = answers.usable(ask, question, partial(explanation.parse, max_chars=max_chars))
    if not answer.value or answer.value == text:
        return Revised(text, f"not revised: {answer.reason or 'the explainer kept it'}", None)
    after = covered(ask, answer.value, held, told.max_tokens)
    told_right = [(right(said[1::2], truth[1::2]), right(said[::2], truth[::2])) for said in (before, after)]
    (unseen, shown), (unseen_now, shown_now) = told_right
    figures = (
        f"of {len(truth[1::2])} unseen windows {unseen} were told right before and {unseen_now} after,"
        f" of {len(truth[::2])} others {shown} and {shown_now}"
    )
    if (unseen_now, shown_now) > (unseen, shown):
        return Revised(answer.value, f"revised: {figures}", answer.call_key)
    return Revised(text, f"not revised: {figures}", None)


def in_order(held: Sequence[Exemplar]) -> list[Exemplar]:
    """Active and silent windows shuffled by hash, those shown as counterexamples at even places: as many of each sort as of the others."""
    shuffled = sorted(held, key=lambda e: content_hash(e.exemplar_id))
    active, silent = ([e for e in shuffled if bool(e.activation > 0) == sort] for sort in (True, False))
    even, odd = active[::2] + silent[1::2], active[1::2] + silent[::2]
    even, odd = (sorted(some, key=lambda e: content_hash([e.exemplar_id])) for some in (even, odd))
    return [e for pair in zip(even, odd, strict=False) for e in pair]


def covered(ask: Ask, text: str, held: Sequence[Exemplar], max_tokens: int) -> str:
    """For each window, whether the explanation covers its mark by the explainer's word: `y`, `n`, or `?` where it does not say."""
    windows = tuple(_window(exemplar) for exemplar in held)
    user = f"<explanation>\n{harmless(text)}\n</explanation>\n{numbered(map(show, windows))}"
    material = TaskMaterial("fuzzing", text, windows)
    prompt = Prompt(fuzzing.SYSTEM, user, yes_no_items.schema(len(windows)), max_tokens, material)
    answer = answers.usable(ask, prompt, partial(_flags, n=len(windows)))
    return answer.value or "?" * len(windows)


def right(said: str, truth: Sequence[bool]) -> int:
    """How many windows are told right."""
    return sum(flag == SAID[t] for flag, t in zip(said, truth, strict=True))


def _flags(text: str, n: int) -> str:
    return "".join(SAID[flag] for flag in yes_no_items.read(text, n))


def _window(exemplar: Exemplar) -> MarkedText:
    return MarkedText(exemplar.tokens, exemplar.mark)
