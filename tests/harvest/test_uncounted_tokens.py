"""Uncounted tokens of an exemplar: those that the harvest stored, and those derived for a table of an earlier version."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from autointerp.harvest.tables import exemplars_of
from autointerp.harvest.uncounted_tokens import ContextStarts, derived
from autointerp.records import Exemplar
from autointerp.spec.spec import Spec

STARTS = ContextStarts([8], 1)


def row(position: int, mark: int, tokens: list[str], **more: Any) -> dict[str, Any]:
    return {
        "exemplar_id": "feature-0@0.0", "unit_id": "feature-0", "role": "score", "document": 0, "position": position,
        "activation": 1.0, "activation_fraction": 0.5, "bin": 5, "inclusion_probability": 1.0, "mark": mark, "tokens": tokens,
        "token_activations": [0.0] * len(tokens),
    } | more  # fmt: skip


def only(rows: list[dict[str, Any]], starts: ContextStarts | None = STARTS) -> list[Exemplar]:
    return exemplars_of(pd.DataFrame(rows), starts)


def test_a_stored_mask_is_read_and_nothing_is_derived() -> None:
    [exemplar] = only([row(8, 0, ["a", "b", "<s>"], counted=[True, False, True])])
    assert (exemplar.uncounted, exemplar.has_uncounted_activations) == (frozenset({1}), False)


@pytest.mark.parametrize(
    ("position", "mark", "first"),
    [(3, 3, {0}), (4, 3, set()), (11, 3, {0}), (12, 3, set()), (7, 0, set()), (8, 0, {0})],
)
def test_the_first_token_of_a_context_is_derived_from_its_position(position: int, mark: int, first: set[int]) -> None:
    [exemplar] = only([row(position, mark, list("abcd"))])
    assert (set(exemplar.uncounted), exemplar.has_uncounted_activations) == (first, True)


def test_a_mark_on_a_character_of_several_tokens_is_traced_back_to_the_event() -> None:
    assert derived(["a", "", "", "\N{SNOWMAN}"], 3, 1, STARTS) == {0}, (
        "the event is the second token, the window's start the first"
    )
    assert derived(["a", "", "", "\N{SNOWMAN}"], 3, 6, STARTS) == frozenset()


@pytest.mark.parametrize("token", ["<|endoftext|>", "<|im_start|>", "<s>", "<bos>", "[CLS]"])
def test_special_tokens_are_known_by_their_text(token: str) -> None:
    assert derived(["x", token, "y"], 0, 3, STARTS) == {1}


def test_old_and_new_rows_in_one_table_are_told_apart() -> None:
    """The controls beside an old harvest may be newer than it."""
    old, new = only([row(8, 0, ["a", "b"]), row(8, 0, ["a", "b"], counted=[True, True])])
    assert (old.uncounted, new.uncounted) == ({0}, frozenset())
    assert (old.has_uncounted_activations, new.has_uncounted_activations) == (True, False)


@pytest.mark.parametrize(("corpus", "strides"), [({}, [64, 63]), ({"bos": True}, [63]), ({"bos": False}, [64])])
def test_contexts_are_shorter_by_bos_if_there_is_one(corpus: dict[str, Any], strides: list[int]) -> None:
    spec = Spec.model_validate(
        {
            "name": "x", "subject": {"model": "x"}, "dictionary": {"path": "x"}, "judge": {"model": "embedded"},
            "corpus": {"sources": ["x"], "context_tokens": 64}, "harvest": {"skip_positions": 2},
        }
    )  # fmt: skip
    assert ContextStarts.of(spec, {"corpus": corpus}) == ContextStarts(strides, 2)
