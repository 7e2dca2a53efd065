"""Clamps units to chosen activations during the subject's forward passes.

A feature is clamped as in *Scaling Monosemanticity*, "Influence on Behavior": the residual stream is the dictionary's reconstruction
plus its error; the feature's activation in the reconstruction is set to a value, and the error is kept. A transcoder's output changes
by the same difference. A neuron is set to the value times its sign, so that features and neurons are treated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sae.dictionary import Activation, Dictionary
from sae.errors import SubjectError
from sae.harvest.encoder import FeatureEncoder
from sae.harvest.units import UnitKey
from sae.subject.model import Subject


@dataclass(frozen=True)
class Rows:
    """What each row of a batch is clamped to: unit `units[i]`, a number among the clamp's units, to activation `values[i]`.

    `directions` (B, width of `Clamp.writes`), if given, are written in place of the unit's own direction: the unit is silenced, and
    the value times the row's direction is added instead. If `added`, the values are added to the units' activations, whatever these
    are, instead of replacing them.
    """

    units: Tensor
    values: Tensor
    directions: Tensor | None = None
    added: bool = False


@dataclass(frozen=True)
class Clamp:
    """Clamps units of one kind. `directions` (units, width) are those that they write at the hook point `writes`, with their norms.

    `changes`, given x (B, T, width of `reads`) and rows, returns the change (B, T, width of `writes`).
    """

    subject: Subject
    reads: str
    writes: str
    directions: Tensor
    changes: Callable[[Tensor, Rows], Tensor]

    @contextmanager
    def __call__(self, rows: Rows, shape: Sequence[int], first: int = 0) -> Iterator[None]:
        """Within the block, passes over tokens of `shape` (B, T) run with the rows' units clamped, from position `first` on."""
        changes: list[Tensor] = []

        def measure(x: Tensor) -> Tensor:
            with torch.autocast(
                x.device.type, enabled=False
            ):  # activations are float32, in whichever pass they are read
                changes[:] = [self.changes(x, rows)]
            changes[0][:, :first] = 0
            return x

        # Both are made before one is entered: making one may run the subject, to see what stands at a hook point.
        if self.reads != self.writes:
            edits = [
                self.subject.editing(self.reads, measure, shape),
                self.subject.editing(self.writes, lambda y: y + changes[0], shape),
            ]
        else:
            edits = [self.subject.editing(self.reads, lambda x: measure(x) + changes[0], shape)]
        with ExitStack() as stack:
            for edit in edits:
                stack.enter_context(edit)
            yield


def make_clamp(subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey]) -> Clamp:
    """A clamp of units of one kind. Raises `SubjectError` for features of a dictionary that writes to several layers."""
    if units[0].kind == "neuron":
        return _neuron_clamp(subject, subject.neuron_hook_point(dictionary.hook_point), units)
    check_steerable(dictionary)
    return _feature_clamp(subject, dictionary, [unit.index for unit in units])


def check_steerable(dictionary: Dictionary) -> None:
    """Raise `SubjectError` for a dictionary that writes to several layers: its features have no one place to be set at."""
    if not dictionary.reconstructs:
        raise SubjectError(
            f"{dictionary.path} writes to several layers, so its features cannot be steered: use an autoencoder or the transcoder of one layer"
        )


def _neuron_clamp(subject: Subject, hook_point: str, units: Sequence[UnitKey]) -> Clamp:
    index = torch.tensor([unit.index for unit in units], device=subject.device)
    directions = torch.zeros(len(units), subject.width(hook_point), device=subject.device)
    sign = torch.tensor([-1.0 if unit.sign == "-" else 1.0 for unit in units], device=subject.device)
    directions[torch.arange(len(units)), index] = sign

    def changes(m: Tensor, rows: Rows) -> Tensor:
        units, values = rows.units.to(m.device), rows.values.to(m.device)
        written = directions[units] if rows.directions is None else rows.directions.to(m.device)
        change = (values[:, None] * written)[:, None].repeat(1, m.shape[1], 1)
        if not rows.added:
            row = torch.arange(len(m), device=m.device)
            change[row, :, index[units]] -= m[row, :, index[units]]
        return change

    return Clamp(subject, hook_point, hook_point, directions, changes)


def _feature_clamp(subject: Subject, dictionary: Dictionary, features: Sequence[int]) -> Clamp:
    encoder = FeatureEncoder(dictionary, features, torch.arange(len(features), device=subject.device))
    chosen = _only(dictionary, features).to(subject.device)
    directions = chosen.W_dec / chosen.decoder_norm.clamp_min(1e-12)[:, None]

    def changes(x: Tensor, rows: Rows) -> Tensor:
        """(value - activation) * direction, passed through the decoder's denormalisation. That is affine, so the difference from no
        change at all is the change itself."""
        units, values = rows.units.to(x.device), rows.values.to(x.device)
        own = directions[units][:, None]
        written = own if rows.directions is None else rows.directions.to(x.device)[:, None]
        features_sum = (values[:, None, None] * written).expand(-1, x.shape[1], -1)
        if not rows.added:
            features_sum = features_sum - _activations(encoder, len(features), x, units)[..., None] * own
        unchanged = chosen.complete_decoding(torch.zeros_like(features_sum), x)
        return chosen.complete_decoding(features_sum, x) - unchanged

    return Clamp(
        subject, dictionary.hook_point, dictionary.hook_point_out or dictionary.hook_point, directions, changes
    )


def _activations(encoder: FeatureEncoder, n_units: int, x: Tensor, units: Tensor) -> Tensor:
    """The activation (B, T) of each row's unit at x (B, T, d_in)."""
    flat, unit = x.flatten(0, 1), units.repeat_interleave(x.shape[1])
    column = torch.arange(len(flat), device=x.device)
    activations = torch.zeros(len(flat), device=x.device)
    for make in encoder.blocks(flat, torch.ones_like(column, dtype=torch.bool)):
        block = make()
        number = torch.full((n_units,), -1, device=x.device)
        number[block.units] = torch.arange(len(block.units), device=x.device)
        here = number[unit] >= 0
        activations[here] = block.values_at(number[unit[here]], column[here])
    return activations.view(*x.shape[:2])


def _only(dictionary: Dictionary, features: Sequence[int]) -> Dictionary:
    """The dictionary reduced to some features, without a skip connection, which no feature takes part in."""
    rows = torch.tensor(features, device=dictionary.W_dec.device)
    threshold = None if dictionary.threshold is None else dictionary.threshold[rows]
    activation: Activation = "relu" if threshold is None else "jumprelu"
    return replace(
        dictionary, W_enc=dictionary.W_enc[rows], b_enc=dictionary.b_enc[rows], W_dec=dictionary.W_dec[rows],
        threshold=threshold, activation=activation, k=None, encoder=None, W_skip=None,
    )  # fmt: skip
