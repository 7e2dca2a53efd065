"""The marked token of a context stands between « and » without the spaces around it."""

from __future__ import annotations

import pytest

from autointerp.studies.search.contexts import marked


@pytest.mark.parametrize(
    ("tokens", "mark", "line"),
    [
        (["The", " Golden", " Gate", " Bridge"], 2, "The Golden «Gate» Bridge"),
        (["a", "b", "c"], 1, "a«b»c"),
        (["a", "\n", "c"], 1, "a« »c"),
        (["a", " b ", "c"], 1, "a «b» c"),
    ],
)
def test_the_marked_token(tokens: list[str], mark: int, line: str) -> None:
    assert marked(tokens, mark) == line
