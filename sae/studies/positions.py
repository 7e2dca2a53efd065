"""The positions of a text at which an intervention acts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sae.errors import SubjectError

_NUMBERS = re.compile(r"\d+(-\d+)?([,+]\d+(-\d+)?)*")


@dataclass(frozen=True)
class Positions:
    """All positions, those of the prompt, its last one, those of new tokens, or positions of the prompt by number.

    `numbers` count tokens from the start of the context, BOS included. The first position is never changed: subjects have norms
    without meaning there.
    """

    which: Literal["all", "prompt", "last", "new", "numbers"] = "all"
    numbers: tuple[int, ...] = ()

    def mask(self, absolute: Tensor, n_prompt: int) -> Tensor:
        """Which of the positions `absolute` (T,) of a text are changed, whose prompt has `n_prompt` tokens."""
        if self.which == "all":
            return absolute > 0
        if self.which == "prompt":
            return (absolute > 0) & (absolute < n_prompt)
        if self.which == "last":
            return (absolute > 0) & (absolute == n_prompt - 1)
        if self.which == "new":
            return absolute >= n_prompt
        return (absolute > 0) & torch.isin(absolute, torch.tensor(self.numbers))

    def check(self, n_prompt: int) -> None:
        """Raise `SubjectError` if a number is outside a prompt of this length, or names the first position."""
        for number in self.numbers:
            if not 0 < number < n_prompt:
                raise SubjectError(
                    f"position {number} cannot be steered in a prompt of {n_prompt} tokens: choose positions from 1 to {n_prompt - 1}"
                )


ALL = Positions()


def parse_positions(text: str) -> Positions:
    """`all`, `prompt`, `last`, `new`, or numbers such as `3` or `2-5,9`. Raises `SubjectError`."""
    if text in ("all", "prompt", "last", "new"):
        return Positions(text)  # type: ignore[arg-type]  # the comparison has narrowed it, which mypy does not see
    if not _NUMBERS.fullmatch(text):
        raise SubjectError(f"positions {text!r} are unknown: write all, prompt, last, new, or numbers such as 2-5,9")
    numbers: set[int] = set()
    for part in re.split("[,+]", text):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return Positions("numbers", tuple(sorted(numbers)))
