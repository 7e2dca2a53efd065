"""Windows of equal lengths: no rule that reads only lengths and marks tells active windows from silent ones."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scorers.scripted_judge import case as unit_case
from support.scorers.scripted_judge import exemplar
from support.scorers.short_documents import cases, told_apart

from autointerp.messages import TaskMaterial
from autointerp.records import Exemplar
from autointerp.scorers.equal_lengths import cropped, cut_alike, matched
from autointerp.scorers.registry import SCORERS
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
        assert estimate.mean is None or estimate.mean < 0.58 or not is_above, (name, estimate)


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


def test_the_windows_of_one_question_are_cut_to_the_shortest_and_keep_their_marks() -> None:
    windows = [window(n, length, True) for n, length in enumerate((48, 12, 30))]
    cut = cut_alike(windows)
    assert [len(w.tokens) for w in cut] == [12, 12, 12]
    for before, after in zip(windows, cut, strict=True):
        assert after.tokens[after.mark] == before.tokens[before.mark]


def uneven(n_windows: int, first: int) -> tuple[Exemplar, ...]:
    return tuple(window(first + n, 10 + 7 * (n % 5), True) for n in range(n_windows))


@pytest.mark.parametrize("scorer", ["sort", "intruder"])
def test_all_windows_of_a_question_of_sort_and_intruder_are_equally_long(scorer: str) -> None:
    unit = replace(unit_case(0, 0, 0), active=uneven(12, 0), others=(uneven(12, 100), uneven(12, 200)))
    chosen = SCORERS[scorer]
    answers: list[list[Any]] = []
    if scorer == "intruder":
        answers = [[[0.0]] * len(chosen.subject_tasks(unit, 0, []))]
    questions = chosen.questions(unit, len(answers), answers)
    assert len(questions) >= 3
    for question in questions:
        material = question.prompt.material
        assert isinstance(material, TaskMaterial)
        shown = [*material.windows, *(w for group in material.sets for w in group)]
        assert len({len(w.tokens) for w in shown}) == 1
