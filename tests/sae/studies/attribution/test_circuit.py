"""The graph of a prompt on a subject with known circuits."""

from __future__ import annotations

import random

import pytest
import torch
from support.planted_world import circuits
from support.planted_world.circuits import WHOLES, Circuits, part, parts

from sae.formats.load import load_dictionary
from sae.studies.attribution.circuit import ERROR, Circuit, trace
from sae.studies.attribution.gradients import LogitDifference, total_gradients
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Circuits:
    return circuits.make(tmp_path_factory.mktemp("circuits"))


@pytest.fixture(scope="module")
def subject(world: Circuits) -> Subject:
    return world.load()


def traced(world: Circuits, subject: Subject, prompt: str, whole: int, against: int | None) -> Circuit:
    dictionaries = [load_dictionary(str(path)) for path in world.dictionaries]
    ids = torch.tensor([subject.bos_id, *subject.tokenizer(prompt, add_special_tokens=False).input_ids])
    number = subject.tokenizer.convert_tokens_to_ids
    difference = LogitDifference(number(f"answer{whole}"), None if against is None else number(f"answer{against}"))
    totals = total_gradients(subject, dictionaries, ids, difference)
    return trace(subject, totals, nodes=12, share=0.03)


def f1(found: set[object], true: set[object]) -> float:
    return 2 * len(found & true) / (len(found) + len(true))


def found(circuit: Circuit) -> set[object]:
    """The edges between features, and from features to the answer."""
    return {
        (tuple(edge.source), None if edge.target is None else tuple(edge.target))
        for edge in circuit.edges
        if edge.source.feature != ERROR
    }


@pytest.mark.parametrize("seed", range(8))
def test_the_edges_of_planted_circuits_are_found(world: Circuits, subject: Subject, seed: int) -> None:
    rng = random.Random(seed)
    whole, other = rng.sample(range(WHOLES), 2)
    prompt = world.prompt(whole, rng, also=other)
    edges = found(traced(world, subject, prompt, whole, other))
    assert f1(edges, world.edges(prompt, whole, other)) >= 0.9


def test_edges_of_inhibition_are_negative_and_all_nodes_lead_to_the_answer(world: Circuits, subject: Subject) -> None:
    prompt = world.prompt(0, random.Random(1))
    circuit = traced(world, subject, prompt, 0, 1)
    inhibiting = {part(number).inhibiting for number in parts(0)}
    signs = {
        edge.source.feature in inhibiting: edge.logits > 0
        for edge in circuit.edges
        if edge.source.dictionary == 0 and edge.source.feature != ERROR and edge.target is not None
    }
    assert signs == {True: False, False: True}
    sources = {edge.source for edge in circuit.edges}
    assert sources == set(circuit.nodes)
    assert {edge.target for edge in circuit.edges} - {None} <= sources
