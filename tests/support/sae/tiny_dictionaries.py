"""Small dictionaries of random weights."""

from __future__ import annotations

import torch

from sae.dictionary import Dictionary

N, D, D_SAE = 90, 16, 48


def dictionary(activation: str, *, hook_point: str = "resid_post.1", seed: int = 0) -> Dictionary:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return Dictionary(
        W_enc=normal(D_SAE, D),
        b_enc=normal(D_SAE),
        W_dec=normal(D_SAE, D),
        b_dec=normal(D),
        activation=activation,  # type: ignore[arg-type]
        hook_point=hook_point,
        threshold=normal(D_SAE).abs() if activation == "jumprelu" else None,
        k=6 if activation in ("topk", "groupmax") else None,
        apply_b_dec_to_input=True,
        input_norm="per_token",
    )
