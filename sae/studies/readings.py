"""Maximum and mean activation of every feature of a dictionary over each of many texts.

A text is read as `sae.analysis.unit_probe` reads it, and tokens of massive norm do not count. The values at all tokens are kept, (tokens, d_in), and every chunk of features is
encoded from them in turn: memory grows with the tokens of the texts, and not with the number of features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.analysis.chunked import feature_chunks
from sae.analysis.unit_probe import BATCH_TOKENS, as_corpus, encode_texts, most_tokens
from sae.dictionary import Dictionary
from sae.harvest.harvest import batches
from sae.studies.counted_tokens import NormLimits, counted_values
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class TextValues:
    """What a hook point holds at the n counted tokens of texts, x (n, width).

    `tokens`: the strings of all tokens of each text. `counted`: a mask of them for each text; their values are the rows of x, text
    after text. `n_cut`: number of texts whose end was not read, because they are too long.
    """

    x: Tensor
    tokens: tuple[tuple[str, ...], ...]
    counted: tuple[npt.NDArray[np.bool_], ...]
    n_cut: int

    @property
    def lengths(self) -> list[int]:
        """Counted tokens of each text."""
        return [int(mask.sum()) for mask in self.counted]

    def within(self, passage: str) -> TextValues:
        """The same texts with only those tokens counted that overlap an occurrence of `passage`."""
        masks = [_overlapping(tokens, passage) for tokens in self.tokens]
        kept = np.concatenate([mask[own] for mask, own in zip(masks, self.counted, strict=True)])
        counted = tuple(mask & own for mask, own in zip(masks, self.counted, strict=True))
        return replace(self, x=self.x[torch.as_tensor(kept, device=self.x.device)], counted=counted)


class Readings(NamedTuple):
    """Activations of features `start` on: `maximum` and `mean` over each text's counted tokens, (texts, count) on the CPU."""

    start: int
    maximum: Tensor
    mean: Tensor

    @property
    def stop(self) -> int:
        return self.start + self.maximum.shape[1]


@torch.inference_mode()
def values_of(
    subject: Subject, hook_point: str, texts: Sequence[str], progress: Progress = lambda done, total: None
) -> TextValues:
    """Run the texts. Raises `SubjectError` if the tokenizer cannot encode a text or values are not finite."""
    longest = most_tokens(subject)
    whole = encode_texts(subject, texts)
    ids = [row[:longest] for row in whole]
    corpus = as_corpus(subject, ids)
    counted = [np.zeros(len(row), dtype=np.bool_) for row in ids]
    values: list[Tensor] = [torch.zeros(0, subject.width(hook_point), device=subject.device)] * len(ids)
    n_read, limits = 0, NormLimits()
    for rows in batches(corpus, np.array([n for n, row in enumerate(ids) if row], dtype=np.int64), BATCH_TOKENS):
        lengths = [len(ids[row]) for row in rows]
        by_hook_point, counts = counted_values(subject, corpus, rows, [hook_point], limits)
        for row, x, mask in zip(
            rows, torch.split(by_hook_point[hook_point], lengths), torch.split(counts, lengths), strict=True
        ):
            counted[row] = mask.cpu().numpy()
            values[row] = x[mask]
        n_read += len(rows)
        progress(n_read, len(ids))
    tokens = tuple(tuple(token_texts(subject.tokenizer, row)) for row in ids)
    n_cut = sum(len(row) > longest for row in whole)
    return TextValues(torch.cat([*values, *_none(subject, hook_point)]), tokens, tuple(counted), n_cut)


@torch.inference_mode()
def readings(dictionary: Dictionary, values: TextValues) -> Iterator[Readings]:
    """The readings of all features, in order, chunk by chunk; 0 for a text without counted tokens."""
    lengths = values.lengths
    norms = dictionary.decoder_norm
    for chunk in feature_chunks(dictionary, values.x):
        activations = chunk.f * norms[chunk.start : chunk.stop].to(chunk.f)
        parts = torch.split(activations, lengths)
        zeros = activations.new_zeros(activations.shape[1])
        maximum = torch.stack([part.amax(dim=0) if len(part) else zeros for part in parts])
        mean = torch.stack([part.mean(dim=0) if len(part) else zeros for part in parts])
        yield Readings(chunk.start, maximum.cpu(), mean.cpu())


@torch.inference_mode()
def activations_at_tokens(
    dictionary: Dictionary, values: TextValues, features: Sequence[int]
) -> list[npt.NDArray[np.float32]]:
    """Activations of a few features at all tokens of each text, (features, T), 0 at tokens that do not count."""
    index = torch.as_tensor(list(features), device=dictionary.W_enc.device)
    of_counted = dictionary.activations(values.x.to(dictionary.W_enc.device), index).float().cpu().numpy()
    parts = np.split(of_counted, np.cumsum(values.lengths)[:-1])
    by_text = []
    for part, mask in zip(parts, values.counted, strict=True):
        activations = np.zeros((len(features), len(mask)), dtype=np.float32)
        activations[:, mask] = part.T
        by_text.append(activations)
    return by_text


def _none(subject: Subject, hook_point: str) -> list[Tensor]:
    """Values of no token, so that there is something to concatenate without texts."""
    return [torch.zeros(0, subject.width(hook_point), device=subject.device)]


def _overlapping(tokens: Sequence[str], passage: str) -> npt.NDArray[np.bool_]:
    """A mask of the tokens that overlap an occurrence of a passage in their text."""
    ends = np.cumsum([len(token) for token in tokens], dtype=np.int64)
    starts = ends - np.array([len(token) for token in tokens], dtype=np.int64)
    mask = np.zeros(len(tokens), dtype=np.bool_)
    text = "".join(tokens)
    first = text.find(passage)
    while first >= 0 and passage:
        mask |= (starts < first + len(passage)) & (ends > first)
        first = text.find(passage, first + 1)
    return mask
