"""How often every feature of several dictionaries fires on a sample of a corpus, from one pass over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sae.analysis.chunked import feature_chunks
from sae.analysis.token_sample import draw
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, SaeError
from sae.subject.model import Subject

FORWARD_TOKENS = 4096
SKIP_POSITIONS = 1
"""First tokens of a context that do not count, as in a harvest."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Firing:
    """For each feature of a dictionary, the number of tokens at which it is active and its largest activation, (d_sae,)."""

    n_active: npt.NDArray[np.int64]
    largest: npt.NDArray[np.float32]


@torch.inference_mode()
def firing(
    subject: Subject,
    dictionaries: Sequence[Dictionary],
    corpus: Corpus,
    *,
    tokens: int,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> tuple[list[Firing], int]:
    """The firing of every dictionary's features, and the number of counted tokens, about `tokens`. Raises `SaeError` if none counts."""
    names = list(dict.fromkeys(dictionary.hook_point for dictionary in dictionaries))
    counts = [torch.zeros(d.d_sae, dtype=torch.int64, device=subject.device) for d in dictionaries]
    largest = [torch.zeros(d.d_sae, device=subject.device) for d in dictionaries]
    n = 0
    for ids, text in draw(corpus, tokens, seed, SKIP_POSITIONS).batches(FORWARD_TOKENS, subject.device):
        values = subject.run(ids, names)
        n += int(text.sum())
        for number, dictionary in enumerate(dictionaries):
            x = values[dictionary.hook_point][text]
            for chunk in feature_chunks(dictionary, x) if len(x) else ():
                here = slice(chunk.start, chunk.stop)
                counts[number][here] += (chunk.f > 0).sum(dim=0)
                largest[number][here] = torch.maximum(largest[number][here], chunk.f.amax(dim=0))
        progress(n, tokens)
    if not n:
        raise SaeError(NOTHING_COUNTED)
    found = [
        Firing(count.cpu().numpy(), (most.cpu() * dictionary.decoder_norm.cpu()).numpy().astype(np.float32))
        for count, most, dictionary in zip(counts, largest, dictionaries, strict=True)
    ]
    return found, n
