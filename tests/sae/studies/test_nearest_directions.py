"""Nearest lists equal those by brute force, whatever the blocks and dictionaries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from sae.errors import SaeError
from sae.studies import nearest_directions
from sae.studies.nearest_directions import Directions, nearest_of, nearest_of_all

CPU = torch.device("cpu")


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 25), min_size=1, max_size=3),
    width=st.integers(2, 9),
    n=st.integers(1, 30),
    block=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_nearest_lists_are_those_of_brute_force(sizes: list[int], width: int, n: int, block: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    decoders = tuple(torch.randn(size, width, generator=generator) for size in sizes)
    directions = Directions(decoders, CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_directions, "_BLOCK", block)
        numbers, cosines = nearest_of_all(directions, n, lambda done, total: None)
        chosen = torch.arange(len(directions) - 1, -1, -2)
        of_chosen = nearest_of(directions, chosen, n)
    rows = normalize(torch.cat(decoders), dim=1)
    for number, own in enumerate(rows @ rows.T):
        others = [(float(c), i) for i, c in enumerate(own) if i != number and c > 1e-6]
        right = sorted(others, reverse=True)[:n]
        assert numbers[number].tolist() == [i for _, i in right] + [-1] * (n - len(right))
        assert cosines[number, : len(right)].tolist() == pytest.approx([c for c, _ in right], abs=1e-5)
    assert of_chosen[0].tolist() == numbers[chosen].tolist()


def test_a_decoder_row_of_zeros_is_nobodys_neighbour() -> None:
    decoder = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    numbers, _ = nearest_of_all(Directions((decoder,), CPU), 2, lambda done, total: None)
    assert numbers.tolist() == [[2, -1], [-1, -1], [0, -1]]


def test_progress_ends_with_all_pairs_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_directions, "_BLOCK", 4)
    told: list[tuple[int, int]] = []
    nearest_of_all(Directions((torch.randn(10, 3), torch.randn(2, 3)), CPU), 1, lambda *steps: told.append(steps))
    assert told == [(step, 10) for step in range(1, 11)]


def test_directions_of_different_widths_or_several_layers_are_refused() -> None:
    one, other, layers = (
        cast(Any, SimpleNamespace(W_dec=torch.ones(shape), path="d")) for shape in [(4, 3), (4, 5), (4, 2, 3)]
    )
    with pytest.raises(SaeError, match="vectors of 3 and 5 numbers"):
        Directions.of([one, other], CPU)
    with pytest.raises(SaeError, match="several layers"):
        Directions.of([layers], CPU)
