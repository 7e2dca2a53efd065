"""Continuations of texts while one unit is clamped to a chosen activation, which show the unit's effect on the subject's output.

Units are clamped as in `sae.analysis.clamp`, to `factor` times their largest activation. FADE multiplies neurons instead, which does not
separate a neuron's signs and leaves silent neurons silent. Factor 0 silences the unit, and of a neuron both signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sae.analysis.clamp import Rows, make_clamp
from sae.analysis.unit_probe import encode_texts, most_tokens
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.harvest.units import UnitKey
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

BATCH = 32
"""Texts that are continued together."""


Editing = Callable[[Sequence[int], Sequence[int], int], AbstractContextManager[None]]
"""The context in which a pass is made, given the numbers of its prompts, its shape (B, T) and the position of its first token."""
EditingPass = Callable[[Sequence[int], int], AbstractContextManager[None]]
"""The same for prompts that always run together, given the shape and the position."""


def continue_texts(
    subject: Subject,
    dictionary: Dictionary,
    unit: UnitKey,
    texts: Sequence[str],
    factor: float | Sequence[float],
    tokens: int,
    seed: int | None,
    *,
    largest: float,
) -> list[str]:
    """Let the subject add `tokens` tokens to each text while the unit is clamped to `factor * largest`. Returns the added texts.

    `factor` is one number, or one per text. Every position is edited except the first, where subjects have norms without meaning.
    Special tokens are never drawn, so a continuation does not end early. With a `seed`, each token is drawn from the subject's
    distribution, and does not depend on the other texts except through floating point; without one, the most likely token is
    taken. Of a text that is too long, the end is read. Raises `SubjectError` for an empty text, and for hook points that the
    subject lacks.
    """
    clamp, room = make_clamp(subject, dictionary, [unit]), most_tokens(subject) - tokens
    strengths = torch.as_tensor(factor, dtype=torch.float32).expand(len(texts)) * largest
    prompts = [_prompt(subject, row, room) for row in encode_texts(subject, texts)]

    def editing(numbers: Sequence[int], shape: Sequence[int], start: int) -> AbstractContextManager[None]:
        rows = Rows(torch.zeros(len(numbers), dtype=torch.int64), strengths[list(numbers)])
        return clamp(rows, shape, int(start == 0))

    added = continue_prompts(subject, prompts, tokens, seed, editing)
    return ["".join(token_texts(subject.tokenizer, row)) for row in added]


@torch.no_grad()
def continue_prompts(
    subject: Subject,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    seed: int | None,
    editing: Editing,
    *,
    ends: bool = False,
) -> list[list[int]]:
    """The `tokens` ids that follow each prompt's ids, BOS included, when every pass runs in the context `editing`.

    Tokens are chosen as in `continue_texts`. If `ends`, special tokens may come, and a continuation ends before its first one.
    """
    continuations: dict[int, list[int]] = {}
    for group in groups_of_equal_length(prompts):
        uniform = np.stack([random_numbers(seed, prompts[i], tokens) for i in group])
        ids = torch.tensor([list(prompts[i]) for i in group])
        new_ids = _continue(subject, partial(editing, group), ids, uniform, seed is None, ends)
        for i, row in zip(group, new_ids.tolist(), strict=True):
            ended = (place for place, token in enumerate(row) if token in subject.special_ids)
            continuations[i] = row[: next(ended, None)]
    return [continuations[i] for i in range(len(prompts))]


def _continue(
    subject: Subject,
    editing: EditingPass,
    ids: Tensor,
    uniform: np.ndarray,
    greedy: bool,
    ends: bool,
) -> Tensor:
    """Ids (B, tokens or fewer) that follow prompts `ids` (B, T) of one length. `uniform` (B, tokens) are random numbers in [0, 1)."""
    steps = list(next_tokens(subject, editing, ids, uniform, temperature=0.0 if greedy else 1.0, ends=ends))
    return torch.stack(steps, dim=1) if steps else ids[:, :0]


@torch.no_grad()
def next_tokens(
    subject: Subject, editing: EditingPass, ids: Tensor, uniform: np.ndarray, *, temperature: float, ends: bool
) -> Iterator[Tensor]:
    """The ids (B,) that follow prompts `ids` (B, T) of one length, step by step, until all have ended if `ends`.

    `uniform` (B, tokens) are random numbers in [0, 1), one for each step; at temperature 0 the most likely token is taken. Special tokens
    come only if `ends`. No pass runs and no hook stands between two steps, so that other texts may be read meanwhile.
    """
    special = torch.tensor(sorted(subject.special_ids), dtype=torch.int64)
    ended = torch.zeros(len(ids), dtype=torch.bool)
    step, whole, cache = ids, ids, None
    for position in range(uniform.shape[1]):
        with editing(tuple(step.shape), whole.shape[1] - step.shape[1]):
            logits, cache = subject.next_logits(step, cache)
        logits = logits.cpu()
        if not ends:
            logits[:, special[special < logits.shape[1]]] = -torch.inf
        chosen = logits.argmax(dim=1) if temperature == 0 else _draw(logits / temperature, uniform[:, position])
        whole = torch.cat([whole, chosen[:, None]], dim=1)
        step = whole if cache is None else chosen[:, None]
        yield chosen
        ended |= torch.isin(chosen, special)
        if ended.all():
            break


def _draw(logits: Tensor, uniform: np.ndarray) -> Tensor:
    """The ids (B,) at which the cumulative probability exceeds `uniform` (B,)."""
    cumulative = logits.double().softmax(dim=1).cumsum(dim=1)
    level = torch.as_tensor(uniform)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, level, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)


def _prompt(subject: Subject, ids: list[int], room: int) -> list[int]:
    if not ids or room < 1:
        why = "it is empty" if not ids else "no room is left for it: ask for fewer tokens"
        raise SubjectError(f"a text cannot be continued: {why}")
    return ([] if subject.bos_id is None else [subject.bos_id]) + ids[-room:]


def random_numbers(seed: int | None, ids: Sequence[int], tokens: int) -> np.ndarray:
    """Random numbers (tokens,) in [0, 1) that depend on the seed and the prompt alone."""
    return np.random.default_rng([seed or 0, *ids]).random(tokens)


def groups_of_equal_length(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Indices of at most `BATCH` prompts of one length, so that none has to be padded."""
    by_length: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(i)
    for group in by_length.values():
        yield from (group[first : first + BATCH] for first in range(0, len(group), BATCH))
