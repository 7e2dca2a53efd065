"""The modules of a transformer block at which each hook point is read: tables of module paths in transformers.

A path says where a sublayer ends, not what its block does with the output: Granite multiplies it before adding, GPT-1 normalises
afterwards, GPT-J adds both sublayers at once. `residual_factors` detects this by arithmetic, for any architecture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor, nn

from sae.errors import SubjectError
from sae.subject.hook_points import parse

DOWN_PROJECTIONS = (
    "mlp.down_proj",  # llama and most since
    "mlp.c_proj",  # gpt2 (a Conv1D), gpt_neo, starcoder2
    "mlp.dense_4h_to_h",  # gpt_neox, bloom, falcon, persimmon
    "mlp.fc_out",  # gptj, codegen
    "mlp.fc2",  # phi, nanochat
    "mlp.Wo",  # modernbert-decoder
    "mlp_block.down_proj",  # recurrent_gemma
    "feed_forward.down_proj",  # bamba, jamba, falcon_h1
    "feed_forward.w2",  # lfm2
    "feed_forward.value",  # rwkv
    "ffn.down_proj",  # mpt
    "ffn.proj_down",  # xlstm
    "ffn.2",  # ctrl
    "shared_mlp.output_linear",  # granitemoehybrid without experts
    "output.dense",  # bert
    "fc2",  # opt, bart: on the block itself
)
"""Paths of the MLP's down projection within a block, by model family."""

_ATTENTION_OUTPUTS = (
    *(f"self_attn.{name}" for name in ("o_proj.linear", "o_proj", "out_proj", "dense", "o_b_proj")),
    *(f"attn.{name}" for name in ("c_proj", "out_proj", "Wo", "attention.out_proj")),
    "norm_attn_norm.attn.out_proj",
    *("attention.dense", "attention.output.dense", "self_attention.dense"),
    *("linear_attn.out_proj", "linear_attn.o_proj", "multi_head_attention.dense", "temporal_block.o_proj"),
)
_MLPS = (
    *("mlp", "block_sparse_moe", "feed_forward", "mlp_block", "ffn", "shared_mlp"),
    *("intermediate.dense", "fc1"),
)
_NORMS_BEFORE_MLP = (
    *("pre_feedforward_layernorm", "pre_mlp_layernorm", "pre_ff_layernorm", "feedforward_layernorm", "ffn_norm"),
    *("channel_pre_norm", "mlp_norm", "norm_ffn", "intermediate.LayerNorm"),
    *("norm_attn_norm.norm_2", "layernorm2", "norm_2", "ln_2", "ln2", "final_layer_norm", "ln", "LayerNorm"),
)
_NORMS_AFTER_MLP = ("post_feedforward_layernorm", "post_mlp_layernorm", "post_ffn_norm", "post_norm2")
_NORMS_AFTER_ATTENTION = ("post_self_attn_layernorm", "post_operator_norm", "post_norm1")
_POST_ATTENTION = "post_attention_layernorm"
"""In a Llama it stands before the MLP. It stands after attention only if the MLP has a norm of its own under another name."""
_MLP_NORMS_OF_OTHER_NAMES = ("pre_feedforward_layernorm", "pre_mlp_layernorm", "post_feedforward_layernorm")

STREAM = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
"""The hook points of a block between which residual connections run."""


class Site(NamedTuple):
    """A tensor of the forward pass: the first input or output of a module."""

    side: Literal["input", "output"]
    module: nn.Module


def find_blocks(model: nn.Module, n_layers: int) -> nn.ModuleList:
    """The transformer blocks: the only `ModuleList` of length `n_layers` at the smallest depth. Raises `SubjectError`."""
    lists: dict[str, nn.ModuleList] = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)
    }
    depths = {name: name.count(".") for name, module in lists.items() if len(module) == n_layers}
    shallowest = [name for name, depth in depths.items() if depth == min(depths.values())]
    if len(shallowest) != 1:
        what = f"{len(shallowest)} lists" if shallowest else "no list"
        raise SubjectError(
            f"{type(model).__name__} has {what} of {n_layers} blocks to hook: this architecture is not supported"
        )
    (name,) = shallowest
    return lists[name]


def find_site(block: nn.Module, name: str) -> Site:
    """The site of the hook point `name` in its block. Raises `SubjectError` if the block has no such place."""
    kind, _ = parse(name)
    if kind in ("resid_pre", "resid_post"):
        return Site("input" if kind == "resid_pre" else "output", block)
    if kind == "mlp_act":
        return Site("input", down_projection(block, name))
    modules: dict[str, nn.Module] = dict(block.named_modules())
    after_attention = any(path in modules for path in _MLP_NORMS_OF_OTHER_NAMES)
    # OLMo 2 has no norm before the MLP: the residual stream itself enters.
    mlp_norms = (*_NORMS_BEFORE_MLP, "mlp" if after_attention else _POST_ATTENTION)
    attention_norms = (*_NORMS_AFTER_ATTENTION, *([_POST_ATTENTION] if after_attention else []))
    mlp_ends = _MLPS if _has_experts(modules) else DOWN_PROJECTIONS
    sites: dict[str, tuple[Literal["input", "output"], tuple[str, ...], str]] = {
        "resid_mid": ("input", mlp_norms, "norm before an MLP that follows attention"),
        "attn_z": ("input", _ATTENTION_OUTPUTS, "output projection of attention"),
        "attn_out": ("output", (*attention_norms, *_ATTENTION_OUTPUTS), "output projection of attention"),
        "mlp_in": ("input", _MLPS, "MLP"),
        "mlp_out": ("output", (*_NORMS_AFTER_MLP, *mlp_ends), "MLP"),
    }
    side, paths, part = sites[kind]
    present = [modules[path] for path in paths if path in modules]
    if not present:
        raise SubjectError(
            f"{name}: {type(block).__name__} has no {part} that this program knows: choose another hook point"
        )
    return Site(side, present[0])


def down_projection(block: nn.Module, name: str) -> nn.Module:
    """The module whose input are the block's neurons. Raises `SubjectError` for mixtures of experts and unknown layouts.

    `name` is the hook point, for the error message.
    """
    modules: dict[str, nn.Module] = dict(block.named_modules())
    if _has_experts(modules):
        raise SubjectError(
            f"{name}: {type(block).__name__} is a mixture of experts, which has no single neuron basis: choose a dense model, or"
            " set units.neurons = 0"
        )
    for path in DOWN_PROJECTIONS:
        if path in modules:
            return modules[path]
    raise SubjectError(
        f"{name}: {type(block).__name__} has no MLP whose down projection this program knows: choose another model, or set"
        " units.neurons = 0"
    )


def _has_experts(modules: Mapping[str, nn.Module]) -> bool:
    return any(path.rsplit(".", 1)[-1] in ("experts", "router") for path in modules)


def input_width(projection: nn.Module) -> int:
    """Number of inputs of a `Linear`, or of GPT-2's `Conv1D`, whose weight has shape (inputs, outputs). Raises `SubjectError`."""
    width = getattr(projection, "in_features", None)
    if isinstance(width, int):
        return width
    weight = getattr(projection, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise SubjectError(
            f"{type(projection).__name__} is not a projection that this program can read: choose another model"
        )
    return int(weight.shape[0])


def residual_factor(total: Tensor, base: Tensor, part: Tensor, eps: float) -> float | None:
    """The factor c for which `total` = `base` + c `part` up to rounding (`eps` relative); None if there is none, or only 0.

    A few dimensions of real models are a thousand times larger than the others, and so is their rounding. So c is the median over
    the quarter of the values in which `part` is largest relative to its surroundings. One value in 100 may miss, because a bfloat16
    model may round in another order.
    """
    difference, size = (total - base).flatten(), (total.abs() + base.abs()).flatten()
    part = part.flatten()
    clearest = (part.abs() / size.clamp(min=1e-30)).topk(max(1, part.numel() // 4)).indices
    factor = float((difference[clearest] / part[clearest]).median())
    if abs(factor - 1) < 0.02 or math.isnan(factor):
        factor = 1.0
    rounding = (4 if factor == 1 else 32) * eps * (size + abs(factor) * part.abs())
    holds = ((difference - factor * part).abs() <= rounding).float().mean() >= 0.99
    return factor if holds and abs(factor) > 0.001 else None


def residual_factors(values: Mapping[str, Tensor], eps: float) -> dict[str, float | None]:
    """The factor with which each sublayer of a block is added to the residual stream, from the block's values at `STREAM`; None if
    it is not added.

    Sublayers in sequence: mid = pre + a attn_out and post = mid + b mlp_out. In parallel: post = pre + attn_out + mlp_out. Either of
    the first two sums shows that resid_mid is the residual stream between the sublayers.
    """
    pre, mid, post, attention, mlp = (values.get(kind) for kind in STREAM)

    def factor(total: Tensor | None, base: Tensor | None, part: Tensor | None) -> float | None:
        return None if total is None or base is None or part is None else residual_factor(total, base, part, eps)

    first, second = factor(mid, pre, attention), factor(post, mid, mlp)
    both = None if attention is None or mlp is None else factor(post, pre, attention + mlp)
    return {
        "resid_mid": second if first is None else first,
        "attn_out": both if first is None else first,
        "mlp_out": both if second is None else second,
    }
