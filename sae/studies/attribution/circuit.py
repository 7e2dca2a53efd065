"""The graph of one prompt: which features, at which positions, carry a difference of logits, and through which later features.

A node is a feature at a position, or the error of a dictionary at a position, which has no incoming edges. The edge from u to v is the
contribution of u to the pre-activation of v, by direct gradients (`sae.studies.attribution.gradients`): u's vector times the gradient at u's place,
through attention and norms as they are, with the features of dictionaries in between held fixed. The edge from u to the difference of
logits is its direct contribution to that. A share of an edge is its size among all contributions to v, of features and errors after the
first position, also of those that are not in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sae.studies.attribution.active_features import ActiveFeatures
from sae.studies.attribution.gradients import DirectGradients, Totals
from sae.subject.model import Subject

ERROR = -1
"""In the place of a feature's number: the error of the dictionary."""
FIRST = 1
"""The first position with nodes: at position 0 subjects have norms without meaning."""


class Node(NamedTuple):
    """A feature, or the error, of dictionary number `dictionary` at a position."""

    dictionary: int
    position: int
    feature: int


class Edge(NamedTuple):
    """`contribution` is to the target's pre-activation, or to the difference of logits if `target` is None; `logits` is what it
    amounts to there: the contribution times the total gradient of the target's activation."""

    source: Node
    target: Node | None
    contribution: float
    logits: float
    share: float


@dataclass(frozen=True)
class Circuit:
    """The nodes from which edges lead to the difference of logits, with their total attributions, and the edges."""

    nodes: dict[Node, float]
    edges: tuple[Edge, ...]


def trace(
    subject: Subject,
    totals: Totals,
    *,
    nodes: int,
    share: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Circuit:
    """The circuit of a text: the `strongest` nodes of each dictionary, and edges of at least `share`.

    Nodes from which no such edge leads on to the difference of logits are left out. One backward pass a node.
    """
    kept = strongest(totals, nodes)
    sources = [_Sources.of(active, number, kept) for number, active in enumerate(totals.active)]
    direct = DirectGradients(subject, totals)
    edges = _edges_into(None, 1.0, direct.of_difference(), sources, share)
    features = [node for node in kept if node.feature != ERROR]
    for done, node in enumerate(features, 1):
        active = totals.active[node.dictionary]
        scale = kept[node] / float(active.f[active.number(node.position, node.feature)])
        edges += _edges_into(node, scale, direct.of_feature(*node), sources, share)
        progress(done, len(features))
    return _without_dead_ends(kept, edges)


def strongest(totals: Totals, nodes: int) -> dict[Node, float]:
    """The `nodes` features of each dictionary with the largest absolute attributions and a third as many errors, with these."""
    kept: dict[Node, float] = {}
    for number, (active, gradient) in enumerate(zip(totals.active, totals.gradients, strict=True)):
        of_pairs, of_errors = active.dot(gradient)
        every = torch.arange(len(of_errors), device=of_errors.device)
        for position, feature, values, most in (
            (active.position, active.feature, of_pairs, nodes),
            (every, torch.full_like(every, ERROR), of_errors, nodes // 3),
        ):
            values = values.where(position >= FIRST, 0.0)
            order = values.abs().argsort(descending=True, stable=True)[:most]
            columns = (position[order].tolist(), feature[order].tolist(), values[order].tolist())
            kept |= {Node(number, p, f): value for p, f, value in zip(*columns, strict=True) if value}
    return kept


@dataclass(frozen=True, eq=False)
class _Sources:
    """The kept nodes of a dictionary from which edges may start: pairs by their number among the active ones, errors by position."""

    active: ActiveFeatures
    counted: Tensor
    """Mask of the pairs after the first position."""
    features: list[tuple[Node, int]]
    errors: list[Node]

    @classmethod
    def of(cls, active: ActiveFeatures, number: int, kept: Iterable[Node]) -> _Sources:
        own = [node for node in kept if node.dictionary == number]
        features = [(node, active.number(node.position, node.feature)) for node in own if node.feature != ERROR]
        return cls(active, active.position.cpu() >= FIRST, features, [node for node in own if node.feature == ERROR])


def _edges_into(
    target: Node | None, scale: float, gradients: Sequence[Tensor], sources: Sequence[_Sources], share: float
) -> list[Edge]:
    """The edges into a node, given the direct gradient of its pre-activation at each dictionary's value.

    A contribution times `scale` is in logits.
    """
    found: list[tuple[Node, float]] = []
    total = 0.0
    for each, gradient in zip(sources, gradients, strict=True):
        of_pairs, of_errors = (values.cpu() for values in each.active.dot(gradient))
        total += float(of_pairs[each.counted].abs().sum() + of_errors[FIRST:].abs().sum())
        found += [(node, float(of_pairs[number])) for node, number in each.features]
        found += [(node, float(of_errors[node.position])) for node in each.errors]
    return [
        Edge(source, target, value, value * scale, abs(value) / total)
        for source, value in found
        if value and abs(value) >= share * total
    ]


def _without_dead_ends(kept: dict[Node, float], edges: list[Edge]) -> Circuit:
    """The nodes and edges on paths to the difference of logits."""
    leading: set[Node | None] = {None}
    while more := {edge.source for edge in edges if edge.target in leading} - leading:
        leading |= more
    on_paths = tuple(edge for edge in edges if edge.target in leading)
    return Circuit({node: value for node, value in kept.items() if node in leading}, on_paths)
