"""Planted pairs, splits, joins and strangers are found in files that are written for both sides, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support import explorer_pair
from support.explorer_pair import OTHER, OWN, PAIRS, Planted

from autointerp.errors import UsageError
from autointerp.explorer.comparison import compute, files, matches
from autointerp.explorer.comparison.listing import Listing, Request
from autointerp.explorer.comparison.pairs import CHILD, LAST, PARENT, Pairs
from autointerp.explorer.comparison.relation import Side, relation_of, same_tokens
from autointerp.explorer.comparison.schema import NEAR
from autointerp.explorer.index.folder import EXAMPLES, IndexFolder
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.library import INDEX
from sae.errors import SaeError


def silent(phase: str, done: int, total: int) -> None:
    """No progress."""


def side(results: Path, run: str) -> Side:
    return Side(IndexFolder(results / run / INDEX))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    """Two runs of two dictionaries, compared."""
    results = tmp_path_factory.mktemp("results")
    truth = explorer_pair.make(results)
    compute.compare(side(results, OWN), side(results, OTHER), silent)
    return results, truth


@pytest.fixture
def runs(planted: tuple[Path, Planted], tmp_path: Path) -> Path:
    """A copy of both runs, compared, that may be changed."""
    return Path(shutil.copytree(planted[0], tmp_path / "results"))


def listing_of(results: Path, own: str = OWN, other: str = OTHER) -> Listing:
    readers = [Reader(side(results, run).folder) for run in (own, other)]
    matching = files.read(side(results, own), readers[1].about.identity)
    assert matching is not None
    return Listing(Pairs(*readers, matching))


def families(listing: Listing, show: str) -> list[list[int]]:
    """Each family as its parent and its children."""
    found: list[list[int]] = []
    entries = listing.find(Request(show=show))
    for own, other, place in zip(entries.own, entries.other, entries.place, strict=True):
        member = int(max(own, other))
        found = [*found, [member]] if place == PARENT else [*found[:-1], [*found[-1], member]]
        assert place in (PARENT, CHILD, LAST)
    return sorted(found)


def test_planted_pairs_splits_joins_and_strangers_are_found_and_no_others(planted: tuple[Path, Planted]) -> None:
    results, truth = planted
    listing = listing_of(results)
    entries = listing.find(Request())
    found = {(int(own), int(other)) for own, other in zip(entries.own, entries.other, strict=True)}
    nearest_children = {(int(a), int(b)) for a, b, _ in truth.splits} | {(int(b), int(a)) for a, b, _ in truth.joins}
    assert found == {(int(a), int(b)) for a, b in truth.pairs} | nearest_children
    assert families(listing, "splits") == sorted(truth.splits.tolist())
    assert families(listing, "joins") == sorted(truth.joins.tolist())
    assert np.sort(listing.find(Request(show="only-own")).own).tolist() == truth.only_own.tolist()
    assert np.sort(listing.find(Request(show="only-other")).other).tolist() == truth.only_other.tolist()
    of_pairs = [float(c) for a, c in zip(entries.own, entries.cosine, strict=True) if int(a) in set(truth.pairs[:, 0])]
    assert np.allclose(of_pairs, 0.95, atol=1e-4)
    assert len(of_pairs) == PAIRS


def test_the_other_side_has_the_same_comparison_turned_around(planted: tuple[Path, Planted]) -> None:
    results, truth = planted
    one, other = listing_of(results), listing_of(results, OTHER, OWN)
    pairs = [listing.find(Request(sort="number")) for listing in (one, other)]
    assert {*zip(pairs[0].own.tolist(), pairs[0].other.tolist(), strict=True)} == {
        *zip(pairs[1].other.tolist(), pairs[1].own.tolist(), strict=True)
    }
    assert families(other, "splits") == sorted(truth.joins.tolist())
    matching = files.read(side(results, OTHER), side(results, OWN).about.identity)
    assert matching is not None
    assert matching.run == OWN
    assert matching.grades is not None
    assert OTHER in matching.grades.verdict
    assert matching.grades.measures[0].low is not None


def test_chance_is_measured_below_the_planted_cosines(planted: tuple[Path, Planted]) -> None:
    matching = files.read(side(planted[0], OWN), side(planted[0], OTHER).about.identity)
    assert matching is not None
    assert matching.chance is not None
    assert 0.1 < matching.chance < 0.7


def test_a_dictionary_in_two_indexes_is_matched_feature_by_feature(tmp_path: Path) -> None:
    decoder = torch.randn(30, 16, generator=torch.Generator().manual_seed(0))
    a = explorer_pair.make_run(tmp_path, OWN, decoder, n_neurons=4, n_tokens=12)
    b = explorer_pair.make_run(tmp_path, OTHER, decoder, n_neurons=4, n_tokens=12, judge="openai/other", seed=1)
    explorer_pair.copy_tables(a.folder, b.folder)
    assert relation_of(a, b)[0] == "same"
    assert same_tokens(a, b)
    shutil.rmtree(tmp_path / "dictionaries")  # the weights are not needed
    compute.compare(a, b, silent)
    listing = listing_of(tmp_path)
    entries = listing.find(Request())
    assert entries.own.tolist() == entries.other.tolist() == list(range(30))
    for card in listing.cards(entries):
        assert card["shared"] == card["compared"] == 5  # all strongest examples are at the same tokens
    assert len(listing.find(Request(show="changed"))) == len(listing.find(Request(show="splits"))) == 0
    explorer_pair.set_labels(a.folder, {3: ("names of rivers", 1.0), 4: ("dates of battles", 2.0), 9: ("verbs", None)})
    explorer_pair.set_labels(b.folder, {3: ("names of rivers", 3.0), 4: ("names of rivers", 1.5), 8: ("verbs", 1.0)})
    listing = listing_of(tmp_path)
    assert listing.find(Request(show="changed")).own.tolist() == [4]
    graded = listing.cards(listing.find(Request(show="graded")))
    assert [(card["own"]["row"], card["difference"]) for card in graded] == [(3, 2.0), (4, -0.5)]
    assert graded[0]["similarity"] == 1.0
    assert graded[1]["similarity"] < 0.9


def test_shared_examples_are_counted_at_the_same_tokens(runs: Path) -> None:
    a, b = side(runs, OWN), side(runs, OTHER)
    nearest = pq.read_table(files.table_path(a.folder.path, b.about.identity))["nearest"].to_pylist()
    expected = []
    of_side = [
        {
            (row, *token)
            for row in range(each.about.n_features)
            for token in [(e["document"], e["position"]) for e in each.folder.examples(row) if e["bin"] == 0]
        }
        for each in (a, b)
    ]
    # Half of the examples of the own index move to the tokens of the nearest feature's.
    table = pq.read_table(a.folder.path / EXAMPLES).to_pylist()
    rng = np.random.default_rng(0)
    for example in table:
        other = nearest[example["row"]]
        if example["bin"] == 0 and other is not None and rng.random() < 0.5:
            there = b.folder.examples(other)[example["rank"]]
            example["document"], example["position"] = there["document"], there["position"]
    a.folder.write_table(EXAMPLES, pa.Table.from_pylist(table, schema=pq.read_schema(a.folder.path / EXAMPLES)))
    changed = Side(IndexFolder(a.folder.path))
    own: dict[int, set[tuple[int, int]]] = {}
    for example in table:
        if example["bin"] == 0:
            own.setdefault(example["row"], set()).add((example["document"], example["position"]))
    for row, other in enumerate(nearest):
        there = {token[1:] for token in of_side[1] if token[0] == other}
        expected.append(len(own[row] & there) if other is not None else None)
    found = matches.of_two_dictionaries(changed, b, True, silent)
    assert not isinstance(found, str)
    assert found.rows[0]["shared"].to_pylist() == expected
    assert sum(each or 0 for each in expected) > 50


def test_features_that_are_never_active_are_in_no_list(runs: Path) -> None:
    a, b = side(runs, OWN), side(runs, OTHER)
    before = listing_of(runs).find(Request(sort="number")).own
    units = a.folder.table("units.parquet").to_pylist()
    units[before[0]]["events"] = 0
    a.folder.write_table("units.parquet", pa.Table.from_pylist(units, schema=a.folder.table("units.parquet").schema))
    compute.compare(Side(IndexFolder(a.folder.path)), b, silent)
    assert listing_of(runs).find(Request(sort="number")).own.tolist() == before[1:].tolist()


def test_another_width_or_subject_leaves_only_distributions(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    a = explorer_pair.make_run(tmp_path, OWN, torch.randn(20, 16, generator=generator), n_tokens=12)
    b = explorer_pair.make_run(
        tmp_path, OTHER, torch.randn(20, 24, generator=generator), n_tokens=12, seed=1, graded=False
    )
    compute.compare(a, b, silent)
    found = files.read(a, b.about.identity)
    assert found is not None
    assert (found.relation, found.grades) == ("apart", None)
    assert "16 and 24 numbers" in found.why
    explorer_pair.change_about(b.folder, subject={"name": "another/model"})
    assert relation_of(a, side(tmp_path, OTHER))[0] == "apart"
    assert not same_tokens(a, side(tmp_path, OTHER))
    assert not list(a.folder.path.glob("matches-*.parquet"))


def test_a_dictionary_that_has_changed_or_gone_is_an_error(runs: Path) -> None:
    a, b = side(runs, OWN), side(runs, OTHER)
    explorer_pair.write_dictionary(runs / "dictionaries" / OTHER, torch.randn(66, explorer_pair.WIDTH))
    explorer_pair.change_about(a.folder, dictionary={"path": str(runs / "dictionaries" / OWN)})
    explorer_pair.change_about(b.folder, dictionary={"path": str(runs / "dictionaries" / OTHER)})
    with pytest.raises(UsageError, match="is no longer the dictionary of"):
        matches.of_two_dictionaries(side(runs, OWN), side(runs, OTHER), False, silent)
    shutil.rmtree(runs / "dictionaries" / OTHER)
    with pytest.raises(SaeError):
        matches.of_two_dictionaries(side(runs, OWN), side(runs, OTHER), False, silent)


def test_an_index_that_is_made_again_has_no_comparison_and_its_files_are_removed(runs: Path) -> None:
    a, b = side(runs, OWN), side(runs, OTHER)
    old = files.table_path(a.folder.path, b.about.identity)
    assert old.is_file()
    assert [each.run for each in files.read_all(a)] == [OTHER]
    remade = Side(explorer_pair.change_about(b.folder, identity="f" * 64))
    assert files.read(a, remade.about.identity) is None
    assert files.read(remade, a.about.identity) is None
    compute.compare(a, remade, silent)
    assert files.read(a, "f" * 64) is not None
    assert len(list(b.folder.path.glob("matches-*.json"))) == 1  # that of the index before is removed
    again = Side(explorer_pair.change_about(a.folder, identity="e" * 64))
    assert list(files.read_all(again)) == []
    compute.compare(again, remade, silent)
    assert not old.exists()


def test_a_damaged_or_half_written_comparison_is_none(runs: Path) -> None:
    a, b = side(runs, OWN), side(runs, OTHER)
    path = files.table_path(a.folder.path, b.about.identity).with_suffix(".json")
    path.write_text(path.read_text()[:100])
    assert files.read(a, b.about.identity) is None
    assert list(files.read_all(a)) == []
    path.unlink()  # as after an interruption between the table and the JSON
    assert files.read(a, b.about.identity) is None
    compute.compare(a, b, silent)
    assert files.read(a, b.about.identity) is not None


def test_grades_alone_are_compared_again_when_a_run_has_changed(runs: Path) -> None:
    a, b = side(runs, OWN), side(runs, OTHER)
    before = files.read(a, b.about.identity)
    summary = runs / OTHER / "summary.json"
    summary.write_text(summary.read_text() + " ")
    assert before is not None
    assert before.graded != files.results_hash(a, b)
    shutil.rmtree(runs / "dictionaries")  # the weights are not read again
    compute.compare(a, b, silent)
    after = files.read(a, b.about.identity)
    assert after is not None
    assert after.graded == files.results_hash(a, b)
    assert after.chance == before.chance
    assert len(listing_of(runs).find(Request())) > PAIRS


def test_an_index_that_is_made_again_meanwhile_is_an_error(runs: Path) -> None:
    a, b = side(runs, OWN), side(runs, OTHER)
    assert a.about.identity
    assert b.about.identity

    def remake(phase: str, done: int, total: int) -> None:
        explorer_pair.change_about(b.folder, identity="d" * 64)

    with pytest.raises(UsageError, match="made again while"):
        compute.compare(a, b, remake)


def test_near_is_the_least_cosine_of_a_child(planted: tuple[Path, Planted]) -> None:
    results, truth = planted
    rows = pq.read_table(files.table_path(results / OWN / INDEX, side(results, OTHER).about.identity)).to_pylist()
    for parent, first, second in truth.splits.tolist():
        assert [child["row"] for child in rows[parent]["children"]] == [first, second]
    assert all(child["cosine"] >= NEAR for row in rows for child in row["children"])
