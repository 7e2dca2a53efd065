"""Continuations of texts while one unit is clamped to a chosen activation, which show the unit's effect on the subject's output.

A feature is clamped as in *Scaling Monosemanticity*, "Influence on Behavior": the residual stream is the dictionary's reconstruction
plus its error; the feature's activation in the reconstruction is set to `factor` times its largest, and the error is kept. A
transcoder's output changes by the same difference. A neuron is clamped in the same way, to `factor` times its largest activation of
the unit's sign, so that features and neurons are treated alike; FADE multiplies neurons instead, which does not separate a neuron's
signs and leaves silent neurons silent. Factor 0 silences the unit, and of a neuron both signs.
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
    clamp, room = make_clamp(subject, dictionary, unit), most_tokens(subject) - tokens
    strengths = torch.as_tensor(factor, dtype=torch.float32).expand(len(texts)) * largest
    prompts = [_prompt(subject, row, room) for row in encode_texts(subject, texts)]
    continuations: dict[int, str] = {}
    for group in _groups_of_equal_length(prompts):
        uniform = np.stack([_uniform(seed, prompts[i], tokens) for i in group])
        ids = torch.tensor([prompts[i] for i in group])
        new_ids = _continue(subject, partial(clamp, strengths[group]), ids, uniform, seed is None)
        for i, row in zip(group, new_ids.tolist(), strict=True):
            continuations[i] = "".join(token_texts(subject.tokenizer, row))
    return [continuations[i] for i in range(len(texts))]


Clamp = Callable[[Tensor, Sequence[int], bool], AbstractContextManager[None]]
"""Called with activations (B,), a shape (B, T), and whether texts begin here. Within the block, passes over tokens of that shape clamp
the unit to the activation of each row."""


def make_clamp(subject: Subject, dictionary: Dictionary, unit: UnitKey) -> Clamp:
    """A function that clamps the unit. Raises `SubjectError` for features of a dictionary that writes to several layers."""
    if unit.kind == "neuron":
        return _neuron_clamp(subject, subject.neuron_hook_point(dictionary.hook_point), unit)
    if not dictionary.reconstructs:
        raise SubjectError(
            f"{dictionary.path} writes to several layers: features of such a dictionary cannot be steered"
        )
    return _feature_clamp(subject, dictionary, unit.index)


def _neuron_clamp(subject: Subject, hook_point: str, unit: UnitKey) -> Clamp:
    def clamp(values: Tensor, shape: Sequence[int], at_start: bool) -> AbstractContextManager[None]:
        def edit(m: Tensor) -> Tensor:
            new = m.clone()
            signed = values if unit.sign == "+" else -values
            new[:, int(at_start) :, unit.index] = signed.to(m.device).unsqueeze(1)
            return new

        return subject.editing(hook_point, edit, shape)

    return clamp


def _feature_clamp(subject: Subject, dictionary: Dictionary, feature: int) -> Clamp:
    reads, writes = dictionary.hook_point, dictionary.hook_point_out or dictionary.hook_point
    encoder = FeatureEncoder(dictionary, [feature], torch.zeros(1, dtype=torch.int64, device=subject.device))
    single = _single_feature(dictionary, feature).to(subject.device)
    direction = single.W_dec[0] / single.decoder_norm.clamp_min(1e-12)

    def output_change(x: Tensor, values: Tensor) -> Tensor:
        """The change of the output at `writes`, (B, T, d_out), for x (B, T, d_in) at `reads`: (value - activation) * direction, passed
        through the decoder's denormalisation. That is affine, so the difference from no change at all is the change itself."""
        every = torch.arange(x.shape[0] * x.shape[1], device=x.device)
        (make,) = encoder.blocks(x.flatten(0, 1), torch.ones_like(every, dtype=torch.bool))
        activation = make().values_at(torch.zeros_like(every), every).view(*x.shape[:2], 1)
        features_sum = (values.to(x.device).view(-1, 1, 1) - activation) * direction
        unchanged = single.complete_decoding(torch.zeros_like(features_sum), x)
        return single.complete_decoding(features_sum, x) - unchanged

    @contextmanager
    def clamp(values: Tensor, shape: Sequence[int], at_start: bool) -> Iterator[None]:
        changes: list[Tensor] = []

        def measure(x: Tensor) -> Tensor:
            changes[:] = [output_change(x, values)]
            changes[0][:, : int(at_start)] = 0
            return x

        with ExitStack() as stack:
            if reads != writes:
                stack.enter_context(subject.editing(reads, measure, shape))
                stack.enter_context(subject.editing(writes, lambda y: y + changes[0], shape))
            else:
                stack.enter_context(subject.editing(reads, lambda x: measure(x) + changes[0], shape))
            yield

    return clamp


def _single_feature(dictionary: Dictionary, feature: int) -> Dictionary:
    """The dictionary reduced to one feature, without a skip connection, which no feature takes part in."""
    row = slice(feature, feature + 1)
    threshold = None if dictionary.threshold is None else dictionary.threshold[row]
    activation: Activation = "relu" if threshold is None else "jumprelu"
    return replace(
        dictionary, W_enc=dictionary.W_enc[row], b_enc=dictionary.b_enc[row], W_dec=dictionary.W_dec[row],
        threshold=threshold, activation=activation, k=None, W_skip=None,
    )  # fmt: skip


def _continue(
    subject: Subject,
    clamp: Callable[[Sequence[int], bool], AbstractContextManager[None]],
    ids: Tensor,
    uniform: np.ndarray,
    greedy: bool,
) -> Tensor:
    """Ids (B, tokens) that follow prompts `ids` (B, T) of one length. `uniform` (B, tokens) are random numbers in [0, 1)."""
    special = torch.tensor(sorted(subject.special_ids), dtype=torch.int64)
    step, whole, cache = ids, ids, None
    for position in range(uniform.shape[1]):
        with clamp(tuple(step.shape), cache is None):
            logits, cache = subject.next_logits(step, cache)
        logits = logits.cpu()
        logits[:, special[special < logits.shape[1]]] = -torch.inf
        chosen = logits.argmax(dim=1) if greedy else _draw(logits, uniform[:, position])
        whole = torch.cat([whole, chosen[:, None]], dim=1)
        step = whole if cache is None else chosen[:, None]
    return whole[:, ids.shape[1] :]


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


def _uniform(seed: int | None, ids: Sequence[int], tokens: int) -> np.ndarray:
    """Random numbers (tokens,) in [0, 1) that depend on the seed and the prompt alone."""
    return np.random.default_rng([seed or 0, *ids]).random(tokens)


def _groups_of_equal_length(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Indices of at most `BATCH` prompts of one length, so that none has to be padded."""
    by_length: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(i)
    for group in by_length.values():
        yield from (group[first : first + BATCH] for first in range(0, len(group), BATCH))
