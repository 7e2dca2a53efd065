"""Transformations that several formats need: gates and decoder norms folded into plain weights, outputs of several layers joined."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 1 << 12
"""Rows whose norms are computed together, so that a wide file's decoder is not copied as a whole."""


def fold_gate(W_enc: Tensor, b_gate: Tensor, r_mag: Tensor, b_mag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W_enc, b_enc and threshold of the jumprelu that equals a gated encoder, given its W_enc (d_sae, d_in) and vectors (d_sae,).

    `[x W + b_gate > 0] * relu(x W exp(r_mag) + b_mag)`: the gate is a threshold on the magnitude.
    """
    gain = r_mag.float().exp()
    b_enc = b_mag.float()
    return W_enc.float() * gain[:, None], b_enc, (b_enc - gain * b_gate.float()).clamp_min(0)


def fold_norms_into_threshold(threshold: Tensor, W_dec: Tensor) -> Tensor:
    """The threshold (d_sae,) on z that equals `z * ||W_dec|| > threshold`. A feature whose decoder row is zero is never active."""
    norm = _row_norms(W_dec)
    return torch.where(norm > 0, threshold.float() / norm, torch.finfo(torch.float32).max)


def fold_decoder_norms(W_enc: Tensor, b_enc: Tensor, W_dec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same dictionary with decoder rows of norm 1, so that selection by z becomes selection by `z * ||W_dec||`. Rows of zeros
    are kept."""
    norm = _row_norms(W_dec)
    safe = torch.where(norm > 0, norm, 1.0)
    return W_enc.float() * norm[:, None], b_enc.float() * norm, W_dec.float() / safe[:, None]


def _row_norms(W_dec: Tensor) -> Tensor:
    return torch.cat([torch.linalg.vector_norm(part.float(), dim=1) for part in torch.split(W_dec, _ROWS)])


def clamp_threshold(threshold: Tensor, notes: list[str]) -> Tensor:
    """A threshold on relu(z) as one on z: a negative one equals 0. If there is one, `notes` gets a note."""
    if not bool((threshold < 0).any()):
        return threshold
    notes.append("negative thresholds are read as 0, which they are equivalent to")
    return threshold.clamp_min(0)


def join_layers(W_dec: Tensor, b_dec: Tensor, layer: int) -> tuple[Tensor, Tensor, list[str]]:
    """One layer of a cross-layer transcoder as a dictionary: its outputs to all layers side by side.

    Takes W_dec (d_sae, layers from `layer` on, d_model) and the bias b_dec (d_model,) of `layer`. Returns W_dec (d_sae,
    layers * d_model), so that a row's norm is that of everything the feature writes, b_dec with zeros for the later layers, and
    notes.
    """
    later = W_dec.shape[1] - 1
    notes = [
        f"one layer of a cross-layer transcoder: an activation counts what it writes to all of layers {layer} to {layer + later}",
        "its output holds side by side what it adds to each of these layers, and reconstructs none: earlier layers add to them too",
    ]
    return W_dec.flatten(1), torch.cat([b_dec, b_dec.new_zeros(later * len(b_dec))]), notes
