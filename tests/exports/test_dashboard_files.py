"""Neuronpedia's and SAEDashboard's files hold the run's features, and their own packages read them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.locations import PEER_SCRIPTS
from support.packages import needed
from support.results import summaries
from support.sae import peers

from autointerp.cli.export import export
from autointerp.exports.run_tables import RunTables
from autointerp.prompts.given_activations import activations_from
from autointerp.prompts.given_explanations import explanations_from

NAME = "gpt2-small/15-res-jb"
RELATED = (
    "neuron_alignment_indices neuron_alignment_values neuron_alignment_l1 correlated_neurons_indices correlated_neurons_pearson"
    " correlated_neurons_l1 correlated_features_indices correlated_features_pearson correlated_features_l1"
)
FIELDS = {
    "release": "name description creatorName creatorId visibility isNewUi featured descriptionShort urls creatorEmail creatorNameShort"
    " defaultSourceSetName defaultSourceId defaultUmapSourceIds createdAt",
    "model": "id instruct creatorId displayNameShort displayName tlensId dimension visibility defaultSourceSetName defaultSourceId"
    " inferenceEnabled layers neuronsPerLayer createdAt owner updatedAt website",
    "sourceset": "modelId name creatorId hasDashboards visibility description type creatorName urls creatorEmail releaseName"
    " defaultOfModelId defaultRange defaultShowBreaks showDfa showCorrelated showHeadAttribution showUmap createdAt",
    "source": "id modelId setName creatorId hasDashboards inferenceEnabled inferenceHosts saelensConfig saelensRelease saelensSaeId hfRepoId"
    " hfFolderId visibility defaultOfModelId hasUmap hasUmapLogSparsity hasUmapClusters num_prompts num_tokens_in_prompt dataset notes"
    " createdAt",
    "features": "modelId layer index creatorId createdAt maxActApprox hasVector vector vectorLabel vectorDefaultSteerStrength hookName"
    f" topkCosSimIndices topkCosSimValues {RELATED} neg_str neg_values pos_str pos_values frac_nonzero freq_hist_data_bar_heights"
    " freq_hist_data_bar_values logits_hist_data_bar_heights logits_hist_data_bar_values decoder_weights_dist sourceSetName",
    "activations": "id tokens index layer modelId maxValue maxValueTokenIndex minValue values creatorId dataSource dataIndex dfaValues"
    " dfaTargetIndex dfaMaxValue createdAt lossValues logitContributions binMin binMax binContains qualifyingTokenIndex zIndices zValues",
    "explanations": "id modelId layer index description authorId embedding triggeredById typeName explanationModelName notes createdAt",
}
"""The fields of Neuronpedia's rows (`neuronpedia_utils/db_models`), whose import takes no others."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "demo-1"
    summaries.make(folder, n_features=5, n_neurons=3)
    return folder


def exported(run: Path, to: str, *options: str) -> Result:
    return CliRunner().invoke(export, [str(run), "--to", to, *options], catch_exceptions=False)


def lines(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def source(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("np")
    done = exported(run, "neuronpedia", "--name", NAME, "--out", str(out))
    assert (done.exit_code, done.output.strip()) == (0, str(out / NAME))
    return out / NAME


@pytest.fixture(scope="module")
def batch(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sd")
    assert exported(run, "sae-dashboard", "--name", NAME, "--out", str(out)).exit_code == 0
    return out / "batch-0.json"


def test_neuronpedia_s_files_hold_every_active_feature_with_its_activations_and_explanation(
    run: Path, source: Path
) -> None:
    units = {u["unit_id"]: u for u in RunTables.read(run).units if u["kind"] == "feature"}
    active = {str(u["index"]) for u in units.values() if u["status"] != "dead"}
    features = lines(source / "features" / "batch-0.jsonl.gz")
    assert {row["index"] for row in features} == active
    for row in features:
        unit = units[f"feature-{row['index']}"]
        assert (row["modelId"], row["layer"]) == ("gpt2-small", "15-res-jb")
        assert row["frac_nonzero"] == unit["density"]
        assert row["freq_hist_data_bar_heights"] == unit["histogram"]
    activations = lines(source / "activations" / "batch-0.jsonl.gz")
    assert len({row["id"] for row in activations}) == len(activations)
    for row in activations:
        assert len(row["tokens"]) == len(row["values"])
        assert row["values"][row["maxValueTokenIndex"]] == row["maxValue"] == max(row["values"])
    intervals = [row for row in activations if row["binMin"] >= 0]
    assert all(row["binMin"] <= row["values"][row["qualifyingTokenIndex"]] + 1e-2 for row in intervals)
    first = [row for row in activations if row["index"] == features[0]["index"]]
    strongest = [row["maxValue"] for row in first if row["binContains"] == -1]
    assert len(strongest) == 20
    assert strongest == sorted(strongest, reverse=True)
    assert explanations_from(source) == {
        k: " ".join(u["explanation"].split()) for k, u in units.items() if u["explanation"]
    }


def test_exported_activations_are_read_back(run: Path, source: Path, batch: Path) -> None:
    tables = RunTables.read(run)
    texts = {(row["unit_id"], tuple(row["tokens"])) for row in tables.exemplars if row["bin"]}
    from_neuronpedia, from_dashboard = activations_from(source), activations_from(batch)
    assert from_neuronpedia.units.keys() == from_dashboard.units.keys()
    for unit_id, found in from_neuronpedia.exemplars.items():
        assert {e.tokens for e in found} == {e.tokens for e in from_dashboard.exemplars[unit_id]}
        assert {(unit_id, e.tokens) for e in found} <= texts
        assert len(found) > 20


def test_the_files_of_the_source_name_each_other(source: Path) -> None:
    [model], [release], [group], [own] = (
        lines(source / f"{name}.jsonl") for name in ("model", "release", "sourceset", "source")
    )
    assert own["modelId"] == group["modelId"] == model["id"] == "gpt2-small"
    assert own["setName"] == group["name"] == "res-jb"
    assert group["releaseName"] == release["name"]
    assert own["id"] == "15-res-jb"
    assert {row["visibility"] for row in (model, release, group, own)} == {"PRIVATE"}


def test_rows_have_the_fields_of_neuronpedia_s_own_and_no_others(source: Path) -> None:
    for kind, fields in FIELDS.items():
        path = source / kind / "batch-0.jsonl.gz" if (source / kind).is_dir() else source / f"{kind}.jsonl"
        rows = lines(path)
        assert rows
        assert all(row.keys() <= set(fields.split()) for row in rows), kind


@pytest.mark.parametrize("to", ["csv", "neuronpedia", "sae-dashboard"])
def test_hostile_text_is_exported_as_text(to: str, tmp_path: Path) -> None:
    summaries.make(tmp_path / "hostile-1", n_features=2, n_neurons=1, hostile=True, knows="sharp")
    assert exported(tmp_path / "hostile-1", to, "--out", str(tmp_path / "out")).exit_code == 0
    assert any(
        "window.pwned" in file.read_text(encoding="utf-8")
        for file in (tmp_path / "out").rglob("*")
        if file.suffix in (".csv", ".json")
    )


def test_an_export_is_the_same_every_time(run: Path, source: Path, tmp_path: Path) -> None:
    exported(run, "neuronpedia", "--name", NAME, "--out", str(tmp_path))
    files = [path for path in source.rglob("*") if path.is_file()]
    assert len(files) == 8
    assert all((tmp_path / NAME / path.relative_to(source)).read_bytes() == path.read_bytes() for path in files)


def test_names_of_model_and_source_are_made_of_the_run_s_or_refused(run: Path) -> None:
    done = exported(run, "neuronpedia")
    assert Path(done.output.strip()).is_dir()
    assert Path(done.output.strip()).name.startswith("15-resid-post-")
    refused = exported(run, "neuronpedia", "--name", "gpt2-small/6-res-jb")
    assert refused.exit_code == 2
    assert "is not MODEL/SOURCE of layer 15: write it like gpt2-small/15-res-jb" in refused.output


@pytest.mark.peers
def test_the_neuronpedia_package_reads_the_uploads_and_rows(source: Path) -> None:
    activation = needed("neuronpedia.np_activation").Activation
    explanation = needed("neuronpedia.np_explanation").Explanation
    body = json.loads((source / "upload-0.json").read_text(encoding="utf-8"))
    sent: list[Any] = []
    request = needed("neuronpedia.requests.feature_request").FeatureRequest(api_key="none")
    request.send_request = lambda **given: sent.append(given["json"])
    features = needed("neuronpedia.np_feature")
    made = [
        features.Feature(
            body["modelId"], body["source"], each["index"], each["density"],
            explanations=[explanation(body["modelId"], body["source"], each["index"], e["text"]) for e in each["explanations"]],
            activations=[activation(body["modelId"], body["source"], each["index"], **a) for a in each["activations"]],
        )
        for each in body["features"]
    ]  # fmt: skip
    request.upload_batch(body["modelId"], body["source"], made)
    assert sent == [body]
    for row in lines(source / "activations" / "batch-0.jsonl.gz"):
        assert (
            activation.from_np_db_json(row | {"source": row["layer"]}).values == row["values"]
            if row["binContains"] >= 0
            else True
        )
    for row in lines(source / "explanations" / "batch-0.jsonl.gz"):
        assert explanation.from_np_db_json(row | {"source": row["layer"]}).text == row["description"]


def test_sae_dashboard_reads_its_batch_and_writes_it_the_same(batch: Path) -> None:
    written = peers.run("sae_dashboard", PEER_SCRIPTS / "read_sae_dashboard.py", batch)
    assert json.loads(written) == json.loads(batch.read_text(encoding="utf-8"))


def test_sae_dashboard_s_batch_has_the_strongest_and_each_bin(batch: Path, run: Path) -> None:
    data = json.loads(batch.read_text(encoding="utf-8"))
    assert (data["model_id"], data["layer"], data["sae_set"]) == ("gpt2-small", 15, "res-jb")
    judged = [feature for feature in data["features"] if feature["activations"]]
    assert judged
    for feature in judged:
        bins = {(a["bin_min"], a["bin_max"]) for a in feature["activations"] if a["bin_min"] >= 0}
        assert len(bins) == 10
        assert len(feature["activations"]) == 20 + 10 * 5
