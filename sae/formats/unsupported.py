"""Formats that are known by their files and not supported, so that the user learns why and not that nothing was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from sae.errors import DictionaryError
from sae.formats.location import Place


@dataclass
class Refused:
    """A format that cannot be evaluated at one hook point of one model, an `Adapter` that says so."""

    PUBLISHER: str
    FILES: tuple[str, ...]
    reason: str
    CHECKED: str = "refused by name"

    def matches(self, place: Place) -> bool:
        """Whether it is of this format."""
        return place.has(*self.FILES)

    def load(self, place: Place) -> NoReturn:
        """Raise `DictionaryError`."""
        raise DictionaryError(f"{place.name} {self.reason}")


crosscoder = Refused(
    "crosscoders of two models",
    ("cfg.json", "cc_weights.pt"),
    "is a crosscoder: each feature reads several models at once, so it has no value at one hook point of one model: not supported",
)
temporal = Refused(
    "temporal SAEs",
    ("conf.yaml", "latest_ckpt.safetensors"),
    "is a temporal SAE: a feature's value depends on the tokens before, which one hook point does not hold: not supported",
)
