"""Formats that are recognised but not supported, so that the error message can give the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from sae.errors import DictionaryError
from sae.formats.location import DictionaryLocation


@dataclass
class Unsupported:
    """The `Adapter` of a format that cannot be evaluated at one hook point of one model: loading raises an error with the reason."""

    PUBLISHER: str
    FILES: tuple[str, ...]
    reason: str
    CHECKED: str = "not supported"

    def matches(self, location: DictionaryLocation) -> bool:
        """Whether it is of this format."""
        return location.has_files(*self.FILES)

    def load(self, location: DictionaryLocation) -> NoReturn:
        """Raise `DictionaryError`."""
        raise DictionaryError(f"{location.name} {self.reason}")


crosscoder = Unsupported(
    "crosscoders of two models",
    ("cfg.json", "cc_weights.pt"),
    "is a crosscoder, whose features read several models at once and have no value at one hook point of one model: not supported",
)
temporal = Unsupported(
    "temporal SAEs",
    ("conf.yaml", "latest_ckpt.safetensors"),
    "is a temporal SAE, whose features depend on earlier tokens and not only on one value at a hook point: not supported",
)
