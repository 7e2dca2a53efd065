"""What an address may ask for, and how a wrong one is answered."""

from __future__ import annotations

import pytest

from autointerp.errors import UsageError
from autointerp.explorer.search.query import Query


def test_an_address_is_read_into_a_query() -> None:
    given = {
        "q": " legal terms ",
        "kind": "feature",
        "density": "1e-4..",
        "grade": "1..2.5",
        "sort": "-maximum",
        "other": "x",
    }
    assert Query.of(given) == Query(
        words="legal terms", kind="feature", ranges=(("density", 1e-4, None), ("grade", 1.0, 2.5)), sort="maximum",
        descending=True,
    )  # fmt: skip


def test_a_search_for_words_is_ordered_by_match_and_the_whole_list_by_row() -> None:
    assert Query.of({"q": "x"}).sort == Query.of({"meaning": "x"}).sort == "match"
    assert Query.of({}).sort == Query.of({"sort": "match"}).sort == "row"


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "axis"},
        {"explained": "maybe"},
        {"sort": "histogram"},
        {"density": "high"},
        {"density": ".."},
        {"density": "0.5"},
        {"density": "nan..1"},
        {"density": "1..2..3"},
        {"q": "x" * 301},
        {"meaning": "x" * 301},
    ],
)
def test_a_value_that_cannot_be_read_is_an_error_that_names_it(given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"give|name|write"):
        Query.of(given)
