"""A run on the Hugging Face Hub is a private dataset with a card, in one commit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from huggingface_hub import DatasetCard
from support.results import summaries
from support.services import local_hub
from support.services.local_hub import Hub

from autointerp.cli.export import export


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "demo-1"
    summaries.make(folder, n_features=3, n_neurons=2, knows="sharp")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with local_hub.running() as running:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", local_hub.TOKEN)
        yield running


def exported(run: Path, name: str, *options: str) -> Result:
    return CliRunner().invoke(export, [str(run), "--to", "hub", "--name", name, *options], catch_exceptions=False)


def test_the_files_of_a_run_become_a_private_dataset_with_a_card(run: Path, hub: Hub) -> None:
    done = exported(run, "me/mine")
    assert (done.exit_code, done.output.strip()) == (0, f"{hub.url}/datasets/me/mine")
    assert hub.visibility == {"me/mine": "private"}
    assert len(hub.commits) == 1
    sent = {name.removeprefix("me/mine/"): data for name, data in hub.files.items()}
    on_disk = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    card = DatasetCard(sent.pop("README.md").decode())
    assert sent == on_disk
    assert {config["config_name"]: config["data_files"] for config in card.data.configs}["units"] == "units.parquet"
    assert "autointerp" in card.data.tags
    assert 'load_dataset("me/mine", "units"' in card.text


def test_a_second_export_updates_the_dataset_and_public_ones_are_asked_for(run: Path, hub: Hub) -> None:
    assert exported(run, "me/open", "--public").exit_code == 0
    assert exported(run, "me/open").exit_code == 0
    assert hub.visibility == {"me/open": "public"}
    assert len(hub.commits) == 2


def test_what_the_hub_refuses_is_said_in_one_line(run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    others = exported(run, "you/mine")
    assert others.exit_code == 2
    assert "the hub does not take you/mine: no token that may write there (HTTP 403)" in others.output
    assert "is not OWNER/DATASET" in exported(run, "mine").output
    assert "the hub does not take me/a b" in exported(run, "me/a b").output
    monkeypatch.setenv("HF_TOKEN", "hf_" + "b" * 34)
    strange = exported(run, "me/mine").output
    assert "no token that may write there (HTTP 401): make one, and run `hf auth login`" in strange
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    offline = exported(run, "me/mine").output
    assert "HF_HUB_OFFLINE forbids to upload: unset it" in offline
    assert {output.count("\n") for output in (others.output, strange, offline)} == {1}


def test_a_card_keeps_hostile_text_as_text(tmp_path: Path, hub: Hub) -> None:
    summaries.make(tmp_path / "hostile-1", n_features=3, n_neurons=2, hostile=True)
    assert exported(tmp_path / "hostile-1", "me/hostile").exit_code == 0
    _, metadata, body = hub.files["me/hostile/README.md"].decode().split("---\n", 2)
    assert set(yaml.safe_load(metadata)) == {"pretty_name", "tags", "configs"}
    assert "window.pwned" in body
    assert not re.search(r"(?<!\\)<(script|img|svg|a) ?", body)
