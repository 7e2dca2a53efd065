"""Costs of a long computation are kept, also over interruptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from autointerp.demo.paper.costs import Costs


def spend(costs: Costs, *, stopped: bool = False) -> None:
    with costs.of("part"):
        sum(range(3_000_000))
        if stopped:
            raise KeyboardInterrupt


def test_an_interrupted_part_goes_on_adding_and_a_finished_one_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    with pytest.raises(KeyboardInterrupt):
        spend(Costs(path), stopped=True)
    first = Costs(path).parts["part"]
    assert first["finished"] is False
    spend(Costs(path))
    second = Costs(path).parts["part"]
    assert second["finished"] is True
    assert second["wall_s"] >= first["wall_s"]
    spend(Costs(path))
    assert Costs(path).parts["part"] == second
