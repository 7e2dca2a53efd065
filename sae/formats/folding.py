"""What several formats fold into plain weights: gates, and decoder norms that take part in choosing what is active."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 1 << 12
"""Rows that are looked at together, so that a wide file's decoder is not copied for its norms."""


def gated(W_enc: Tensor, b_gate: Tensor, r_mag: Tensor, b_mag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W_enc, b_enc and threshold of the jumprelu that equals a gated encoder, from its W_enc (d_sae, d_in) and (d_sae,) vectors.

    `[x W + b_gate > 0] * relu(x W exp(r_mag) + b_mag)`: the gate is a threshold on the magnitude.
    """
    gain = r_mag.float().exp()
    b_enc = b_mag.float()
    return W_enc.float() * gain[:, None], b_enc, (b_enc - gain * b_gate.float()).clamp_min(0)


def threshold_per_norm(threshold: Tensor, W_dec: Tensor) -> Tensor:
    """`z * ||W_dec|| > threshold` as a threshold (d_sae,) on z; a feature whose row is zero never fires."""
    norm = _row_norms(W_dec)
    return torch.where(norm > 0, threshold.float() / norm, torch.finfo(torch.float32).max)


def unit_rows(W_enc: Tensor, b_enc: Tensor, W_dec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same dictionary with decoder rows of norm 1, so that what is selected on is `z * ||W_dec||`. Rows of zeros stay."""
    norm = _row_norms(W_dec)
    safe = torch.where(norm > 0, norm, 1.0)
    return W_enc.float() * norm[:, None], b_enc.float() * norm, W_dec.float() / safe[:, None]


def _row_norms(W_dec: Tensor) -> Tensor:
    return torch.cat([torch.linalg.vector_norm(part.float(), dim=1) for part in torch.split(W_dec, _ROWS)])


def of_relu(threshold: Tensor, notes: list[str]) -> Tensor:
    """A threshold on relu(z), for which a negative one is the same as 0, as one on z; `notes` then says so."""
    if not bool((threshold < 0).any()):
        return threshold
    notes.append("negative thresholds are read as 0, which they amount to")
    return threshold.clamp_min(0)
