"""Sparse dictionaries of llamascopium (formerly lm-saes), saved by their own `save_pretrained` and `save_hyperparameters`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from writing import absent, inputs, save_reference, shake, without_init

without_init("llamascopium", "models", "backend")
absent("llamascopium.backend.language_model", "transformer_lens", "transformer_lens.components")
absent("transformer_lens.components.mlps", "transformer_lens.components.mlps.can_be_used_as_mlp")


class HookPoint(nn.Identity):
    """Of transformer_lens, which would take a minute to install: where somebody could hook in."""


class HookedRootModule(nn.Module):
    """The same: a module that knows its hook points by name."""

    def setup(self) -> None: ...


hooks = ModuleType("transformer_lens.hook_points")
hooks.HookPoint, hooks.HookedRootModule = HookPoint, HookedRootModule
sys.modules["transformer_lens.hook_points"] = hooks

from llamascopium.models.crosscoder import Crosscoder, CrosscoderConfig  # noqa: E402
from llamascopium.models.sae import SAEConfig, SparseAutoEncoder  # noqa: E402

D_MODEL, EXPANSION, K = 12, 4, 6
POST, IN, OUT = "blocks.2.hook_resid_post", "blocks.2.hook_resid_mid", "blocks.2.hook_mlp_out"
NORMS = {POST: 9.0, IN: 7.0, OUT: 4.0}


def main(root: Path) -> None:
    for norm in ("dataset-wise", "token-wise", "inference"):
        write(root / norm, act_fn="jumprelu", norm_activation=norm)
    write(root / "relu", act_fn="relu", use_decoder_bias=False)
    write(root / "topk", act_fn="topk")
    write(root / "topk-plain", act_fn="topk", sparsity_include_decoder_norm=False)
    write(root / "jumprelu-plain", act_fn="jumprelu", sparsity_include_decoder_norm=False)
    write(root / "transcoder", act_fn="jumprelu", hook_point_in=IN, hook_point_out=OUT)
    write(root / "glu", act_fn="relu", use_glu_encoder=True)
    write(root / "batchtopk", act_fn="batchtopk")
    crosscoder = Crosscoder(CrosscoderConfig(hook_points=[IN, POST], d_model=D_MODEL, expansion_factor=EXPANSION))
    save(root / "crosscoder", crosscoder, 50)


def save(folder: Path, sae: nn.Module, seed: int) -> None:
    shake(sae, seed)
    sae.set_dataset_average_activation_norm({hook: NORMS[hook] for hook in sae.cfg.associated_hook_points})
    sae.save_pretrained(folder)
    sae.cfg.save_hyperparameters(folder)


def write(folder: Path, **settings: object) -> None:
    hook_points = {"hook_point_in": POST, "hook_point_out": POST}
    base = {"d_model": D_MODEL, "expansion_factor": EXPANSION, "top_k": K, "norm_activation": "dataset-wise"}
    sae = SparseAutoEncoder(SAEConfig(**{**base, **hook_points, **settings}))
    save(folder, sae, len(folder.name))
    hook_in, hook_out = sae.cfg.hook_point_in, sae.cfg.hook_point_out
    x = inputs(17, D_MODEL)
    with torch.no_grad():
        batch, scales = sae.normalize_activations({hook_in: x, hook_out: x}, return_scale_factor=True)
        f = sae.encode(batch[hook_in])
        x_hat = sae.denormalize_activations({hook_out: sae.decode(f)}, {hook_out: scales[hook_out]})[hook_out]
        save_reference(folder, x, f, x_hat)


main(Path(sys.argv[1]))
