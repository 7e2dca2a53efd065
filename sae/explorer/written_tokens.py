"""The tokens that many units promote and suppress most, by the direct effect of their directions on the logits.

They are those of `sae.analysis.directions.logit_effects`, with the effects, for all units of a dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae.analysis.directions import LogitLens, stream_directions
from sae.dictionary import Dictionary
from sae.harvest.encoder import topk_indices
from sae.harvest.units import UnitKey
from sae.subject.model import Subject
from sae.subject.token_text import REPLACEMENT, token_texts

_ELEMENTS = 1 << 24
"""Logits in memory at once."""


class TokenEffect(NamedTuple):
    """A token, and by how much a direction of the unit's length raises its logit beside the mean of the vocabulary."""

    token: str
    effect: float


class WrittenTokens:
    """The tokens of units of a dictionary. Special tokens are left out, and so are tokens that are not valid text by themselves."""

    def __init__(self, subject: Subject, dictionary: Dictionary) -> None:
        self._subject, self._dictionary = subject, dictionary
        self._lens = LogitLens.of(subject, dictionary)
        self._texts: dict[int, str] = {}

    @torch.inference_mode()
    def of(self, units: Sequence[UnitKey], n: int) -> tuple[list[list[TokenEffect]], list[list[TokenEffect]]]:
        """The `n` tokens that each unit's direction raises most, and the `n` that it lowers most, of units of one kind. Empty if the effects
        are undefined: see `logit_effects`."""
        if self._lens is None or not units:
            return [[] for _ in units], [[] for _ in units]
        raised: list[list[TokenEffect]] = []
        lowered: list[list[TokenEffect]] = []
        usable = self._lens.usable()
        rows = max(1, _ELEMENTS // len(self._lens.weight))
        for start in range(0, len(units), rows):
            part = units[start : start + rows]
            directions = stream_directions(self._subject, self._dictionary, part)
            if directions is None:
                return [[] for _ in units], [[] for _ in units]
            effects = self._lens.of_stream(directions)[:, : len(usable)]
            effects[:, ~usable] = 0.0  # neither raised nor lowered
            for found, sign in ((raised, 1.0), (lowered, -1.0)):
                found += self._largest(effects.mul_(sign), sign, n)
        return raised, lowered

    def _largest(self, effects: Tensor, sign: float, n: int) -> list[list[TokenEffect]]:
        """The `n` tokens of largest positive effect in each row that are valid text by themselves."""
        ids = topk_indices(effects, min(4 * n, effects.shape[1]))
        values, order = effects.gather(1, ids).sort(dim=1, descending=True, stable=True)
        ids = ids.gather(1, order)
        found = []
        for row, row_values in zip(ids.tolist(), values.tolist(), strict=True):
            pairs = ((self._text(i), v) for i, v in zip(row, row_values, strict=True) if v > 0)
            found.append([TokenEffect(text, sign * v) for text, v in pairs if text][:n])
        return found

    def _text(self, i: int) -> str:
        """The text of a token; empty if it is none by itself."""
        if i not in self._texts:
            [text] = token_texts(self._subject.tokenizer, [i])
            self._texts[i] = "" if REPLACEMENT in text else text
        return self._texts[i]
