"""Planted units: active at the words that they name and at nothing else, in windows of the run's own corpus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.costs.bounds import PLANTED_WINDOWS
from sae.controls.planted_units import FAR, HITS, NEAR, PLANTED, PlantedUnit, plant_units
from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus

VOCABULARY = [" red", " the", " sea", " walked", " 7", " mother", "ing", ".", " xyz", " if", " never", " slowly"]
COLOURS, SEA = PlantedUnit("colours", "names of colours", "red|blue"), PlantedUnit("sea", "the sea", "sea")


def corpus_of(documents: list[list[int]]) -> Corpus:
    tokens = np.array([token for document in documents for token in document], dtype=np.uint32)
    offsets = np.cumsum([0, *map(len, documents)])[:-1]
    rows = [(i, 0, offset, len(d)) for i, (d, offset) in enumerate(zip(documents, offsets, strict=True))]
    contexts = np.array(rows, dtype=CONTEXT)
    return Corpus(tokens, contexts, len(documents), len(tokens), "f", None, frozenset())


def texts(ids: np.ndarray) -> list[str]:
    return [VOCABULARY[i] for i in ids]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(8, 24), st.integers(1, 5))
def test_score_windows_match_near_ones_are_marked_beside_a_match_and_quiet_ones_hold_none(
    seed: int, window: int, silent: int
) -> None:
    rng = np.random.default_rng(seed)
    documents = [rng.choice(len(VOCABULARY), size=40, p=[0.02] + [0.98 / 11] * 11).tolist() for _ in range(300)]
    units, rows = plant_units(
        corpus_of(documents), texts, n=2, silent=silent, window=window, bins=10, seed=seed, candidates=(COLOURS, SEA)
    )
    assert list(units["given"]) == [COLOURS.explanation, SEA.explanation][: len(units)]
    for unit_id, of_unit in rows.groupby("unit_id"):
        planted = (COLOURS, SEA)[int(str(unit_id).removeprefix("planted-"))]
        for role, most in (("score", HITS), ("near", NEAR), ("quiet", silent)):
            some = of_unit.loc[of_unit["role"] == role]
            assert len(some) <= most
            assert some["document"].is_unique, "at most one window a document and role"
        for row in of_unit.itertuples():
            hot = [planted.is_active(token) for token in row.tokens]
            assert len(row.tokens) == window
            assert row.token_activations == [float(h) for h in hot]
            assert hot[row.mark] == (row.role == "score")
            assert row.bin == (10 if row.role == "score" else 0)
            if row.role == "quiet":
                assert not any(hot)
    again = plant_units(
        corpus_of(documents), texts, n=2, silent=silent, window=window, bins=10, seed=seed, candidates=(COLOURS, SEA)
    )
    assert again[1].equals(rows), "the same seed plants the same"


def test_misses_are_as_long_as_hits() -> None:
    """A document without a matching word is short: by chance alone, hits would be a third longer."""
    lengths: dict[str, list[int]] = {"score": [], "quiet": []}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(4, 40, 400)
        documents = [rng.choice(len(VOCABULARY), size=n, p=[0.02] + [0.98 / 11] * 11).tolist() for n in sizes]
        text = corpus_of(documents)
        _, rows = plant_units(text, texts, n=1, silent=6, window=48, bins=5, seed=0, candidates=(COLOURS,))
        for role, found in lengths.items():
            found += rows.loc[rows["role"] == role, "tokens"].map(len).tolist()
    assert np.mean(lengths["quiet"]) == pytest.approx(np.mean(lengths["score"]), rel=0.1)


def test_a_near_mark_has_a_match_within_reach() -> None:
    documents = [[1, 1, 1, 0, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]] * 60
    _, rows = plant_units(corpus_of(documents), texts, n=1, silent=0, window=20, bins=5, seed=0, candidates=(COLOURS,))
    near = rows.loc[rows["role"] == "near"]
    assert len(near) == NEAR
    assert all(2 <= abs(row.mark - 3) <= FAR for row in near.itertuples())


def test_the_cost_bounds_count_the_windows_of_planted_units() -> None:
    assert PLANTED_WINDOWS == HITS + NEAR


def test_units_whose_words_are_missing_from_the_corpus_are_not_planted() -> None:
    units, rows = plant_units(
        corpus_of([[1, 2, 3, 3]] * 40), texts, n=2, silent=2, window=4, bins=10, seed=0, candidates=(COLOURS,)
    )
    assert units.empty
    assert rows.empty


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_an_explanation_names_words_that_the_pattern_matches(planted: PlantedUnit) -> None:
    named = planted.explanation.replace(",", "").replace(":", "").split()
    if planted.name not in ("digits", "brackets", "quotes", "code"):
        assert sum(planted.is_active(word) for word in named) >= 2
    assert len(planted.explanation.split()) <= 25
    assert not planted.is_active("")
    assert not planted.is_active("xyzzy")
