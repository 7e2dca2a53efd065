"""`autointerp publish`: what it says, what it refuses, and what it uploads to a server that speaks the hub's protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from support.published_site import OTHER, make_results, read
from support.results.labels import RUN
from support.services import local_hub
from support.services.local_hub import Hub

from autointerp.cli.main import main
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.publishing import command
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.web.library import INDEX, is_index
from autointerp.ledger.database import Ledger
from autointerp.ledger.own import lists, notes


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    return make_results(root, runs=(RUN, OTHER), n_features=12, n_neurons=0, n_tokens=6, labelled=0.0, per_bin=1)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with local_hub.running() as running:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", local_hub.TOKEN)
        yield running


def published(results: Path, to: Path, *options: str) -> Result:
    arguments = ["publish", *options, "--to", str(to), "--results", str(results)]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_it_says_what_is_published_and_how_large_it_is(results: Path, tmp_path: Path) -> None:
    done = published(results, tmp_path / "site", RUN, OTHER)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("12 features") == 2
    assert "excerpts of the corpus, 0 explanations, and the run's report and tables" in done.stderr
    assert "not published: the ledger, notes, specs, and folders and servers that are named in them" in done.stderr
    assert re.search(
        r": \d+ judgements with the prompts and replies of the judge: --no-calls leaves them out",
        done.stderr,
    )
    assert f"Published: {tmp_path / 'site'}" in done.stdout
    size = (
        sum(path.stat().st_size for path in (tmp_path / "site").rglob("*") if path.is_file())
        - (tmp_path / "site" / "published.json").stat().st_size
    )
    assert f"{size / 1e3:.1f} kB in" in done.stdout
    assert f"{size / 24 / 1e3:.1f} kB a unit" in done.stdout
    again = published(results, tmp_path / "site", RUN, OTHER)
    assert "of which 0 changed" in again.stdout


def test_notes_and_lists_are_published_only_if_they_are_asked_for(results: Path, tmp_path: Path) -> None:
    key = IndexFolder(results / RUN / INDEX).about.dictionary.key
    ledger = Ledger.in_folder(results)
    with ledger.write() as tx:
        notes.write(tx, key, "feature-3", f"a note about {Path.home()}/models/tiny", 0)
        lists.make(tx, key, "odd", ["feature-3", "feature-1"])
    ledger.close()
    done = published(results, tmp_path / "site", RUN)
    assert "not published: the ledger, notes, specs" in done.stderr
    assert not (tmp_path / "site" / "data" / "notes.json.gz").exists()
    assert not (tmp_path / "site" / "lists.html").exists()
    done = published(results, tmp_path / "site", RUN, "--notes")
    assert "1 of your notes and 1 of your lists" in done.stderr
    assert "not published: the ledger, specs" in done.stderr
    own = read(tmp_path / "site" / "data" / "notes.json.gz")
    assert own["notes"] == {"feature-3": "a note about tiny"}
    assert [(each["name"], each["units"]) for each in own["lists"]] == [("odd", ["feature-3", "feature-1"])]
    assert (tmp_path / "site" / "lists.html").is_file()


def test_judgements_are_left_out_if_that_is_asked_for(results: Path, tmp_path: Path) -> None:
    done = published(results, tmp_path / "site", RUN)
    assert (tmp_path / "site" / "runs" / RUN / "calls.html").is_file()
    done = published(results, tmp_path / "site", RUN, "--no-calls")
    assert "not published: the ledger, prompts and replies of the judge, notes, specs" in done.stderr
    assert "--no-calls" not in done.stderr
    assert not (tmp_path / "site" / "runs" / RUN / "calls.html").exists()
    assert not (tmp_path / "site" / "runs" / RUN / "data" / "calls").exists()


def test_an_index_of_no_run_is_published_from_its_folder(results: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    (results / OTHER / INDEX).rename(alone)
    try:
        done = published(tmp_path / "nowhere", tmp_path / "site", str(alone))
    finally:
        alone.rename(results / OTHER / INDEX)
    assert done.exit_code == 0, done.output
    refused = published(tmp_path / "nowhere", tmp_path / "site", str(results / OTHER / INDEX), "--notes")
    assert "--notes has no meaning without a ledger" in refused.stderr
    assert (tmp_path / "site" / "unit.html").is_file()
    assert not (tmp_path / "site" / "runs").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([RUN, RUN], "named twice"),
        (["nothing"], "there is no finished run nothing"),
        (["--name", "a/2-b"], "--name has no meaning without --neuronpedia"),
        (["--public"], "--public has no meaning without --hub or --hub-data"),
        (["--hub", "mine"], "--hub mine is not OWNER/NAME: write it like me/my-dictionary"),
        (["--hub-data", "me/"], "--hub-data me/ is not OWNER/NAME"),
        ([RUN, "--neuronpedia", "--name", "a b"], "is not MODEL/SOURCE"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(results: Path, tmp_path: Path, options: list[str], sentence: str) -> None:
    done = published(results, tmp_path / "site", *options, "--quiet")
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_with_other_files_is_left_as_it_is(results: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    done = published(results, tmp_path, RUN, "--quiet")
    assert (done.exit_code, [path.name for path in tmp_path.iterdir()]) == (2, ["thesis.tex"])


def test_limits_of_hosts_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LARGEST_FILE", 1000)
    monkeypatch.setattr(command, "LARGEST_SITE", 1500)
    folder = PublishedFolder(tmp_path / "site")
    folder.put("csv/examples.csv.gz", b"x" * 1200)
    assert len(command.sizes(folder, 1)) == 3
    folder.put("data/a.gz", b"x" * 400)
    lines = command.sizes(folder, 4)
    assert lines[:2] == ["1.6 kB in 2 files, of which 2 changed", "400 bytes are pages, 100 bytes a unit"]
    assert "GitHub takes no file of more than 1.0 kB: csv/examples.csv.gz" in lines
    assert any(line.startswith("GitHub Pages publishes at most 1.5 kB") for line in lines)


def test_a_space_has_the_published_files_and_a_card_and_a_dataset_the_index(
    results: Path, tmp_path: Path, hub: Hub
) -> None:
    done = published(results, tmp_path / "site", RUN, "--hub", "me/page", "--hub-data", "me/data")
    assert done.exit_code == 0, done.output
    assert [line for line in done.stdout.splitlines() if line.startswith("Uploaded")] == [
        f"Uploaded: {hub.url}/spaces/me/page", f"Uploaded: {hub.url}/datasets/me/data",
    ]  # fmt: skip
    assert hub.visibility == {"me/page": "private", "me/data": "private"}
    assert hub.sdks == {"me/page": "static"}
    sent = {name.removeprefix("me/page/"): data for name, data in hub.files.items() if name.startswith("me/page/")}
    _, metadata, body = sent.pop("README.md").decode().split("---\n", 2)
    assert yaml.safe_load(metadata)["sdk"] == "static"
    assert "| features | 12 |" in body
    site = tmp_path / "site"
    assert sent == {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    index = tmp_path / "index"
    index.mkdir()
    for name, data in hub.files.items():
        if name.startswith("me/data/"):
            (index / name.removeprefix("me/data/")).write_bytes(data)
    assert is_index(index)
    own, given = IndexFolder(index), IndexFolder(results / RUN / INDEX)
    assert own.about.n_features == given.about.n_features
    assert own.unit(3) == given.unit(3)
    _, metadata, body = (index / "README.md").read_text().split("---\n", 2)
    assert {config["data_files"] for config in yaml.safe_load(metadata)["configs"]} == {
        "units.parquet", "examples.parquet", "labels.parquet",
    }  # fmt: skip
    assert "between features and neurons" in body


def test_what_the_hub_refuses_is_said_and_the_folder_is_complete(results: Path, tmp_path: Path, hub: Hub) -> None:
    done = published(results, tmp_path / "site", RUN, "--hub", "you/page", "--public", "--quiet")
    assert done.exit_code == 2
    assert "the hub does not take you/page: no token that may write there (HTTP 403)" in done.stderr
    assert (tmp_path / "site" / "index.html").is_file()
