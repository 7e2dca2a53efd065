"""Reading and writing hook points during a forward pass.

Only plain forward hooks are used (`torch.nn.Module.register_forward_hook` and `register_forward_pre_hook`), so any model of
transformers works whose blocks stand in one `ModuleList`. `resid_post.L` equals `hidden_states[L + 1]` bit for bit, except at
the last block, where transformers reports the tensor after the final norm.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sae.errors import SubjectError
from sae.subject.hook_modules import Site


class Stop(Exception):
    """Ends a forward pass once all hook points have been read."""


@contextmanager
def reading(sites: Mapping[str, Site], shape: Sequence[int]) -> Iterator[dict[str, Tensor]]:
    """Within the block, a forward pass fills the yielded dict, and `Stop` ends the pass once the dict is complete.

    `shape` is (B, T), to which every value (B, T, width) is reshaped, because mixtures of experts flatten it. The hooks are
    removed at the end in any case.
    """
    values: dict[str, Tensor] = {}
    handles: list[Any] = []

    def store_as(name: str) -> Callable[[Tensor], None]:
        def store(tensor: Tensor) -> None:
            values[name] = _reshaped(tensor.detach(), shape, name)
            if len(values) == len(sites):
                raise Stop
            if values[name].dtype == tensor.dtype:
                # The pass continues, and may add to this tensor in place, as Falcon does to its MLP's output.
                values[name] = values[name].clone()

        return store

    try:
        handles.extend(_hook(site, store_as(name)) for name, site in sites.items())
        yield values
    except Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def editing(
    reads: Site, writes: Site, edit: Callable[[Tensor], Tensor], shape: Sequence[int], stream: nn.Module | None = None
) -> Iterator[None]:
    """Within the block, forward passes run with `edit(value at reads)` in place of the value at `writes`.

    `stream`, if a residual connection bypasses `writes`, is the block whose output has to change by the same difference. `edit`
    must not change its argument. Raises `SubjectError` if `writes` runs before `reads`.
    """
    edited: list[Tensor] = []
    difference: list[Tensor] = []

    def read(tensor: Tensor) -> None:
        edited[:] = [edit(_reshaped(tensor, shape, "edit"))]

    def write(tensor: Tensor) -> Tensor:
        if reads == writes:
            read(tensor)
        if not edited:
            raise SubjectError("the hook point that is written runs before the one that is read: swap the two")
        new = edited.pop().to(tensor.dtype).reshape(tensor.shape)
        difference[:] = [new - tensor]
        return new

    handles = [] if reads == writes else [_hook(reads, read)]
    handles.append(_hook(writes, write))
    if stream is not None:
        handles.append(_hook(Site("output", stream), lambda tensor: tensor + difference.pop().reshape(tensor.shape)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _reshaped(tensor: Tensor, shape: Sequence[int], name: str) -> Tensor:
    """`tensor` as float32 (B, T, width). Raises `SubjectError` if it does not hold one vector per token."""
    if tensor.numel() != shape[0] * shape[1] * tensor.shape[-1]:
        raise SubjectError(
            f"{name}: this model has {list(tensor.shape)} values there for {list(shape)} tokens, not one vector per token: choose"
            " another model"
        )
    return tensor.reshape(*shape, tensor.shape[-1]).to(torch.float32)


def _hook(site: Site, function: Callable[[Tensor], Tensor | None]) -> Any:
    """Call `function` with the site's tensor in each pass; a tensor that it returns replaces the site's. Returns the hook's handle."""
    module = site.module
    if site.side == "output":

        def after(_module: nn.Module, _args: Any, out: Any) -> Any:
            if not isinstance(out, (tuple, list)):
                return function(out)
            new, kind = function(out[0]), type(out)
            return None if new is None else getattr(kind, "_make", kind)((new, *out[1:]))

        return module.register_forward_hook(after)
    first_parameter = next(iter(inspect.signature(module.forward).parameters))

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        new = function(args[0] if args else kwargs[first_parameter])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, first_parameter: new})

    return module.register_forward_pre_hook(before, with_kwargs=True)
