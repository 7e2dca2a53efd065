"""The study `neighbours`: nearest features, a map, and named groups, as in the neighbourhoods of *Scaling Monosemanticity* and the
clusters of Clio (Tamkin et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.studies.finding import Finding, Listing, Picture
from autointerp.studies.neighbours import assignment, layout, naming, prose, scatter, tables
from autointerp.studies.neighbours.assignment import Trial
from autointerp.studies.neighbours.features import Features
from autointerp.studies.neighbours.hierarchy import Hierarchy, hierarchy_of, labels_of, sizes_for
from autointerp.studies.workbench import Workbench
from sae.studies.nearest_directions import nearest_of, nearest_of_all

_LABELS = 30

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Neighbours:
    """Settings. Memory beside the dictionaries: under 100 MiB for the cosines, the tables of neighbours, and for the groups the directions of
    the grouped features once more."""

    name: ClassVar[str] = "neighbours"
    version: ClassVar[int] = 1
    reads_text: ClassVar[bool] = False
    nearest: int = 10
    """Neighbours of each feature."""
    units: tuple[str, ...] = ()
    """Features whose neighbours are listed; by default all."""
    map: str = "pca"
    """`pca`, `umap` or `none`."""
    groups: tuple[int, ...] = ()
    """Groups on each level, the lowest first; by default by the number of features. A single 0 makes none."""
    minimum: int = 5
    """Features of a group at least; smaller ones are dissolved."""
    seed: int = 0

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Raises `UsageError` for features that do not exist, and `SaeError` for dictionaries that cannot be compared."""
        layout.check(self.map)
        features = Features.of(bench.studied, bench.subject.device)
        chosen = features.numbers(self.units, bench.subject)
        of, numbers, cosines = self._nearest(bench, features, chosen)
        hierarchy = self._hierarchy(bench, features)
        trials = assignment.trials_of(features, hierarchy, self.seed)
        names, assigned = self._named(bench, features, hierarchy, trials)
        accuracy = assignment.accuracy(trials, assigned)
        listings = self._nearest_listings(features, chosen, of, numbers, cosines)
        if hierarchy.groups:
            listings += [
                tables.groups(hierarchy, names, trials, assigned, features),
                tables.members(hierarchy, features),
            ]
        pictures = []
        if self.map != "none":
            bench.progress.update("map", 0, 1)
            labels = _labels(features, hierarchy, names, chosen, numbers)
            picture, points = self._map(features, hierarchy, names, labels)
            pictures.append(picture)
            listings.append(points)
        said = [
            *(
                prose.of_chosen(features, chosen, numbers, cosines)
                if chosen
                else prose.of_all(features, numbers, cosines)
            ),
            *(prose.of_groups(features, hierarchy, self.minimum) if self.groups != (0,) else ()),
            *prose.of_names(names, bench.asking is not None, accuracy, len(trials)),
        ]
        return Finding(
            "Neighbours of features",
            tuple(said),
            tuple(listings),
            tuple(pictures),
            _values(hierarchy, accuracy, cosines, numbers),
        )

    def _nearest(
        self, bench: Workbench, features: Features, chosen: Sequence[int]
    ) -> tuple[Numbers, Numbers, NDArray[np.float32]]:
        """The features whose neighbours are listed, and their neighbours and cosines, (features, n) each."""
        most = min(self.nearest, len(features.directions) - 1)
        if most < 1:
            raise UsageError("a dictionary of one feature has no neighbours: give a larger one")

        def compute() -> dict[str, NDArray[np.generic]]:
            found = (
                nearest_of(features.directions, torch.tensor(chosen), most)
                if chosen
                else nearest_of_all(
                    features.directions, most, lambda done, total: bench.progress.update("cosines", done, total)
                )
            )
            return {"numbers": found[0].numpy(), "cosines": found[1].numpy()}

        kept = bench.folder.kept_arrays("nearest", compute)
        of = np.array(chosen) if chosen else np.arange(len(features.directions))
        return of, kept["numbers"], kept["cosines"]

    def _hierarchy(self, bench: Workbench, features: Features) -> Hierarchy:
        """Groups of the explained features, or of all if too few are explained to be grouped."""
        explained = features.explained
        population = explained if len(explained) >= 2 * self.minimum else np.arange(len(features.directions))
        sizes = [size for size in self.groups if size] if self.groups else sizes_for(len(population), self.minimum)
        if not sizes:
            return Hierarchy(population, ())
        bench.progress.update("groups", 0, 1)
        kept = bench.folder.kept_arrays("groups", lambda: {"labels": labels_of(features, population, sizes, self.seed)})
        return hierarchy_of(features, population, kept["labels"], self.minimum, self.seed)

    def _named(
        self, bench: Workbench, features: Features, hierarchy: Hierarchy, trials: Sequence[Trial]
    ) -> tuple[dict[str, str], list[str | None]]:
        """The names of the groups by id, and the group that each trial chose by them."""
        names = naming.by_words(features, hierarchy)
        if bench.asking is None or not len(features.explained) or not hierarchy.groups:
            return names, assignment.by_vectors(features, trials, names)
        naming_questions = naming.questions(features, hierarchy, self.seed)
        if bench.asking.dry:  # the cost of both rounds, the second with names of about the same length
            bench.ask([*naming_questions, *assignment.questions(features, trials, names)])
        answers = bench.ask(naming_questions)
        given = {g.id: answer.value for g, answer in zip(hierarchy.groups, answers, strict=True) if answer.value}
        names |= given
        return names, [answer.value for answer in bench.ask(assignment.questions(features, trials, names))]

    def _nearest_listings(
        self, features: Features, chosen: Sequence[int], of: Numbers, numbers: Numbers, cosines: NDArray[np.float32]
    ) -> list[Listing]:
        frame = tables.nearest_frame(features, of, numbers, cosines)
        return [tables.nearest(frame, len(chosen))] if chosen else [tables.closest(frame), tables.nearest(frame, 1)]

    def _map(
        self, features: Features, hierarchy: Hierarchy, names: dict[str, str], labels: Sequence[scatter.Label]
    ) -> tuple[Picture, Listing]:
        laid_out = layout.layout(features, self.map, [label.number for label in labels], self.seed)
        top = [group for group in hierarchy.groups if group.level == 1]
        coloured = list(zip(scatter.COLOURS, top, strict=False))
        colour_of = {number: colour for colour, group in coloured for number in group.members}
        legend = {colour: f"{group.id} {names[group.id]}" for colour, group in coloured}
        picture = scatter.picture(features, laid_out, labels, colour_of, legend)
        return picture, tables.points(laid_out, features, hierarchy)


def _labels(
    features: Features, hierarchy: Hierarchy, names: dict[str, str], chosen: Sequence[int], numbers: Numbers
) -> list[scatter.Label]:
    """The chosen features with their neighbours, or the central features of the largest groups with the groups' names."""
    if not chosen:
        largest = sorted(hierarchy.smallest, key=lambda group: -len(group.members))[:_LABELS]
        return [scatter.Label(group.central, f"{group.id} {names[group.id]}", False) for group in largest]
    near = dict.fromkeys(int(number) for row in numbers for number in row if number >= 0)
    labelled = [(number, True) for number in chosen] + [(n, False) for n in near if n not in chosen]
    return [
        scatter.Label(n, f"{features.names[n]} {features.explanations[n]}".strip(), is_chosen)
        for n, is_chosen in labelled[:_LABELS]
    ]


def _values(
    hierarchy: Hierarchy, accuracy: assignment.Accuracy | None, cosines: NDArray[np.float32], numbers: Numbers
) -> dict[str, object]:
    first = cosines[:, 0][numbers[:, 0] >= 0]
    low, high = accuracy.interval if accuracy else (None, None)
    return {
        "features": len(cosines),
        "median_nearest_cosine": float(np.median(first)) if len(first) else None,
        "groups": len(hierarchy.smallest),
        "levels": hierarchy.levels,
        "grouped": sum(len(group.members) for group in hierarchy.smallest),
        "ungrouped": len(hierarchy.population) - sum(len(group.members) for group in hierarchy.smallest),
        "assignment": accuracy.share if accuracy else None,
        "assignment_low": low,
        "assignment_high": high,
        "assignment_chance": accuracy.chance if accuracy else None,
        "assigned": accuracy.n if accuracy else 0,
    }
