"""The tables of a published index: CSV, and files that Neuronpedia imports, which are read back and compared with the index."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from support import explorer_index
from support.hostile_text import WORDS

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import LABELS, IndexFolder
from autointerp.explorer.publishing import neuronpedia, tables
from autointerp.explorer.publishing.command import tables_of
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import rounded
from autointerp.explorer.search.reader import Reader
from autointerp.exports import neuronpedia_rows
from autointerp.prompts.given_activations import activations_from
from autointerp.prompts.given_explanations import explanations_from
from sae.corpus.sources import clean

NAME = "tiny/2-res-test"
N_FEATURES, PER_BATCH = 70, 32
PRISMA = {
    "model": "id! String displayNameShort String displayName String creatorId! String visibility String inferenceEnabled Boolean"
    " instruct Boolean layers! Int neuronsPerLayer! Int createdAt DateTime owner! String updatedAt DateTime",
    "release": "name! String visibility String description! String descriptionShort String urls String[] creatorName! String"
    " creatorId! String createdAt DateTime",
    "sourceset": "modelId! String name! String hasDashboards Boolean visibility String description! String type String"
    " creatorName! String urls String[] creatorId! String releaseName String createdAt DateTime",
    "source": "id! String modelId! String hasDashboards Boolean inferenceEnabled Boolean visibility String setName! String"
    " creatorId! String num_prompts Int? num_tokens_in_prompt Int? dataset String? notes String? createdAt DateTime",
    "features": "modelId! String layer! String index! String sourceSetName String? creatorId String? createdAt DateTime"
    " maxActApprox Float? hasVector Boolean vector Float[] vectorLabel String? hookName String? topkCosSimIndices Int[]"
    " topkCosSimValues Float[] neuron_alignment_indices Int[] neuron_alignment_values Float[] neuron_alignment_l1 Float[]"
    " correlated_neurons_indices Int[] correlated_neurons_pearson Float[] correlated_neurons_l1 Float[]"
    " correlated_features_indices Int[] correlated_features_pearson Float[] correlated_features_l1 Float[] neg_str String[]"
    " neg_values Float[] pos_str String[] pos_values Float[] frac_nonzero Float freq_hist_data_bar_heights Float[]"
    " freq_hist_data_bar_values Float[] logits_hist_data_bar_heights Float[] logits_hist_data_bar_values Float[]"
    " decoder_weights_dist Float[]",
    "activations": "id! String tokens! String[] dataIndex String? index! String layer! String modelId! String dataSource String?"
    " maxValue! Float maxValueTokenIndex! Int minValue! Float values! Float[] dfaValues Float[] dfaTargetIndex Int?"
    " dfaMaxValue Float? creatorId! String createdAt DateTime lossValues Float[] logitContributions String? binMin Float?"
    " binMax Float? binContains Float? qualifyingTokenIndex Int?",
    "explanations": "id! String modelId! String layer! String index! String embedding String? description! String"
    " authorId! String notes String? typeName String? explanationModelName String? createdAt DateTime",
}  # fmt: skip
"""The fields of the tables into which the files are imported, with `!` for those that an import has to fill (no default, not null):
`Model`, `SourceRelease`, `SourceSet`, `Source`, `Neuron`, `Activation` and `Explanation` of hijohnnylin/neuronpedia,
apps/webapp/prisma/schema.prisma at ebb8426fc550ad5d1f76d52c271a624af3c08a57."""
_TYPES = {"String": str, "DateTime": str, "Boolean": bool, "Int": int, "Float": (int, float)}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = explorer_index.make(
        tmp_path_factory.mktemp("index") / "index", n_features=N_FEATURES, n_neurons=6, n_tokens=20, per_bin=1,
        hostile=[clean(word) for word in WORDS if word.startswith(("=", "<", "\u202e"))],
    )  # fmt: skip
    return Reader(IndexFolder(folder.path))


@pytest.fixture(scope="module")
def folder(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = PublishedFolder(tmp_path_factory.mktemp("tables") / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neuronpedia, "PER_BATCH", PER_BATCH)
        for table in tables_of(csv=True, for_neuronpedia=True, name=NAME, n_indexes=1):
            table(made, "", reader)
    made.finish()
    return made.path


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    return folder / "neuronpedia" / NAME


def rows_of(source: Path, kind: str) -> list[dict[str, Any]]:
    paths = sorted((source / kind).glob("batch-*.jsonl.gz")) or [source / f"{kind}.jsonl"]
    texts = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in paths]
    return [json.loads(line) for text in texts for line in text.decode().splitlines()]


def table(path: Path) -> list[dict[str, str]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def fits(value: Any, kind: str) -> bool:
    if value is None:
        return kind.endswith("?") or kind == "String"
    if kind.endswith("[]"):
        return isinstance(value, list) and all(fits(each, kind[:-2]) and each is not None for each in value)
    wanted = _TYPES[kind.rstrip("?")]
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))


@pytest.mark.parametrize("kind", list(PRISMA))
def test_rows_fit_the_tables_into_which_neuronpedia_imports_them(source: Path, kind: str) -> None:
    written = PRISMA[kind].split()
    fields = dict(zip(written[::2], written[1::2], strict=True))
    types = {name.rstrip("!"): type_ for name, type_ in fields.items()}
    needed = {name.rstrip("!") for name in fields if name.endswith("!")}
    rows = rows_of(source, kind)
    assert rows
    for row in rows:
        assert needed <= row.keys() <= types.keys()
        assert all(row[name] is not None for name in needed)
        assert [name for name, value in row.items() if not fits(value, types[name])] == []
    for path in source.rglob("*.gz"):  # the import takes its columns from the first line
        assert gzip.decompress(path.read_bytes())


def test_every_feature_is_read_back_as_the_index_has_it(source: Path, reader: Reader) -> None:
    features, activations = rows_of(source, "features"), rows_of(source, "activations")
    active = [row for row in range(N_FEATURES) if reader.columns.numbers["events"][row]]
    assert [row["index"] for row in features] == [str(row) for row in active]
    assert len(list((source / "features").iterdir())) == -(-N_FEATURES // PER_BATCH)
    for feature in features:
        unit = rounded(reader.folder.unit(int(feature["index"])))
        assert (feature["frac_nonzero"], feature["maxActApprox"]) == (unit["density"], unit["maximum"])
        assert feature["freq_hist_data_bar_heights"] == unit["histogram"]
        assert feature["pos_str"] == [each["token"] for each in unit["promoted"]]
        assert feature["neg_values"] == [each["effect"] for each in unit["suppressed"]]
        own = [each for each in unit["nearest"] if each["row"] < N_FEATURES]
        assert list(zip(feature["topkCosSimIndices"], feature["topkCosSimValues"], strict=True)) == [
            (each["row"], each["cosine"]) for each in own
        ]
        examples = rounded(reader.folder.examples(int(feature["index"])))
        found = [row for row in activations if row["index"] == feature["index"]]
        assert [row["tokens"] for row in found] == [example["tokens"] for example in examples]
        assert [row["values"] for row in found] == [example["activations"] for example in examples]
        assert [row["qualifyingTokenIndex"] for row in found] == [example["mark"] for example in examples]
        for row, example in zip(found, examples, strict=True):
            assert (row["binMin"] == -1) == (example["bin"] == 0)
            assert row["values"][row["maxValueTokenIndex"]] == row["maxValue"] == max(row["values"])
        shares = {row["binMin"]: row["binContains"] for row in found if row["binMin"] >= 0}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-2)
    assert len({row["id"] for row in activations}) == len(activations)


def test_explanations_and_activations_are_read_back_by_name(source: Path, reader: Reader) -> None:
    labels = {row["row"]: row for row in reader.folder.table(LABELS).to_pylist() if row["row"] < N_FEATURES}
    explanations = rows_of(source, "explanations")
    assert {int(row["index"]): row["description"] for row in explanations} == {
        row: label["explanation"] for row, label in labels.items() if reader.columns.numbers["events"][row]
    }
    for row in explanations:
        assert ("probable" in row["notes"]) == (labels[int(row["index"])]["source"] == "propagated")
    given = activations_from(source)
    assert set(given.units) == {f"feature-{row['index']}" for row in rows_of(source, "features")}
    assert set(explanations_from(source)) <= set(given.units)


def test_csv_has_every_unit_explanation_and_example(folder: Path, reader: Reader) -> None:
    units, labels = table(folder / "csv" / "units.csv"), table(folder / "csv" / "explanations.csv")
    assert [unit["unit_id"] for unit in units] == reader.columns.unit_ids.to_pylist()
    for unit in units:
        own = rounded(reader.folder.unit(int(unit["row"])))
        assert float(unit["density"]) == own["density"]
        assert json.loads(unit["promoted"]) == own["promoted"]
    assert [int(label["row"]) for label in labels] == reader.folder.table(LABELS)["row"].to_pylist()
    examples = table(folder / "csv" / "examples.csv.gz")
    known = [example for row in range(len(units)) for example in reader.folder.examples(row)]
    assert [json.loads(example["tokens"]) for example in examples] == [example["tokens"] for example in known]
    assert {example["unit_id"] for example in examples} == {unit["unit_id"] for unit in units}


def test_a_cell_that_a_spreadsheet_would_carry_out_is_text(folder: Path) -> None:
    labels = table(folder / "csv" / "explanations.csv")
    hostile = [label["explanation"] for label in labels if "cmd|" in label["explanation"]]
    assert hostile == ["'=cmd|'/c'!A1"]


def test_tables_are_the_same_every_time(folder: Path, reader: Reader, tmp_path: Path) -> None:
    again = PublishedFolder(folder)
    tables.write(again, "", reader)
    assert again.n_changed == 0


def test_a_name_that_does_not_fit_is_refused(reader: Reader) -> None:
    with pytest.raises(UsageError, match="without --neuronpedia"):
        tables_of(csv=True, for_neuronpedia=False, name=NAME, n_indexes=1)
    with pytest.raises(UsageError, match="cannot name 2 dictionaries"):
        tables_of(csv=False, for_neuronpedia=True, name=NAME, n_indexes=2)
    with pytest.raises(UsageError, match="is not MODEL/SOURCE of layer 2"):
        neuronpedia.source_of(reader, "tiny/7-res")
    assert neuronpedia.source_of(reader, None).name == "2-layers-resid-post-dictionary"
    assert neuronpedia_rows.PER_BATCH == 1024


def test_an_empty_batch_at_which_the_import_fails_is_not_written(tmp_path: Path) -> None:
    index = explorer_index.make(tmp_path / "index", n_features=8, n_neurons=0, n_tokens=4, labelled=0.0)
    folder = PublishedFolder(tmp_path / "site")
    reader = Reader(IndexFolder(index.path))
    neuronpedia.write(folder, "", reader, neuronpedia.source_of(reader, NAME))
    assert {name.split("/")[3] for name in folder.sizes if name.endswith(".gz")} == {"features", "activations"}
