"""Gradients of a difference of logits, and of features' pre-activations, at the values that dictionaries stand for.

The pass is the real model's: every dictionary's reconstruction plus its error is the value itself, and attention patterns and norms are
differentiated with everything else. In a pass of *total* gradients nothing is held fixed. In a pass of *direct* gradients the features
of each dictionary are: the gradient at an earlier dictionary's value then contains no path through a later one's features, only those
past it and through its error. By the chain rule a total gradient is the direct one plus the sum over all later features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.studies.attribution.active_features import ActiveFeatures
from sae.studies.attribution.splicing import Edit, splicing
from sae.subject.model import Subject


@dataclass(frozen=True)
class LogitDifference:
    """The logit of a token minus that of another, or minus the mean over the vocabulary if there is no other."""

    target: int
    against: int | None = None

    def of(self, logits: Tensor) -> Tensor:
        """The differences (B,) of logits (B, vocabulary)."""
        other = logits.mean(dim=1) if self.against is None else logits[:, self.against]
        return logits[:, self.target] - other


@dataclass(frozen=True, eq=False)
class Totals:
    """The difference of logits after token ids (T,), and for each dictionary its active features and the total gradient (T, d_out)."""

    ids: Tensor
    difference: LogitDifference
    value: float
    active: tuple[ActiveFeatures, ...]
    gradients: tuple[Tensor, ...]

    @property
    def dictionaries(self) -> list[Dictionary]:
        """The dictionaries, in order."""
        return [each.dictionary for each in self.active]


def total_gradients(
    subject: Subject, dictionaries: Sequence[Dictionary], ids: Tensor, difference: LogitDifference
) -> Totals:
    """The gradients for one text's token ids (T,). Memory is that of the subject's pass with gradients."""
    seen: list[tuple[Tensor, Tensor]] = [(Tensor(), Tensor())] * len(dictionaries)
    probes = _probes(subject, dictionaries, len(ids))

    def edit_of(number: int) -> Edit:
        def edit(x: Tensor, y: Tensor) -> Tensor:
            seen[number] = x.detach()[0].clone(), y.detach()[0].clone()  # the pass may add to them in place
            return y + probes[number]

        return edit

    with torch.enable_grad(), splicing(subject, dictionaries, [edit_of(n) for n in range(len(probes))], (1, len(ids))):
        value = difference.of(subject.last_logits(ids[None]))[0]
        gradients = _gradients(value, probes, keep=False)
    with torch.no_grad():
        active = tuple(ActiveFeatures.of(d, x, y) for d, (x, y) in zip(dictionaries, seen, strict=True))
    return Totals(ids, difference, float(value.detach()), active, tuple(gradients))


class DirectGradients:
    """One pass with direct gradients, from which those of the difference of logits and of any active feature are read."""

    def __init__(self, subject: Subject, totals: Totals) -> None:
        ids, active = totals.ids, totals.active
        self._active = active
        self._probes = _probes(subject, totals.dictionaries, len(ids))
        self._z: list[Tensor] = [Tensor()] * len(active)

        def edit_of(number: int) -> Edit:
            def edit(x: Tensor, y: Tensor) -> Tensor:
                self._z[number] = active[number].pre_activations(x[0])
                features = active[number].output(self._z[number])
                return y - features + features.detach() + self._probes[number]

            return edit

        edits = [edit_of(number) for number in range(len(active))]
        with torch.enable_grad(), splicing(subject, totals.dictionaries, edits, (1, len(ids))):
            self._value = totals.difference.of(subject.last_logits(ids[None]))[0]

    def of_difference(self) -> list[Tensor]:
        """The gradient of the difference of logits at each dictionary's value (T, d_out)."""
        return _gradients(self._value, self._probes, keep=True)

    def of_feature(self, number: int, position: int, feature: int) -> list[Tensor]:
        """The gradient of the pre-activation of a feature of dictionary `number` at each dictionary's value; 0 at later ones."""
        column = int(torch.searchsorted(self._active[number].distinct, feature))
        return _gradients(self._z[number][position, column], self._probes, keep=True)


def _probes(subject: Subject, dictionaries: Sequence[Dictionary], length: int) -> list[Tensor]:
    """Zeros that are added to each dictionary's value, (1, T, d_out): the gradient at the value is theirs."""
    return [torch.zeros(1, length, d.d_out, device=subject.device, requires_grad=True) for d in dictionaries]


def _gradients(value: Tensor, probes: Sequence[Tensor], *, keep: bool) -> list[Tensor]:
    if not value.requires_grad:
        return [torch.zeros_like(probe[0]) for probe in probes]
    options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True, "retain_graph": keep}
    return [gradient[0] for gradient in torch.autograd.grad(value, list(probes), **options)]
