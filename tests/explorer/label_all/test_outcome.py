"""What is told of propagated labels: in a sentence, at the head of the search page, and on the page of a unit."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pyarrow.compute as pc
import pytest
from support import explorer_index
from support.explorer_server import served

from autointerp.explorer.index import labels
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.label_all import outcome
from autointerp.explorer.label_all.outcome import Outcome
from autointerp.explorer.propagation.curve import Checked, Point
from autointerp.explorer.web.library import Library

POINT = Point(probability=0.8, units=30, coverage=0.3, precision=0.91, checked=Checked(n=9, right=8))
SAMPLE = Checked(n=20, right=18, low=0.72, high=0.98)


@pytest.fixture
def index(tmp_path: Path) -> IndexFolder:
    return explorer_index.make(tmp_path / "index", n_features=100, n_neurons=0, labelled=0)


def done(index: IndexFolder) -> Outcome:
    identity = index.about.identity
    return Outcome(
        identity=identity, features=100, explained=10, least_probability=0.8, point=POINT, sample=SAMPLE, curve=(POINT,)
    )


def fetched(address: str) -> str:
    with urllib.request.urlopen(address) as answer:
        return str(answer.read().decode())


def test_the_sentence_tells_what_was_labelled_propagated_and_unknown(index: IndexFolder) -> None:
    assert done(index).sentence() == (
        "100 features: 10 explained, 30 propagated with a probability of 0.80 or more (91% expected right; the judge found 18 of 20 right that were"
        " drawn by chance [72%, 98%]), 60 unknown"
    )
    assert outcome.table((POINT,))[1].split() == [">=", "0.80", "30%", "30", "91%", "8", "of", "9", "[0%,", "100%]"]


def test_an_outcome_of_another_index_or_a_damaged_one_is_none(index: IndexFolder) -> None:
    outcome.save(index, done(index))
    assert outcome.load(index) == done(index)
    outcome.save(index, done(index).model_copy(update={"identity": "another"}))
    assert outcome.load(index) == Outcome(identity=index.about.identity)
    (index.path / outcome.FILE).write_text("{")
    assert outcome.load(index) == Outcome(identity=index.about.identity)


def test_the_pages_say_how_many_are_propagated_and_from_which_unit(index: IndexFolder, tmp_path: Path) -> None:
    with served(Library(tmp_path, index.path)) as url:
        assert 'class="coverage"' not in fetched(f"{url}/")
        outcome.save(index, done(index))
        page = fetched(f"{url}/")
        assert "30 propagated, each at least 80% probable (91% expected right, 18 of 20 checked were)" in page
        own = {
            "row": 7,
            "explanation": "cities",
            "source": "propagated",
            "judge": "",
            "probability": 0.83,
            "from_row": 12,
        }
        labels.put(index, [own], lambda table: pc.equal(table["row"], -1))
        [label] = json.loads(fetched(f"{url}/api/units/feature-7"))["labels"]
        assert (label["from"], label["source"]) == ("feature-12", "propagated")
        assert label["probability"] == pytest.approx(0.83)
