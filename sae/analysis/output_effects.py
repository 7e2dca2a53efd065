"""What units make the subject say: the tokens that become more probable when a unit is raised from silence to its largest activation.

The subject reads several contexts that end where the unit is active. At the last token alone the unit is clamped (`sae.analysis.clamp`),
to 0 and to its largest activation, and the *rise* of a token is the difference of its logit, less the mean difference over the
vocabulary, which changes no probability. The earlier tokens are read once for all arms, so an arm costs one token per context.

Named are the `TOKENS` tokens of largest mean rise over half of the contexts; they are tested on the other half, and the other way round.
Their mean rise there, and their precision, the share of them among the `TOKENS` tokens that rise most there, are the unit's figures.
The decoder names tokens too, by the logit lens (`sae.analysis.directions`), without any context; its precision is measured against all
contexts. The null: `RANDOM` random directions of the same norm are written in the unit's place, at the same value in the same contexts,
and each names and tests its own tokens in the same way. The p-value is the share of directions, the unit's own among them, with at least
its rise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from sae.analysis.clamp import Clamp, Rows, make_clamp
from sae.analysis.directions import LogitLens, neuron_directions
from sae.dictionary import Dictionary
from sae.harvest.units import UnitKey
from sae.subject.model import Subject
from sae.subject.token_text import REPLACEMENT, token_texts

TOKENS = 10
"""Tokens that are named, and tokens that rise most."""
RANDOM = 19
"""Random directions: with the unit's own 20, so that the smallest p-value is 0.05."""
_LOGITS = 1 << 25
"""Logits in memory at once."""


@dataclass(frozen=True)
class OutputEffect:
    """A unit's effect on the subject's next token. Rises are in logits, precisions are shares of `TOKENS`.

    `decoder_precision` and its random counterpart are None, and `decoder_raised` is empty, where the logit lens is undefined. Of the
    tokens, those that are no text by themselves are left out.
    """

    raised: tuple[str, ...]
    """The tokens that rise most over all contexts, the largest rise first."""
    decoder_raised: tuple[str, ...]
    """The tokens that the decoder names, the largest effect first."""
    rise: float
    random_rise: float
    precision: float
    random_precision: float
    decoder_precision: float | None
    random_decoder_precision: float | None
    p: float


@torch.no_grad()
def output_effects(
    subject: Subject,
    dictionary: Dictionary,
    units: Sequence[UnitKey],
    largest: Sequence[float],
    contexts: Sequence[np.ndarray],
    seed: int,
    effects_of: dict[UnitKey, OutputEffect],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Add the effects of units of one kind to `effects_of`, given their largest activations and contexts: token ids (n, T), n at least
    2, BOS included.

    Units with contexts of equal length are measured together, unless `effects_of` has them all from an earlier call with the same
    units; `progress` is called when they are added. Raises `SubjectError` for features that cannot be clamped, and without
    an output head.
    """
    lens = LogitLens.of(subject, dictionary)
    done = 0
    for group in _groups(contexts, len(subject.tokenizer)):
        done += len(group)
        if all(units[i] in effects_of for i in group):
            continue
        clamp = make_clamp(subject, dictionary, [units[i] for i in group])
        directions = [
            _with_random(subject, dictionary, units[i], own, seed)
            for i, own in zip(group, clamp.directions, strict=True)
        ]
        logits = _run(clamp, [largest[i] for i in group], directions, [contexts[i] for i in group])
        for i, of_unit, of_arms in zip(group, logits, directions, strict=True):
            usable = _usable(subject, of_unit.shape[2])
            effects = None if lens is None else lens.effects(units[i].kind, of_arms)
            rises = (of_unit[:, 1:] - of_unit[:, :1])[..., usable]
            rises -= rises.mean(dim=2, keepdim=True)
            effects_of[units[i]] = _effect(subject, rises, None if effects is None else effects[:, usable], usable)
        progress(done, len(units))


def _groups(contexts: Sequence[np.ndarray], vocabulary: int) -> Iterator[list[int]]:
    """Units, by number, whose contexts have the same length and whose logits fit into memory together."""
    by_length: dict[int, list[int]] = {}
    for i, ids in enumerate(contexts):
        by_length.setdefault(ids.shape[1], []).append(i)
    for same in by_length.values():
        rows = (RANDOM + 2) * max(len(contexts[i]) for i in same)
        size = max(1, _LOGITS // (rows * vocabulary))
        yield from (same[start : start + size] for start in range(0, len(same), size))


def _with_random(subject: Subject, dictionary: Dictionary, unit: UnitKey, own: Tensor, seed: int) -> Tensor:
    """A unit's own direction and `RANDOM` others of its norm, (RANDOM + 1, width). Of neurons, the norm is that in the residual stream."""
    generator = np.random.default_rng([seed, 12, unit.index, *unit.unit_id.encode()])
    drawn = torch.as_tensor(generator.standard_normal((RANDOM, len(own))), dtype=torch.float32).to(own.device)
    every = torch.cat([own[None], drawn])
    if unit.kind == "neuron":
        columns = neuron_directions(subject, subject.neuron_hook_point(dictionary.hook_point)).float()
        norms = (every @ columns).norm(dim=1, keepdim=True)
    else:
        norms = every.norm(dim=1, keepdim=True)
    scaled: Tensor = every * norms[0] / norms.clamp_min(1e-12)
    return scaled


def _run(
    clamp: Clamp, largest: Sequence[float], directions: Sequence[Tensor], contexts: Sequence[np.ndarray]
) -> Iterator[Tensor]:
    """For each unit, logits (contexts, arms, vocabulary) of the token after its contexts.

    Arm 0 is the unit silenced, arm 1 the unit at its largest activation, and then come the random directions.
    """
    subject, arms = clamp.subject, RANDOM + 2
    n = torch.tensor([len(ids) for ids in contexts])
    ids = torch.as_tensor(np.concatenate(list(contexts)))
    value = torch.tensor(largest)[:, None].repeat(1, arms)
    value[:, 0] = 0
    written = torch.stack([torch.cat([of_unit[:1], of_unit]) for of_unit in directions])
    unit = torch.arange(len(n)).repeat_interleave(n)
    rows = Rows(unit.repeat_interleave(arms), value[unit].flatten(), written[unit.to(written.device)].flatten(0, 1))
    cache = subject.next_logits(ids[:, :-1])[1] if ids.shape[1] > 1 else None
    repeat = getattr(cache, "batch_repeat_interleave", None)
    if repeat is None:  # a model without a cache, or whose cache cannot be repeated
        text, cache = ids.repeat_interleave(arms, dim=0), None
    else:
        repeat(arms)
        text = ids[:, -1:].repeat_interleave(arms, dim=0)
    with clamp(rows, tuple(text.shape), text.shape[1] - 1):
        logits, _ = subject.next_logits(text, cache)
    for part in torch.split(logits, (n * arms).tolist()):
        yield part.view(-1, arms, part.shape[1])


def _usable(subject: Subject, vocabulary: int) -> Tensor:
    """The token ids that can be named: those of the tokenizer without special tokens."""
    ids = torch.arange(min(len(subject.tokenizer), vocabulary))
    special = torch.tensor(sorted(subject.special_ids), dtype=torch.int64)
    return ids[~torch.isin(ids, special)].to(subject.device)


def _effect(subject: Subject, rises: Tensor, effects: Tensor | None, ids: Tensor) -> OutputEffect:
    """A unit's figures from the rises (contexts, arms, tokens) and the decoder's effects (arms, tokens), the unit's own arm first."""
    n = min(TOKENS, rises.shape[2])
    mean = rises.mean(dim=0)
    halves = [rises[part::2].mean(dim=0) for part in (0, 1)]
    tops = [half.topk(n, dim=1).indices for half in halves]
    rise = torch.stack([halves[1 - k].gather(1, tops[k]).mean(dim=1) for k in (0, 1)]).mean(dim=0).tolist()
    overlaps = [_shared(a, b) / n for a, b in zip(*tops, strict=True)]
    rose = mean.topk(n, dim=1).indices
    named = None if effects is None else effects.topk(n, dim=1).indices
    decoder = [] if named is None else [_shared(a, b) / n for a, b in zip(named, rose, strict=True)]
    return OutputEffect(
        raised=_texts(subject, ids[rose[0]]),
        decoder_raised=() if named is None else _texts(subject, ids[named[0]]),
        rise=rise[0],
        random_rise=fmean(rise[1:]),
        precision=overlaps[0],
        random_precision=fmean(overlaps[1:]),
        decoder_precision=decoder[0] if decoder else None,
        random_decoder_precision=fmean(decoder[1:]) if decoder else None,
        p=sum(other >= rise[0] for other in rise) / len(rise),
    )


def _shared(a: Tensor, b: Tensor) -> int:
    return len(set(a.tolist()) & set(b.tolist()))


def _texts(subject: Subject, ids: Tensor) -> tuple[str, ...]:
    texts = (token_texts(subject.tokenizer, [i])[0] for i in ids.tolist())
    return tuple(text for text in texts if text and REPLACEMENT not in text)
