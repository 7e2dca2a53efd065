"""What a subject says under an intervention: continuations, changed next tokens, and the loss of texts that it would have written.

Rows of one length run together, at most `sae.analysis.steering.BATCH` at a time, and fewer for `losses` if their logits would exceed half a
gigabyte: memory does not grow with the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae.analysis.steering import continue_prompts, groups_of_equal_length, next_tokens, random_numbers
from sae.errors import SubjectError, one_line
from sae.studies.intervention import Intervention, Row
from sae.subject.capacity import n_positions
from sae.subject.model import Subject
from sae.subject.token_text import REPLACEMENT, token_texts

LEAST_PROBABILITY = 1e-3
"""Tokens that rose are ranked among those with at least this probability after the change: below it, ratios are noise."""
LEAST_CHANGE = 0.01
"""Rises of a log-probability below this are left out."""
_ELEMENTS = 1 << 27
"""Logits in memory at once."""


@dataclass(frozen=True)
class RisenToken:
    """A token that became likelier after the prompt, with its probability before and after."""

    token: str
    before: float
    after: float
    change: float
    """Change of the log-probability, in nats."""


def encode_prompt(subject: Subject, prompt: str, tokens: int, *, chat: bool = False) -> tuple[int, ...]:
    """The ids of a prompt, BOS included; with `chat`, of a user's message in the chat template, up to where the reply begins.

    Raises `SubjectError` for an empty prompt, for one that leaves no room for `tokens` more, and without a chat template.
    """
    text = in_template(subject, prompt) if chat else prompt
    try:
        ids = [int(i) for i in subject.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    except Exception as error:
        raise SubjectError(f"the subject's tokenizer cannot encode a prompt: {one_line(error)}") from error
    if subject.bos_id is not None and ids[:1] != [subject.bos_id]:
        ids = [subject.bos_id, *ids]
    if len(ids) < 2:
        raise SubjectError(f"prompt {prompt!r} is too short: no token is left after the first, which is never steered")
    most = n_positions(subject)
    if most is not None and len(ids) + tokens > most:
        raise SubjectError(
            f"prompt {prompt[:40]!r} has {len(ids)} tokens, and {tokens} more do not fit into the subject's {most}: shorten it"
        )
    return tuple(ids)


def in_template(subject: Subject, prompt: str) -> str:
    """A user's message in the subject's chat template, up to where the reply begins. Raises `SubjectError` if it has none."""
    if not subject.tokenizer.chat_template:
        raise SubjectError(f"{subject.name} has no chat template: give prompts without --chat, or use the chat model")
    messages = [{"role": "user", "content": prompt}]
    try:
        return str(subject.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except Exception as error:
        raise SubjectError(f"the subject's chat template refuses {prompt[:40]!r}: {one_line(error)}") from error


def continuations(
    subject: Subject, intervention: Intervention, rows: Sequence[Row], tokens: int, seed: int | None, *, ends: bool
) -> list[list[int]]:
    """The ids that follow each row's prompt, as `continue_prompts`."""

    def editing(numbers: Sequence[int], shape: Sequence[int], start: int) -> AbstractContextManager[None]:
        return intervention([rows[i] for i in numbers], shape, start)

    return continue_prompts(subject, [row.ids for row in rows], tokens, seed, editing, ends=ends)


def next_ids(
    subject: Subject, intervention: Intervention, rows: Sequence[Row], tokens: int, seed: int, temperature: float, *, ends: bool
) -> Iterator[list[int]]:  # fmt: skip
    """The ids that follow rows of one prompt, as `next_tokens`: all rows draw by the same random numbers."""
    uniform = np.tile(random_numbers(seed, rows[0].ids, tokens), (len(rows), 1))

    def editing(shape: Sequence[int], start: int) -> AbstractContextManager[None]:
        return intervention(rows, shape, start)

    ids = torch.tensor([row.ids for row in rows])
    for chosen in next_tokens(subject, editing, ids, uniform, temperature=temperature, ends=ends):
        yield [int(i) for i in chosen]


@torch.no_grad()
def risen_tokens(
    subject: Subject, intervention: Intervention, rows: Sequence[Row], n: int
) -> list[tuple[RisenToken, ...]]:
    """For each row, the `n` tokens after its ids whose log-probability rose most by the intervention, the largest change first."""
    risen: list[tuple[RisenToken, ...]] = [()] * len(rows)
    for numbers, ids in _batches(rows):
        distinct = list(dict.fromkeys(rows[i].ids for i in numbers))
        plain = _next_logprobs(subject, intervention, [Row(row, len(row)) for row in distinct], torch.tensor(distinct))
        changed = _next_logprobs(subject, intervention, [rows[i] for i in numbers], ids)
        for i, after in zip(numbers, changed, strict=True):
            risen[i] = _risen(subject, plain[distinct.index(rows[i].ids)], after, n)
    return risen


def _next_logprobs(subject: Subject, intervention: Intervention, rows: Sequence[Row], ids: Tensor) -> Tensor:
    with intervention(rows, tuple(ids.shape)):
        logits, _ = subject.next_logits(ids)
    return logits.log_softmax(dim=1).cpu()


def _risen(subject: Subject, before: Tensor, after: Tensor, n: int) -> tuple[RisenToken, ...]:
    change = (after - before).masked_fill(after.exp() < LEAST_PROBABILITY, -torch.inf)
    for special in subject.special_ids:
        if special < len(change):
            change[special] = -torch.inf
    best = change.topk(min(n, len(change)))
    found = []
    for value, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        text = token_texts(subject.tokenizer, [token])[0]
        if value >= LEAST_CHANGE and REPLACEMENT not in text:
            found.append(RisenToken(text, float(before[token].exp()), float(after[token].exp()), value))
    return tuple(found)


@torch.no_grad()
def losses(subject: Subject, intervention: Intervention, rows: Sequence[Row]) -> list[Tensor]:
    """Cross-entropy in nats, (ids after the prompt,), of the ids that follow each row's prompt."""
    found: dict[int, Tensor] = {}
    vocabulary = int(subject.model.config.get_text_config(decoder=True).vocab_size)
    for numbers, ids in _batches(rows, _ELEMENTS // vocabulary):
        with intervention([rows[i] for i in numbers], tuple(ids.shape)):
            batch = subject.losses(ids).cpu()
        found |= {i: row[rows[i].n_prompt - 1 :] for i, row in zip(numbers, batch, strict=True)}
    return [found[i] for i in range(len(rows))]


def _batches(rows: Sequence[Row], tokens: int | None = None) -> Iterator[tuple[list[int], Tensor]]:
    """Numbers of rows whose ids have one length, and these ids (B, T), at most `tokens` of them or one row."""
    for group in groups_of_equal_length([row.ids for row in rows]):
        most = len(group) if tokens is None else max(1, tokens // len(rows[group[0]].ids))
        for first in range(0, len(group), most):
            numbers = group[first : first + most]
            yield numbers, torch.tensor([rows[i].ids for i in numbers])
