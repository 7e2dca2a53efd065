"""Pieces of work side by side: each on one core, none lost, and the threads of the rest of the program left as they were."""

from __future__ import annotations

import threading

import pytest
import torch

from sae.harvest.parallel import Each, side_by_side

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("three_threads")


def where_it_ran(each: Each, items: int) -> list[tuple[str, int, bool]]:
    """Of each item: the thread, the threads that torch computes with there, and whether in inference mode."""
    seen = []
    together = threading.Barrier(3) if items >= 3 else None

    def work(number: int) -> None:
        if together and number < 3:
            together.wait(60)
        here = threading.current_thread().name, torch.get_num_threads(), torch.is_inference_mode_enabled()
        seen.append((number, here))

    each(work, iter(range(items)))
    assert sorted(number for number, _ in seen) == list(range(items))
    return [here for _, here in seen]


def test_three_at_once_compute_on_a_core_each() -> None:
    with side_by_side(CPU) as each:
        seen = where_it_ran(each, 40)
        assert torch.get_num_threads() == 3
    assert len({name for name, *_ in seen}) == 3
    assert {(threads, mode) for _, threads, mode in seen} == {(1, True)}


def test_fewer_pieces_than_threads_are_spread_over_all_cores() -> None:
    with side_by_side(CPU) as each:
        seen = where_it_ran(each, 2)
    assert {(name, threads) for name, threads, _ in seen} == {(threading.current_thread().name, 3)}


def test_threads_of_others_are_left_as_they_were() -> None:
    found: list[int] = []
    with side_by_side(CPU):
        pass
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert found == [torch.get_num_threads()] == [3]


def test_what_goes_wrong_is_raised_and_nothing_more_is_begun() -> None:
    begun, ended, go = [], [], threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("of the second")
        assert number == 0 or go.wait(60)
        ended.append(number)

    with side_by_side(CPU) as each:
        with pytest.raises(ValueError, match="of the second"):
            each(work, range(100))
        go.set()
    assert set(begun) <= set(range(5)), "three threads had no time for more"
    assert sorted(ended) == sorted(set(begun) - {1}), "those that had begun are over"


def test_without_a_cpu_or_a_second_core_nothing_is_started() -> None:
    for device, threads in ((torch.device("meta"), 3), (CPU, 1)):
        torch.set_num_threads(threads)
        before = threading.active_count()
        with side_by_side(device) as each:
            assert threading.active_count() == before
            seen = where_it_ran(each, 2)
        assert {name for name, *_ in seen} == {threading.current_thread().name}
