"""An intervention: several units set to chosen activations, at chosen positions, in every pass over a text.

Each unit is clamped, or added to, as in `sae.analysis.clamp`. Units of one dictionary read the same value, so that the change of the
stream is the sum of their changes; units of several layers act one after the other, as the pass reaches them. As a control, the
changes of a row can be turned to another direction: at every position the length of the change stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sae.analysis.clamp import Clamp, make_clamp
from sae.analysis.clamp import Rows as ClampRows
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.harvest.units import UnitKey
from sae.studies.positions import ALL, Positions
from sae.subject.model import Subject


@dataclass(frozen=True)
class Target:
    """A unit that is set: factor 1 stands for the activation `value`."""

    dictionary: Dictionary
    unit: UnitKey
    value: float
    positions: Positions = ALL


@dataclass(frozen=True)
class Row:
    """A text of a batch: its first `n_prompt` ids are the prompt, BOS included. All targets are set to `factor` times their values.

    Without a factor nothing is changed. `along` names the directions of `Intervention.directions` to which changes are turned, along
    them for a positive factor and against them for a negative one; if it is empty, the units write their own.
    """

    ids: tuple[int, ...]
    n_prompt: int
    factor: float | None = None
    along: str = ""


@dataclass(frozen=True)
class Site:
    """The targets of one dictionary and kind, which read and write the same hook points."""

    clamp: Clamp
    targets: tuple[Target, ...]

    def changes(self, x: Tensor, rows: Sequence[Row], start: int, added: bool) -> Tensor:
        """The change (B, T, width written) of rows that begin at position `start`, from the value x (B, T, width read).

        That of a row without a factor is not used.
        """
        absolute = torch.arange(start, start + x.shape[1])
        factors = torch.tensor([row.factor or 0.0 for row in rows])
        total: Tensor | None = None
        for number, target in enumerate(self.targets):
            units = torch.full((len(rows),), number, dtype=torch.int64)
            change = self.clamp.changes(x, ClampRows(units, factors * target.value, added=added))
            masks = [target.positions.mask(absolute, row.n_prompt) for row in rows]
            change = torch.where(torch.stack(masks).to(change.device)[..., None], change, 0.0)
            total = change if total is None else total + change
        assert total is not None
        return total


@dataclass(frozen=True)
class Intervention:
    """Sets targets in passes over rows. Raises `SubjectError`, once made, for a unit that cannot be set or is named twice."""

    subject: Subject
    sites: tuple[Site, ...]
    added: bool = False
    """Whether values are added to activations instead of replacing them."""
    directions: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Unit vectors (width,) by name and by the hook point that is written."""

    @property
    def writes(self) -> list[str]:
        """The hook points that are written, in the order of the sites."""
        return list(dict.fromkeys(site.clamp.writes for site in self.sites))

    @contextmanager
    def __call__(self, rows: Sequence[Row], shape: Sequence[int], start: int = 0) -> Iterator[None]:
        """Within the block, passes over tokens of `shape` (B, T), the first at position `start`, run with the rows' targets set.

        Without a factor in any row there is no hook; beside rows with one, a row without is left as it is, bit for bit.
        """
        edits = [self._edit(site, rows, shape, start) for site in self.sites] if any(_is_set(r) for r in rows) else []
        # All are made before one is entered: making one may run the subject, to see what stands at a hook point.
        with ExitStack() as stack:
            for pair in edits:
                for edit in pair:
                    stack.enter_context(edit)
            yield

    def _edit(
        self, site: Site, rows: Sequence[Row], shape: Sequence[int], start: int
    ) -> list[AbstractContextManager[None]]:
        changes: list[Tensor] = []
        is_set = torch.tensor([_is_set(row) for row in rows])

        def measure(x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                change = site.changes(x, rows, start, self.added)
                changes[:] = [self._turned(change, rows, site.clamp.writes)]
            return x

        def write(y: Tensor) -> Tensor:
            return torch.where(is_set.to(y.device)[:, None, None], y + changes[0], y)

        reads, writes = site.clamp.reads, site.clamp.writes
        if reads == writes:
            return [self.subject.editing(reads, lambda x: write(measure(x)), shape)]
        return [self.subject.editing(reads, measure, shape), self.subject.editing(writes, write, shape)]

    def _turned(self, change: Tensor, rows: Sequence[Row], hook_point: str) -> Tensor:
        """The change with the rows that have a name in `along` turned to its direction."""
        turned = change.clone()
        for number, row in enumerate(rows):
            if row.along:
                direction = self.directions[row.along][hook_point].to(change.device)
                sign = -1.0 if (row.factor or 0.0) < 0 else 1.0
                turned[number] = sign * change[number].norm(dim=-1, keepdim=True) * direction
        return turned


def intervene(subject: Subject, targets: Sequence[Target], *, added: bool = False) -> Intervention:
    """The intervention that sets these targets. Raises `SubjectError` as `make_clamp` does, and for a unit that is named twice."""
    groups: dict[str | int, list[Target]] = {}
    for target in targets:
        is_neuron = target.unit.kind == "neuron"  # of a layer, whichever of its dictionaries names it
        key = subject.neuron_hook_point(target.dictionary.hook_point) if is_neuron else id(target.dictionary)
        group = groups.setdefault(key, [])
        if any(target.unit.index == other.unit.index for other in group):
            raise SubjectError(f"{target.unit.unit_id} is set twice: name each unit, or one sign of a neuron, once")
        group.append(target)
    sites = [
        Site(make_clamp(subject, group[0].dictionary, [target.unit for target in group]), tuple(group))
        for group in groups.values()
    ]
    return Intervention(subject, tuple(sites), added)


def random_directions(intervention: Intervention, seed: int) -> dict[str, Tensor]:
    """A random unit vector for every hook point that is written."""
    generator = torch.Generator().manual_seed(seed)
    widths = {site.clamp.writes: site.clamp.directions.shape[1] for site in intervention.sites}
    drawn = {hook_point: torch.randn(width, generator=generator) for hook_point, width in widths.items()}
    return {hook_point: vector / vector.norm() for hook_point, vector in drawn.items()}


def _is_set(row: Row) -> bool:
    return row.factor is not None
