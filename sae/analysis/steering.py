"""Continuations of texts while one unit is held at a strength of our choosing: what the unit does to what the subject says.

A feature is clamped as in *Scaling Monosemanticity*, "Influence on Behavior": the residual stream is the dictionary's reconstruction
plus its error, the feature's activation in the reconstruction is set to `factor` times its largest, and the error stays. A
transcoder's output moves by as much. A neuron is held in the same way, at `factor` times its largest activation on the unit's side,
so that features and neurons are moved alike; FADE multiplies neurons instead, which does not tell a neuron's signs apart and leaves
silent ones silent. Factor 0 silences the unit, and with a neuron its other sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sae.analysis.unit_probe import encode_texts, most_tokens
from sae.dictionary import Activation, Dictionary
from sae.errors import SubjectError
from sae.harvest.encoder import FeatureEncoder
from sae.harvest.units import UnitKey
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

BATCH = 32
"""Texts that are continued together."""


@torch.no_grad()
def go_on(
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
    """The `tokens` tokens that the subject adds to each text while the unit is held at `factor * largest`, of each text its own or of all.

    Every position is edited but the first, where subjects keep norms that mean nothing. Special tokens are never drawn, so a
    continuation does not end early. A `seed` draws each token from the subject's own distribution, the same whatever other texts
    are there but for floating point; without one the likeliest is taken. Of a text too long, the end is read. Raises
    `SubjectError` for an empty text, and for hook points that are not there.
    """
    hold, room = holding(subject, dictionary, unit), most_tokens(subject) - tokens
    strengths = torch.as_tensor(factor, dtype=torch.float32).expand(len(texts)) * largest
    ids = [_prompt(subject, row, room) for row in encode_texts(subject, texts)]
    found: dict[int, str] = {}
    for group in _alike(ids):
        drawn = np.stack([_uniform(seed, ids[i], tokens) for i in group])
        prompts = torch.tensor([ids[i] for i in group])
        new = _continue(subject, partial(hold, strengths[group]), prompts, drawn, seed is None)
        found |= {i: "".join(token_texts(subject.tokenizer, row)) for i, row in zip(group, new.tolist(), strict=True)}
    return [found[i] for i in range(len(texts))]


Hold = Callable[[Tensor, Sequence[int], bool], AbstractContextManager[None]]
"""Called with activations (B,), a shape (B, T), and whether texts begin here: within the block, passes over tokens of that shape hold
the unit at the activation of each row."""


def holding(subject: Subject, dictionary: Dictionary, unit: UnitKey) -> Hold:
    """How the unit is held. Raises `SubjectError` for features of a dictionary that writes to several layers."""
    if unit.kind == "neuron":
        return _holding_neuron(subject, subject.neuron_hook_point(dictionary.hook_point), unit)
    if not dictionary.reconstructs:
        raise SubjectError(
            f"{dictionary.path} writes to several layers: features of such a dictionary cannot be steered"
        )
    return _holding_feature(subject, dictionary, unit.index)


def _holding_neuron(subject: Subject, hook_point: str, unit: UnitKey) -> Hold:
    def hold(values: Tensor, shape: Sequence[int], start: bool) -> AbstractContextManager[None]:
        def edit(m: Tensor) -> Tensor:
            new = m.clone()
            new[:, int(start) :, unit.index] = (values if unit.sign == "+" else -values).to(m.device).unsqueeze(1)
            return new

        return subject.editing(hook_point, edit, shape)

    return hold


def _holding_feature(subject: Subject, dictionary: Dictionary, feature: int) -> Hold:
    reads, writes = dictionary.hook_point, dictionary.hook_point_out or dictionary.hook_point
    encoder = FeatureEncoder(dictionary, [feature], torch.zeros(1, dtype=torch.int64, device=subject.device))
    alone = _alone(dictionary, feature).to(subject.device)
    direction = alone.W_dec[0] / alone.decoder_norm.clamp_min(1e-12)

    def moved(x: Tensor, values: Tensor) -> Tensor:
        """How far the output at `writes` moves, (B, T, d_out), for x (B, T, d_in) at `reads`."""
        everywhere = torch.arange(x.shape[0] * x.shape[1], device=x.device)
        (make,) = encoder.blocks(x.flatten(0, 1), torch.ones_like(everywhere, dtype=torch.bool))
        active = make().at(torch.zeros_like(everywhere), everywhere).view(*x.shape[:2], 1)
        written = (values.to(x.device).view(-1, 1, 1) - active) * direction
        return alone.complete(written, x) - alone.complete(torch.zeros_like(written), x)

    @contextmanager
    def hold(values: Tensor, shape: Sequence[int], start: bool) -> Iterator[None]:
        seen: list[Tensor] = []

        def look(x: Tensor) -> Tensor:
            seen[:] = [moved(x, values)]
            seen[0][:, : int(start)] = 0
            return x

        with ExitStack() as stack:
            if reads != writes:
                stack.enter_context(subject.editing(reads, look, shape))
                stack.enter_context(subject.editing(writes, lambda y: y + seen[0], shape))
            else:
                stack.enter_context(subject.editing(reads, lambda x: look(x) + seen[0], shape))
            yield

    return hold


def _alone(dictionary: Dictionary, feature: int) -> Dictionary:
    """The dictionary with one of its features only, and without what does not depend on features."""
    row = slice(feature, feature + 1)
    threshold = None if dictionary.threshold is None else dictionary.threshold[row]
    activation: Activation = "relu" if threshold is None else "jumprelu"
    return replace(
        dictionary, W_enc=dictionary.W_enc[row], b_enc=dictionary.b_enc[row], W_dec=dictionary.W_dec[row],
        threshold=threshold, activation=activation, k=None, W_skip=None,
    )  # fmt: skip


def _continue(
    subject: Subject,
    hold: Callable[[Sequence[int], bool], AbstractContextManager[None]],
    ids: Tensor,
    drawn: np.ndarray,
    greedy: bool,
) -> Tensor:
    """Ids (B, tokens) that follow prompts `ids` (B, T) of one length; `drawn` (B, tokens) are numbers of [0, 1)."""
    special = torch.tensor(sorted(subject.special_ids), dtype=torch.int64)
    step, whole, cache = ids, ids, None
    for place in range(drawn.shape[1]):
        with hold(tuple(step.shape), cache is None):
            logits, cache = subject.next_logits(step, cache)
        logits = logits.cpu()
        logits[:, special[special < logits.shape[1]]] = -torch.inf
        chosen = logits.argmax(dim=1) if greedy else _draw(logits, drawn[:, place])
        whole = torch.cat([whole, chosen[:, None]], dim=1)
        step = whole if cache is None else chosen[:, None]
    return whole[:, ids.shape[1] :]


def _draw(logits: Tensor, drawn: np.ndarray) -> Tensor:
    """The ids (B,) at which the cumulative probability passes `drawn` (B,)."""
    cumulative = logits.double().softmax(dim=1).cumsum(dim=1)
    sought = torch.as_tensor(drawn)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, sought, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)


def _prompt(subject: Subject, ids: list[int], room: int) -> list[int]:
    if not ids or room < 1:
        why = "it is empty" if not ids else "no room is left for it: ask for fewer tokens"
        raise SubjectError(f"a text cannot be gone on from: {why}")
    return ([] if subject.bos_id is None else [subject.bos_id]) + ids[-room:]


def _uniform(seed: int | None, ids: Sequence[int], tokens: int) -> np.ndarray:
    return np.random.default_rng([seed or 0, *ids]).random(tokens)


def _alike(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Indices of prompts of one length, so that none is padded, at most `BATCH` together."""
    by_length: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(i)
    for group in by_length.values():
        yield from (group[first : first + BATCH] for first in range(0, len(group), BATCH))
