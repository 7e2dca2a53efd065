"""Hook points: which tensor of which module each name stands for, and how it is read.

    resid_post.L   output of block L: the residual stream after it         width d_model
    mlp_act.L      input of block L's MLP down projection: the neurons     width of the MLP

Both are read with plain forward hooks (`torch.nn.Module.register_forward_hook` and `register_forward_pre_hook`), so any model
of transformers whose blocks stand in one `ModuleList` works. `resid_post.L` equals `hidden_states[L + 1]` bit for bit, except
at the last block, where transformers reports the tensor after the final norm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sae.errors import SubjectError

_HOOK_POINT = re.compile(r"(resid_post|mlp_act)\.(\d+)")

DOWN_PROJECTIONS = (
    "mlp.down_proj",  # llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3, phi3, olmo2, cohere, granite, smollm3, glm4
    "mlp.c_proj",  # gpt2 (a Conv1D), gptneo, starcoder2
    "mlp.dense_4h_to_h",  # gptneox, bloom, falcon
    "mlp.fc_out",  # gptj
    "mlp.fc2",  # phi
    "ffn.down_proj",  # mpt
    "fc2",  # opt: on the block itself
)
"""Where the down projection stands within a block, by family."""


class Stop(Exception):
    """Ends a forward pass once everything asked for has been read."""


def parse(hook_point: str) -> tuple[str, int]:
    """Split `resid_post.12` into `("resid_post", 12)`. Raises `SubjectError`."""
    match = _HOOK_POINT.fullmatch(hook_point)
    if not match:
        raise SubjectError(
            f"hook point {hook_point!r} is not known: use resid_post.L or mlp_act.L, such as resid_post.12"
        )
    return match[1], int(match[2])


def find_blocks(model: nn.Module, n_layers: int) -> nn.ModuleList:
    """The transformer blocks: the shallowest `ModuleList` of length `n_layers`. Raises `SubjectError`."""
    found = [(name.count("."), module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    fitting = [(depth, module) for depth, module in found if len(module) == n_layers]
    if not fitting:
        raise SubjectError(
            f"{type(model).__name__} has no list of {n_layers} blocks to hook: this architecture is not supported"
        )
    return min(fitting, key=lambda pair: pair[0])[1]


def down_projection(block: nn.Module, name: str) -> nn.Module:
    """The module whose input are the block's neurons. Raises `SubjectError` on mixture-of-experts and unknown layouts.

    `name` is the hook point, for the message.
    """
    modules: dict[str, nn.Module] = dict(block.named_modules())
    if any(path.rsplit(".", 1)[-1] == "experts" for path in modules):
        raise SubjectError(
            f"{name}: {type(block).__name__} is a mixture of experts, which has no single neuron basis: choose a dense model,"
            " or set units.neurons = 0"
        )
    for path in DOWN_PROJECTIONS:
        if path in modules:
            return modules[path]
    raise SubjectError(
        f"{name}: {type(block).__name__} has none of the known down projections ({', '.join(DOWN_PROJECTIONS)}):"
        " choose another model, or set units.neurons = 0"
    )


def input_width(projection: nn.Module) -> int:
    """Number of inputs of a `Linear`, or of GPT-2's `Conv1D`, whose weight is (inputs, outputs)."""
    width = getattr(projection, "in_features", None)
    if isinstance(width, int):
        return width
    weight = getattr(projection, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise SubjectError(
            f"{type(projection).__name__} is not a down projection this program can read: choose another model"
        )
    return int(weight.shape[0])


@contextmanager
def reading(sites: Mapping[str, tuple[str, nn.Module]], shape: Sequence[int]) -> Iterator[dict[str, Tensor]]:
    """Within the block, a forward pass fills the yielded dict and is ended by `Stop` when it is complete.

    `sites` maps each name to ("input" | "output", module); `shape` is (B, T), to which every value (B, T, width) is
    restored, because some OPT versions flatten it. Hooks are removed on the way out, whatever happened.
    """
    values: dict[str, Tensor] = {}
    handles: list[Any] = []

    def keep(name: str) -> Callable[[Any], None]:
        def store(value: Any) -> None:
            tensor = value[0] if isinstance(value, tuple) else value
            kept = tensor.detach().reshape(*shape, tensor.shape[-1]).to(torch.float32)
            values[name] = kept
            if len(values) == len(sites):
                raise Stop
            # What runs on may add to this very tensor in place, as Falcon does to its MLP's output.
            values[name] = kept.clone()

        return store

    try:
        for name, (side, module) in sites.items():
            store = keep(name)
            if side == "input":
                handles.append(module.register_forward_pre_hook(lambda _module, args, store=store: store(args)))
            else:
                handles.append(module.register_forward_hook(lambda _module, _args, out, store=store: store(out)))
        yield values
    except Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()
