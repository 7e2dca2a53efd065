"""Labels of an index are those of its run, and those of other sources are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from support.planted_world import world as planted

from autointerp.errors import UsageError
from autointerp.explorer.index import labels, schema
from autointerp.explorer.index.build import build
from autointerp.explorer.index.folder import ABOUT, EXAMPLES, LABELS, IndexFolder
from autointerp.explorer.search.columns import Columns
from autointerp.progress import Progress
from autointerp.studies.given import Given

pytestmark = pytest.mark.usefixtures("one_thread")

UNITS: list[dict[str, Any]] = [
    {"unit_id": "feature-3", "explanation": "glaciers", "mean_score": 2.5, "distinction": 0.75},
    {"unit_id": "neuron-1-", "explanation": "orchards", "mean_score": None, "distinction": None},
    {"unit_id": "feature-5", "explanation": "", "mean_score": None, "distinction": None},
    {"unit_id": "planted-0", "explanation": "a control", "mean_score": 3.0, "distinction": None},
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a finished run, as far as an index reads it."""
    folder = tmp_path_factory.mktemp("labels")
    spec = planted.make(folder / "world", documents=40).spec(judge={"model": "embedded"})
    run = folder / "results" / "planted-1"
    run.mkdir(parents=True)
    (run / "spec.toml").write_text(spec.to_toml())
    (run / "summary.json").write_text("{}")
    pd.DataFrame(UNITS).to_parquet(run / "units.parquet")
    return folder / "results"


def index(results: Path, **settings: Any) -> IndexFolder:
    with Progress(quiet=True) as progress:
        return build(Given(runs=("planted-1",), results=results, quiet=True), progress, **settings)


def test_explanations_and_grades_of_the_run_are_at_the_rows_of_their_units(results: Path) -> None:
    found = index(results, neurons=True)
    assert found.path == results / "planted-1" / "index"
    assert found.about.run == found.about.name == "planted-1"
    labels = found.table(LABELS).to_pylist()
    assert [found.unit(label["row"])["unit_id"] for label in labels] == ["feature-3", "neuron-1-"]
    own = {"source": "run:planted-1", "judge": "embedded", "explainer": "embedded", "probability": None}
    own |= dict.fromkeys(("from_row", "graded", "silent_grade", "shuffled_grade"))
    assert labels[0] == {"row": 3, "explanation": "glaciers", "grade": 2.5, "distinction": 0.75} | own
    assert (labels[1]["grade"], labels[1]["distinction"]) == (None, None)


def test_labels_of_other_sources_are_kept_when_the_run_has_new_ones(results: Path) -> None:
    found = index(results)
    live = dict.fromkeys(schema.LABELS.names) | {"row": 1, "explanation": "mine", "source": "live", "judge": ""}
    rows = [live, *found.table(LABELS).to_pylist()]
    found.write_table(LABELS, pa.Table.from_pylist(rows, schema=schema.LABELS))
    changed = [UNITS[0] | {"explanation": "ice"}, *UNITS[1:]]
    pd.DataFrame(changed).to_parquet(results / "planted-1" / "units.parquet")
    labels = index(results).table(LABELS).to_pylist()
    assert [(label["row"], label["explanation"]) for label in labels] == [(1, "mine"), (3, "ice")]


def test_a_run_of_an_earlier_version_without_distinctions_has_labels(results: Path) -> None:
    units = pd.DataFrame(UNITS).drop(columns="distinction")
    units.to_parquet(results / "planted-1" / "units.parquet")
    labels = index(results).table(LABELS).to_pylist()
    assert {label["distinction"] for label in labels} == {None}
    assert "glaciers" in [label["explanation"] for label in labels]


def test_an_index_without_neurons_keeps_no_label_of_one(results: Path) -> None:
    found = index(results, neurons=True, tokens=900)
    neuron = found.about.n_features + 1
    rows = [{"row": row, "explanation": "asked for", "source": schema.LIVE, "judge": ""} for row in (2, neuron)]
    labels.put(found, rows, lambda known: pc.equal(known["source"], schema.LIVE))
    found = index(results, tokens=900)
    assert [label["row"] for label in found.table(LABELS).to_pylist()] == [2, 3]
    assert Columns(found).explained_rows.tolist() == [2, 3]


def test_an_index_of_another_dictionary_keeps_no_label(results: Path, tmp_path: Path) -> None:
    found = index(results)
    labels.put(
        found,
        [{"row": 2, "explanation": "asked for", "source": schema.LIVE, "judge": ""}],
        lambda known: pc.is_null(known["row"]),
    )
    about = found.about.model_dump()
    about |= {"identity": "another", "dictionary": about["dictionary"] | {"fingerprint": "another"}}
    found.finish(schema.About.model_validate(about))
    assert [label["source"] for label in index(results).table(LABELS).to_pylist()] == ["run:planted-1"]


def test_a_damaged_index_is_made_again_and_one_of_a_later_version_is_kept(results: Path) -> None:
    found = index(results)
    whole, about = found.table(EXAMPLES), found.path / ABOUT
    about.write_text('{"identity": ')
    assert index(results).table(EXAMPLES).equals(whole)
    later = about.read_text().replace('"schema_version":1', '"schema_version":99')
    about.write_text(later)
    with pytest.raises(UsageError, match="was written by a later version"):
        index(results)
    assert about.read_text() == later
    about.unlink()
