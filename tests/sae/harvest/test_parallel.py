"""Work side by side: each item on one core, none lost, and the threads of the rest of the program unchanged."""

from __future__ import annotations

import threading

import pytest
import torch

from sae.harvest.parallel import ForEach, side_by_side

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("three_threads")


def where_it_ran(for_each: ForEach, items: int) -> list[tuple[str, int, bool]]:
    """Of each item: the thread, the threads that torch computes with there, and whether in inference mode."""
    seen = []
    together = threading.Barrier(3) if items >= 3 else None

    def work(number: int) -> None:
        if together and number < 3:
            together.wait(60)
        here = threading.current_thread().name, torch.get_num_threads(), torch.is_inference_mode_enabled()
        seen.append((number, here))

    for_each(work, iter(range(items)))
    assert sorted(number for number, _ in seen) == list(range(items))
    return [here for _, here in seen]


def test_three_threads_compute_on_one_core_each() -> None:
    with side_by_side(CPU) as for_each:
        seen = where_it_ran(for_each, 40)
        assert torch.get_num_threads() == 3
    assert len({name for name, *_ in seen}) == 3
    assert {(threads, mode) for _, threads, mode in seen} == {(1, True)}


def test_fewer_items_than_threads_use_all_cores() -> None:
    with side_by_side(CPU) as for_each:
        seen = where_it_ran(for_each, 2)
    assert {(name, threads) for name, threads, _ in seen} == {(threading.current_thread().name, 3)}


def test_other_threads_keep_their_number_of_cores() -> None:
    found: list[int] = []
    with side_by_side(CPU):
        pass
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert found == [torch.get_num_threads()] == [3]


def test_an_error_is_raised_and_no_more_items_are_started() -> None:
    begun, ended, go = [], [], threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("of the second")
        assert number == 0 or go.wait(60)
        ended.append(number)

    with side_by_side(CPU) as for_each:
        with pytest.raises(ValueError, match="of the second"):
            for_each(work, range(100))
        go.set()
    assert set(begun) <= set(range(5)), "three threads had no time for more"
    assert sorted(ended) == sorted(set(begun) - {1}), "those that had begun are over"


def test_without_a_cpu_or_a_second_core_no_thread_is_started() -> None:
    for device, threads in ((torch.device("meta"), 3), (CPU, 1)):
        torch.set_num_threads(threads)
        before = threading.active_count()
        with side_by_side(device) as for_each:
            assert threading.active_count() == before
            seen = where_it_ran(for_each, 2)
        assert {name for name, *_ in seen} == {threading.current_thread().name}
