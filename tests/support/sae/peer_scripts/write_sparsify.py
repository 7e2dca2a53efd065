"""Sparse coders of EleutherAI's sparsify, each saved by its own `save_to_disk` under the name of its hook point."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from writing import absent, inputs, save_reference, shake, understand

absent("schedulefree", "sparsify.trainer", "sparsify.kernels")

from sparsify import SparseCoder, SparseCoderConfig  # noqa: E402

D_IN = 12
CASES = {
    "layers.5": SparseCoderConfig(expansion_factor=4, k=6),
    "layers.3.mlp": SparseCoderConfig(num_latents=40, k=5, transcode=True),
    "layers.4.mlp": SparseCoderConfig(num_latents=40, k=5, transcode=True, skip_connection=True),
    "h.3": SparseCoderConfig(num_latents=40, k=8, activation="groupmax"),
    "embed_tokens": SparseCoderConfig(num_latents=40, k=3, skip_connection=True),
}


def main(root: Path) -> None:
    for seed, (name, config) in enumerate(CASES.items()):
        coder = SparseCoder(D_IN, config)
        shake(coder, seed)
        understand(coder, D_IN, "mlp_in.4" if config.transcode else "resid_post.4")
        coder.save_to_disk(root / name)
        x = inputs(17, D_IN)
        with torch.no_grad():
            acts, indices, before = coder.encode(x)
            f = torch.zeros_like(before).scatter_(-1, indices, acts)
            save_reference(root / name, x, f, coder(x).sae_out)


main(Path(sys.argv[1]))
