"""What an object says of itself in the configuration that its library keeps: its hook points, and whether it was trained with BOS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sae.subject.hook_points import to_hook_point

_HOOK_POINTS = ("hook_point", "hook_name", "hookpoint")
_HOOK_POINTS_OUT = ("hook_point_out", "hook_name_out")
_BOS = ("prepend_bos",)


def hook_point_of(given: Any) -> str | None:
    """The hook point that the object reads; None if it does not say, or names a place that is none."""
    return next(
        (known for name in _stated(given, _HOOK_POINTS) if isinstance(name, str) and (known := to_hook_point(name))),
        None,
    )


def hook_point_out_of(given: Any, hook_point: str) -> str | None:
    """The hook point that the object writes, if that is another than it reads; None if it does not say.

    A transcoder of sparsify states only that it is one: it writes the output of the MLP whose input it reads.
    """
    names = (to_hook_point(name) for name in _stated(given, _HOOK_POINTS_OUT) if isinstance(name, str))
    if (stated := next(filter(None, names), None)) and stated != hook_point:
        return stated
    kind, _, layer = hook_point.partition(".")
    transcodes = any(stated is True for stated in _stated(given, ("transcode",)))
    return f"mlp_out.{layer}" if transcodes and kind == "mlp_in" else None


def bos_of(given: Any) -> bool | None:
    """Whether contexts began with BOS in training; None if it does not say."""
    return next((stated for stated in _stated(given, _BOS) if isinstance(stated, bool)), None)


def _stated(given: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """The values under these names, in the object, its `cfg` or `config`, and the `metadata` of that."""
    config = getattr(given, "cfg", None) or getattr(given, "config", None)
    for holder in (given, config, getattr(config, "metadata", None)):
        for name in names:
            yield holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
