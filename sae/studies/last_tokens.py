"""The features that are most active at the last token of prompts, and on how many concepts of a family each of them fires.

A last token of massive norm does not count, so that its prompt says nothing.

The values at the last tokens are kept, (prompts, d_in), and every chunk of features is encoded from them in turn: memory grows with the
prompts, and with the number of features only by the weights themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae.analysis.chunked import feature_chunks
from sae.analysis.unit_probe import encode_texts, most_tokens
from sae.corpus.corpus import PAD_ID
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.harvest.uncounted import SKIP_POSITIONS
from sae.studies.counted_tokens import NormLimits
from sae.subject.model import Subject

BATCH_TOKENS = 4096
FIRES = 0.5
"""A feature fires on a concept if its activation there is at least this share of its largest one over the concepts of the family."""

Progress = Callable[[int, int], None]


def last_token_values(
    subject: Subject, prompts: Sequence[str], hook_points: Sequence[str], progress: Progress = lambda done, total: None
) -> tuple[dict[str, Tensor], Tensor]:
    """Values at each prompt's last token, float32 (prompts, width), by hook point, and a mask (prompts,) of the tokens that count.

    Raises `SubjectError` for a prompt that is too long or empty, and if values are not finite.
    """
    ids, most = encode_texts(subject, prompts), most_tokens(subject)
    for prompt, own in zip(prompts, ids, strict=True):
        if not 0 < len(own) <= most:
            raise SubjectError(f"the prompt {prompt[:60]!r} has {len(own)} tokens, and 1 to {most} are read: change it")
    first = [] if subject.bos_id is None else [subject.bos_id]
    order = np.argsort([len(row) for row in ids], kind="stable").tolist()
    values = {name: torch.zeros(len(ids), subject.width(name), device=subject.device) for name in hook_points}
    counted, limits = torch.zeros(len(ids), dtype=torch.bool, device=subject.device), NormLimits()
    size = max(1, BATCH_TOKENS // (max(map(len, ids), default=1) + 1))
    for start in range(0, len(ids), size):
        rows = order[start : start + size]
        lengths = torch.tensor([len(first) + len(ids[row]) for row in rows])
        tokens = torch.full((len(rows), int(lengths.max())), PAD_ID)
        for place, row in enumerate(rows):
            tokens[place, : int(lengths[place])] = torch.tensor(first + ids[row])
        found = subject.run(tokens, hook_points)
        column, last = torch.arange(tokens.shape[1]), lengths - 1
        text = (column >= len(first) + SKIP_POSITIONS) & (column < lengths[:, None])
        counted[rows] = limits.counted(found, text.to(subject.device))[torch.arange(len(rows)), last]
        for name, x in found.items():
            values[name][rows] = x[torch.arange(len(rows)), last]
        progress(start + len(rows), len(ids))
    return values, counted


@dataclass(frozen=True)
class Strongest:
    """The k most active features at each of n concepts, strongest first. Arrays are (n, k) on the CPU; a feature with the activation 0 is none.

    `activation` is the mean over the templates whose token counts, `active` the share of them in which the feature is active, `largest`
    its largest mean over the concepts, and `fires_on` the number of concepts on which it fires. `counted` (n,) is the number of templates
    whose token counts; without any, activations are 0.
    """

    feature: Tensor
    activation: Tensor
    active: Tensor
    largest: Tensor
    fires_on: Tensor
    counted: Tensor


@torch.inference_mode()
def strongest(dictionary: Dictionary, x: Tensor, counted: Tensor, k: int) -> Strongest:
    """The features that are most active at the concepts of a family, from values x (n concepts, templates, d_in), `counted` of which
    (n, templates) are of tokens that count."""
    n, templates = x.shape[:2]
    kept: list[Tensor] | None = None
    norms = dictionary.decoder_norm
    n_counted, of_counted = counted.sum(dim=1), counted[..., None]
    least_one = n_counted.clamp(min=1)[:, None]
    for chunk in feature_chunks(dictionary, x.flatten(0, 1)):
        f = (chunk.f * norms[chunk.start : chunk.stop].to(chunk.f)).reshape(n, templates, -1)
        mean = (f * of_counted).sum(dim=1) / least_one
        largest = mean.amax(dim=0)
        fires_on = ((mean >= FIRES * largest) & (mean > 0)).sum(dim=0)
        value, index = mean.topk(min(k, mean.shape[1]), dim=1)
        active = (((f > 0) & of_counted).sum(dim=1) / least_one).gather(1, index)
        new = [value, index + chunk.start, active, largest[index], fires_on[index]]
        if kept is not None:
            new = [torch.cat(parts, dim=1) for parts in zip(kept, new, strict=True)]
            best = new[0].topk(min(k, new[0].shape[1]), dim=1).indices
            new = [part.gather(1, best) for part in new]
        kept = new
    assert kept is not None
    value, feature, active, largest, fires_on = (part.cpu() for part in kept)
    return Strongest(feature, value, active, largest, fires_on, n_counted.cpu())
