"""Lists of a comparison: their order, their filters, and the families that stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import explorer_pair
from support.explorer_pair import OTHER, OWN

from autointerp.errors import UsageError
from autointerp.explorer.comparison import compute, figures, files
from autointerp.explorer.comparison.listing import SHOWN, SORTS, Listing, Request
from autointerp.explorer.comparison.pairs import PARENT, Pairs
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.library import INDEX


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Listing:
    results = tmp_path_factory.mktemp("results")
    explorer_pair.make(results)
    sides = [Side(IndexFolder(results / run / INDEX)) for run in (OWN, OTHER)]
    compute.compare(sides[0], sides[1], lambda phase, done, total: None)
    matching = files.read(sides[0], sides[1].about.identity)
    assert matching is not None
    return Listing(Pairs(Reader(sides[0].folder), Reader(sides[1].folder), matching))


@settings(max_examples=40, deadline=None)
@given(
    show=st.sampled_from(list(SHOWN)), sort=st.sampled_from([f"{sign}{name}" for sign in ("", "-") for name in SORTS]),
    low=st.one_of(st.none(), st.floats(0, 1)), high=st.one_of(st.none(), st.floats(0, 1)),
)  # fmt: skip
def test_a_list_is_filtered_and_sorted(
    listing: Listing, show: str, sort: str, low: float | None, high: float | None
) -> None:
    whole, found = listing.find(Request(show=show)), listing.find(Request(show, "", low, high, sort))
    within = [
        (low is None or cosine >= np.float32(low)) and (high is None or cosine <= np.float32(high))
        for cosine in whole.cosine
    ]
    if show in ("splits", "joins"):
        families = set(whole.family[within].tolist())
        assert found.family.tolist() == [family for family in whole.family.tolist() if family in families]
        return
    assert len(found) == sum(within)
    values = np.asarray(SORTS[sort.removeprefix("-")](listing.pairs, found), dtype=np.float64)
    known = np.isfinite(values)
    assert np.all(known[: known.sum()])  # those without a value come last
    steps = np.diff(values[known])
    assert np.all(steps <= 0 if sort.startswith("-") else steps >= 0)


def test_words_are_found_in_either_feature(listing: Listing) -> None:
    everything = listing.find(Request())
    word = "paris"
    expected = set()
    for own, other in zip(everything.own.tolist(), everything.other.tolist(), strict=True):
        for half, row in ((listing.pairs.own, own), (listing.pairs.other, other)):
            unit = half.reader.unit(row)
            texts = [label["explanation"] for label in unit["labels"][:1]]
            tokens = [token["token"] for token in unit["promoted"]]
            tokens += [e["tokens"][e["mark"]] for e in unit["examples"] if e["bin"] == 0]
            if any(word in text.lower().split() for text in texts) or any(word == t.strip().lower() for t in tokens):
                expected.add((own, other))
    found = listing.find(Request(words=word))
    assert {*zip(found.own.tolist(), found.other.tolist(), strict=True)} == expected
    assert 0 < len(expected) < len(everything)


def test_a_family_is_found_whole_by_one_of_its_features(listing: Listing) -> None:
    whole = listing.find(Request(show="splits"))
    child = int(whole.other[1])
    explanation = listing.pairs.other.reader.columns.explanation(child)
    assert explanation is not None
    found = listing.find(Request(show="splits", words=explanation.split()[-1]))  # a rare word
    family = whole.take(whole.family == whole.family[1])
    assert found.own.tolist() == family.own.tolist()
    assert found.other.tolist() == family.other.tolist()
    assert found.place[0] == PARENT


def test_wrong_parameters_are_named() -> None:
    assert Request.of({"with": "x"}) == Request()
    assert Request.of({"cosine": "0.7..", "q": " a ", "show": "splits"}) == Request("splits", "a", 0.7)
    for parameters, complaint in (
        ({"show": "all"}, "show='all' is no list"),
        ({"sort": "size"}, "sort='size' is no column"),
        ({"cosine": "high"}, "cosine='high' is no range"),
        ({"q": "x" * 301}, "301 characters"),
    ):
        with pytest.raises(UsageError, match=complaint):
            Request.of(parameters)


def test_counts_are_those_of_the_lists(listing: Listing) -> None:
    found, lengths = figures.found_again(listing.pairs), figures.lengths(listing.pairs)
    for side, alone in zip(found["sides"], ("only-own", "only-other"), strict=True):
        assert side["paired"] + side["others"] + side["alone"] == side["n"]
        assert side["alone"] == lengths[alone]
        assert side["counts"] == sorted(side["counts"], reverse=True)
        for at, count in zip(found["at"], side["counts"], strict=True):
            place = found["cosines"].index(at)
            assert side["mutual"][place] == pytest.approx(count / side["n"], abs=1e-4)
        assert all(some <= more for some, more in zip(side["mutual"], side["any"], strict=True))
    assert found["sides"][0]["paired"] == lengths["pairs"]
    assert lengths["splits"] == explorer_pair.SPLITS
    texts = figures.texts(listing.pairs)
    assert texts["changed"] == lengths["changed"] == texts["explained"] > 0


def test_figures_say_what_is_a_census_and_what_a_sample(listing: Listing) -> None:
    pairs = listing.pairs
    own, other = pairs.own.reader, pairs.other.reader
    found = {each["name"]: each for each in figures.figures(own, other, pairs.matching.grades)}
    assert found["features"]["values"] == [own.about.n_features, other.about.n_features]
    dense = found["active at more than 1% of tokens"]
    assert dense["basis"] == "census"
    densities = [reader.columns.numbers["density"] for reader in (own, other)]
    assert dense["values"] == pytest.approx([(each > 0.01).mean() for each in densities])
    assert "low" not in dense
    grade = found["mean grade of features"]
    assert grade["basis"] == "sample"
    assert grade["low"] < grade["difference"] < grade["high"]
    for chart in figures.distributions(own, other):
        assert [sum(counts) for counts in chart["counts"]] == chart["n"]
        assert len(chart["edges"]) == len(chart["counts"][0]) + 1
