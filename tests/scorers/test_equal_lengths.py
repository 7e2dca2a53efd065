"""Windows of equal lengths: no rule that reads only lengths and marks tells active windows from silent ones."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scorers.scripted_judge import exemplar
from support.scorers.short_documents import cases, told_apart

from autointerp.records import Exemplar
from autointerp.scorers.equal_lengths import cropped, matched
from autointerp.stats.giveaways import COLUMNS


def window(number: int, length: int, active: bool) -> Exemplar:
    mark = random.Random(number).randrange(length)
    return exemplar(number, [f" t{number}x{i}" for i in range(length)], {mark: 1.0} if active else {}, mark)


@pytest.mark.parametrize("median", [20, 60, 300])
@pytest.mark.parametrize("density", [0.02, 0.2])
def test_length_and_mark_alone_are_at_chance_in_documents_of_any_length(median: int, density: float) -> None:
    found = told_apart(cases(median, density, units=30, tokens=10_000))
    assert len(found) == 6
    for name, estimate in found.items():
        is_above = estimate.ci_low is not None and estimate.ci_low > 0.5
        assert estimate.mean is None or estimate.mean < 0.55 or not is_above, (name, estimate)


@given(st.lists(st.integers(1, 50), max_size=12), st.lists(st.integers(1, 50), max_size=12))
def test_matched_windows_have_the_same_distribution_of_lengths(active: list[int], silent: list[int]) -> None:
    first = [window(n, length, True) for n, length in enumerate(active)]
    second = [window(100 + n, length, False) for n, length in enumerate(silent)]
    found = matched(first, second)
    lengths = [Counter(len(e.tokens) for e in part) for part in found]
    if len({*active, *silent}) > 1:
        small, large = sorted(lengths, key=Counter.total)
        times = large.total() // max(small.total(), 1)
        assert large == Counter({length: times * n for length, n in small.items()})
    for part, before in zip(found, (first, second), strict=True):
        assert [e.exemplar_id for e in part] == [
            e.exemplar_id for e in before if e.exemplar_id in {x.exemplar_id for x in part}
        ]


@given(st.integers(1, 40), st.integers(1, 50), st.randoms())
def test_a_cut_window_keeps_its_mark_and_what_stands_there(n: int, length: int, rng: random.Random) -> None:
    whole = replace(window(rng.randrange(1000), length, True), uncounted=frozenset({0, length - 1}))
    cut = cropped(whole, n)
    assert len(cut.tokens) == len(cut.token_activations) == min(n, length)
    assert cut.tokens[cut.mark] == whole.tokens[whole.mark]
    assert cut.token_activations[cut.mark] == 1.0
    assert {cut.tokens[i] for i in cut.uncounted} == {whole.tokens[i] for i in whole.uncounted} & set(cut.tokens)


def test_windows_of_an_earlier_version_are_asked_about_as_they_were() -> None:
    old = [replace(window(n, 5 + n, n % 2 > 0), has_uncounted_activations=True) for n in range(8)]
    assert matched(old[1::2], old[::2]) == (old[1::2], old[::2])


def test_a_long_window_has_no_partner_among_much_shorter_ones() -> None:
    active, silent = [window(n, 40, True) for n in range(4)], [window(9, 12, False), window(10, 30, False)]
    found = matched(active, silent)
    assert [len(e.tokens) for e in found.silent] == [30]
    assert [len(e.tokens) for e in found.active] == [30] * 4


def test_shapes_have_the_columns_of_the_table_that_is_measured() -> None:
    assert COLUMNS == ("unit_id", "truth", "length", "place")
