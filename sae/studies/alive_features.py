"""How often every feature of several dictionaries fires on a sample of a corpus, from one pass over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.analysis.chunked import feature_chunks
from sae.analysis.token_sample import draw
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, SaeError
from sae.harvest.uncounted import SKIP_POSITIONS
from sae.studies.counted_tokens import NormLimits
from sae.subject.model import Subject

FORWARD_TOKENS = 4096

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Firing:
    """For each feature of a dictionary, the number of tokens at which it is active and its largest activation, (d_sae,), and the number of
    tokens at which it reaches each of its levels, (levels, d_sae)."""

    n_active: npt.NDArray[np.int64]
    largest: npt.NDArray[np.float32]
    n_reached: npt.NDArray[np.int64]


@torch.inference_mode()
def firing(
    subject: Subject,
    dictionaries: Sequence[Dictionary],
    corpus: Corpus,
    levels: Sequence[Tensor],
    *,
    tokens: int,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> tuple[list[Firing], int]:
    """The firing of every dictionary's features, and the number of counted tokens, about `tokens`.

    Raises `SaeError` if no token counts, and `SubjectError` for values that are not finite. `levels`: for each dictionary, positive activations (levels, d_sae); infinite ones are never reached.
    """
    names = list(dict.fromkeys(dictionary.hook_point for dictionary in dictionaries))
    counts = [torch.zeros(d.d_sae, dtype=torch.int64, device=subject.device) for d in dictionaries]
    largest = [torch.zeros(d.d_sae, device=subject.device) for d in dictionaries]
    # As thresholds of f, before it is multiplied by the decoder's norm.
    least = [(each / d.decoder_norm).to(subject.device) for each, d in zip(levels, dictionaries, strict=True)]
    reached = [torch.zeros(each.shape, dtype=torch.int64, device=subject.device) for each in least]
    n, limits = 0, NormLimits()
    for ids, text in draw(corpus, tokens, seed, SKIP_POSITIONS).batches(FORWARD_TOKENS, subject.device):
        values = subject.run(ids, names)
        counted = limits.counted(values, text)
        n += int(counted.sum())
        for number, dictionary in enumerate(dictionaries):
            x = values[dictionary.hook_point][counted]
            for chunk in feature_chunks(dictionary, x) if len(x) else ():
                here = slice(chunk.start, chunk.stop)
                counts[number][here] += (chunk.f > 0).sum(dim=0)
                largest[number][here] = torch.maximum(largest[number][here], chunk.f.amax(dim=0))
                for times, level in zip(reached[number], least[number], strict=True):
                    times[here] += (chunk.f >= level[here]).sum(dim=0)
        progress(n, tokens)
    if not n:
        raise SaeError(NOTHING_COUNTED)
    found = [
        Firing(
            count.cpu().numpy(), (most.cpu() * d.decoder_norm.cpu()).numpy().astype(np.float32), of_level.cpu().numpy()
        )
        for count, most, of_level, d in zip(counts, largest, reached, dictionaries, strict=True)
    ]
    return found, n
