"""What an object says of itself in the configuration that its library keeps: its hook point, and whether it was trained with BOS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sae.subject.hook_points import to_hook_point

_HOOK_POINTS = ("hook_point", "hook_name", "hookpoint")
_BOS = ("prepend_bos",)


def hook_point_of(given: Any) -> str | None:
    """The hook point that the object reads; None if it does not say, or names a place that is none."""
    return next(
        (known for name in _stated(given, _HOOK_POINTS) if isinstance(name, str) and (known := to_hook_point(name))),
        None,
    )


def bos_of(given: Any) -> bool | None:
    """Whether contexts began with BOS in training; None if it does not say."""
    return next((stated for stated in _stated(given, _BOS) if isinstance(stated, bool)), None)


def _stated(given: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """The values under these names, in the object, its `cfg` or `config`, and the `metadata` of that."""
    config = getattr(given, "cfg", None) or getattr(given, "config", None)
    for holder in (given, config, getattr(config, "metadata", None)):
        for name in names:
            yield holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
