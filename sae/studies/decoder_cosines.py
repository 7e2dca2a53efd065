"""Cosines of one direction with the decoder rows of a whole dictionary, a chunk of rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sae.dictionary import Dictionary

_ELEMENTS = 1 << 24
"""Elements of decoder rows that are read at a time."""


@torch.inference_mode()
def decoder_cosines(dictionary: Dictionary, direction: Tensor) -> Tensor:
    """The cosine of `direction` (d_out,) with each decoder row, float32 (d_sae,); 0 for rows of zeros."""
    rows = torch.split(dictionary.W_dec, max(1, _ELEMENTS // dictionary.d_out))
    own = direction.float().to(dictionary.W_dec.device)
    return torch.cat([cosine_similarity(part.float(), own[None], dim=1, eps=1e-12) for part in rows]).cpu()
