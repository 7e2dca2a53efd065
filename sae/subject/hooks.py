"""Reading and writing hook points during a forward pass.

All is plain forward hooks (`torch.nn.Module.register_forward_hook` and `register_forward_pre_hook`), so any model of
transformers whose blocks stand in one `ModuleList` works. `resid_post.L` equals `hidden_states[L + 1]` bit for bit, except at
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
    """Ends a forward pass once everything asked for has been read."""


@contextmanager
def reading(sites: Mapping[str, Site], shape: Sequence[int]) -> Iterator[dict[str, Tensor]]:
    """Within the block, a forward pass fills the yielded dict and is ended by `Stop` when it is complete.

    `shape` is (B, T), to which every value (B, T, width) is restored, because mixtures of experts flatten it. Hooks are
    removed on the way out, whatever happened.
    """
    values: dict[str, Tensor] = {}
    handles: list[Any] = []

    def keep(name: str) -> Callable[[Tensor], None]:
        def store(tensor: Tensor) -> None:
            values[name] = _restored(tensor.detach(), shape, name)
            if len(values) == len(sites):
                raise Stop
            if values[name].dtype == tensor.dtype:
                # What runs on may add to this very tensor in place, as Falcon does to its MLP's output.
                values[name] = values[name].clone()

        return store

    try:
        handles.extend(_hook(site, keep(name)) for name, site in sites.items())
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
    """Within the block, forward passes run with `edit(value at reads)` in the place of the value at `writes`.

    `stream` is the block whose output moves by as much as the value at `writes`, where a residual connection goes round
    that place. `edit` leaves its argument as it is. Raises `SubjectError` when `writes` runs before `reads`.
    """
    seen: list[Tensor] = []
    moved: list[Tensor] = []

    def read(tensor: Tensor) -> None:
        seen[:] = [edit(_restored(tensor, shape, "edit"))]

    def write(tensor: Tensor) -> Tensor:
        if reads == writes:
            read(tensor)
        if not seen:
            raise SubjectError("what is written runs before what is read: swap the two hook points")
        new = seen.pop().to(tensor.dtype).reshape(tensor.shape)
        moved[:] = [new - tensor]
        return new

    handles = [] if reads == writes else [_hook(reads, read)]
    handles.append(_hook(writes, write))
    if stream is not None:
        handles.append(_hook(Site("output", stream), lambda tensor: tensor + moved.pop().reshape(tensor.shape)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _restored(tensor: Tensor, shape: Sequence[int], name: str) -> Tensor:
    """`tensor` as float32 (B, T, width). Raises `SubjectError` when it does not hold one vector a token."""
    if tensor.numel() != shape[0] * shape[1] * tensor.shape[-1]:
        raise SubjectError(
            f"{name}: this model has {list(tensor.shape)} values there for {list(shape)} tokens, not one vector a token: choose"
            " another model"
        )
    return tensor.reshape(*shape, tensor.shape[-1]).to(torch.float32)


def _hook(site: Site, see: Callable[[Tensor], Tensor | None]) -> Any:
    """Show `see` the site's tensor in each pass; what it returns, if anything, takes its place."""
    module = site.module
    if site.side == "output":

        def output(_module: nn.Module, _args: Any, out: Any) -> Any:
            if not isinstance(out, (tuple, list)):
                return see(out)
            new, kind = see(out[0]), type(out)
            return None if new is None else getattr(kind, "_make", kind)((new, *out[1:]))

        return module.register_forward_hook(output)
    name = next(iter(inspect.signature(module.forward).parameters))

    def enter(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        new = see(args[0] if args else kwargs[name])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, name: new})

    return module.register_forward_pre_hook(enter, with_kwargs=True)
