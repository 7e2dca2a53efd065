"""The draw of judged events: documents first, no overlap, and the probability of each event."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.harvest.judged_sample import JUDGE_SHARE, KnownEvents, judged_sample

WINDOW = 8


def known(
    bin_: list[int], document: list[int], place: list[int], priority: list[float], limit: float = 1.0
) -> KnownEvents:
    first = np.array(place) + 1000 * np.array(document)
    limits = np.full(len(bin_), limit)
    may_repeat = np.ones(len(bin_), dtype=bool)
    return KnownEvents(
        np.array(bin_), np.array(document), first, first + WINDOW, np.array(priority) * limit, limits, may_repeat
    )


def drawn(events: KnownEvents, per_bin: int = 3) -> tuple[list[int], list[float]]:
    chosen, probability = judged_sample(events, per_bin, np.random.default_rng(0))
    return chosen.tolist(), probability.tolist()


def random_events(seed: int, n: int, documents: int) -> KnownEvents:
    rng = np.random.default_rng(seed)
    return known(
        rng.integers(1, 4, n).tolist(),
        rng.integers(0, documents, n).tolist(),
        rng.integers(0, 60, n).tolist(),
        rng.random(n).tolist(),
        limit=0.5,
    )


def test_a_document_is_drawn_twice_only_if_there_are_too_few() -> None:
    priority = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert drawn(known([1] * 5, [7, 7, 8, 7, 9], [0, 20, 0, 40, 0], priority))[0] == [0, 2, 4]
    assert drawn(known([1] * 5, [7, 7, 8, 7, 8], [0, 20, 0, 40, 20], priority))[0] == [0, 2, 1]


def test_a_document_is_not_drawn_twice_if_others_are_not_known() -> None:
    events = known([1] * 3, [7, 7, 8], [0, 20, 0], [0.1, 0.2, 0.3], limit=0.5)
    assert drawn(events._replace(may_repeat=np.zeros(3, dtype=bool)))[0] == [0, 2]


def test_of_overlapping_windows_one_is_judged_more_often_that_of_the_higher_bin() -> None:
    events = known([1, 4], [7, 7], [3, 0], [0.1, 0.9])
    chosen, _ = zip(*(judged_sample(events, 3, np.random.default_rng(seed)) for seed in range(400)), strict=True)
    assert all(len(one) == 1 for one in chosen)
    assert np.mean([one[0] == 1 for one in chosen]) == pytest.approx(4 / 5, abs=0.06)
    _, probability = judged_sample(events, 3, np.random.default_rng(0))
    assert probability[0] / JUDGE_SHARE in (pytest.approx(1 / 5, abs=0.1), pytest.approx(4 / 5, abs=0.1))


def test_a_single_event_is_judged_if_its_document_is_on_the_judging_side() -> None:
    assert drawn(known([4], [7], [0], [0.3])) == ([0], [0.5])


def test_events_of_one_document_share_its_probability() -> None:
    _, [probability] = drawn(known([1] * 4, [7] * 4, [0, 20, 40, 60], [0.1, 0.2, 0.3, 0.4]), per_bin=1)
    assert probability == pytest.approx(JUDGE_SHARE / 4, abs=0.08)


def test_an_event_below_its_limit_has_the_probability_of_the_limit() -> None:
    assert drawn(known([1, 1], [7, 8], [0, 0], [0.4, 0.7], limit=0.02))[1] == [0.01, 0.01]


def test_without_events_nothing_is_drawn() -> None:
    assert drawn(known([], [], [], [])) == ([], [])
    assert drawn(known([1], [7], [0], [0.5]), per_bin=0) == ([], [])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 12), st.integers(1, 6))
def test_a_draw_keeps_its_rules_and_a_larger_one_contains_it(seed: int, n: int, documents: int, per_bin: int) -> None:
    events = random_events(seed, n, documents)
    chosen, probability = drawn(events, per_bin)
    assert ((np.array(probability) > 0) & (np.array(probability) <= JUDGE_SHARE * 0.5)).all()
    first = np.sort(events.first[chosen])
    assert (np.diff(first) >= WINDOW).all()
    for bin_ in set(events.bin.tolist()):
        of_bin = [i for i in chosen if events.bin[i] == bin_]
        assert len(of_bin) <= per_bin
    assert set(chosen) <= set(drawn(events, per_bin + 2)[0])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_the_order_of_events_does_not_matter_to_the_draw(seed: int) -> None:
    events = random_events(seed, 25, 6)
    order = np.random.default_rng(seed).permutation(25)
    shuffled = KnownEvents(*(column[order] for column in events[:-1]))
    assert set(order[drawn(shuffled)[0]]) == set(drawn(events)[0])


def test_of_two_events_that_show_the_same_text_either_is_judged_and_not_both() -> None:
    events = known([1, 1], [7, 8], [0, 50], [0.1, 0.2])
    assert drawn(events) == ([0, 1], [0.5, 0.5])
    [chosen], [probability] = drawn(events._replace(same_text=np.array([[0, 1]])))
    assert chosen == 0
    assert probability == pytest.approx(JUDGE_SHARE / 2, abs=0.08)


def test_the_sum_of_inverse_probabilities_is_the_number_of_events() -> None:
    """Over draws at random priorities, for events that share documents and whose windows overlap."""
    events, runs = random_events(3, 30, 5), 500
    rng = np.random.default_rng(1)
    total = np.zeros(30)
    for _ in range(runs):
        chosen, probability = judged_sample(events._replace(priority=0.5 * rng.random(30)), 2, rng)
        total[chosen] += JUDGE_SHARE * 0.5 / probability
    assert total.sum() / runs == pytest.approx(30, rel=0.06)
    assert total / runs == pytest.approx(np.ones(30), abs=0.6)
