from __future__ import annotations

import random

import pytest
import torch
from support.planted_world import circuits
from support.planted_world.circuits import WHOLES, Circuits

from sae.formats.load import load_dictionary
from sae.studies.circuit import ERROR, Circuit, trace
from sae.studies.gradients import LogitDifference, total_gradients
from sae.subject.model import Subject


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
    return trace(subject, ids, totals, difference, nodes=12, share=0.03)


def f1(found: set[object], true: set[object]) -> float:
    return 2 * len(found & true) / (len(found) + len(true))


@pytest.mark.parametrize("seed", range(6))
def test_the_edges_of_a_planted_circuit_are_found(world: Circuits, subject: Subject, seed: int) -> None:
    rng = random.Random(seed)
    whole, other = rng.sample(range(WHOLES), 2)
    prompt = world.prompt(whole, rng, also=other)
    circuit = traced(world, subject, prompt, whole, other)
    edges = {
        (tuple(edge.source), None if edge.target is None else tuple(edge.target))
        for edge in circuit.edges
        if edge.source.feature != ERROR
    }
    print(sorted(edges - world.edges(prompt, whole), key=str), sorted(world.edges(prompt, whole) - edges, key=str))
    assert f1(edges, world.edges(prompt, whole)) >= 0.9
