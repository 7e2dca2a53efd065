"""A published folder has what the explorer answers, and nothing of the machine that it was made on."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from support import explorer_index, published_site
from support.hostile_text import WORDS
from support.published_site import OTHER, make_results, publish_to, read
from support.results.labels import RUN

from autointerp.errors import UsageError
from autointerp.explorer.comparison import jobs
from autointerp.explorer.index.folder import LABELS, IndexFolder
from autointerp.explorer.publishing import pages, units
from autointerp.explorer.publishing.folder import MARKER, PublishedFolder
from autointerp.explorer.publishing.packing import rounded
from autointerp.explorer.publishing.publication import named
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.library import INDEX, Library
from autointerp.explorer.web.site import NAVIGATION, NEED_A_SERVER, WITH_NOTES
from autointerp.explorer.web.unit_page import described
from sae.corpus.sources import clean

N_UNITS = 90


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(
        tmp_path_factory.mktemp("results"), runs=(RUN, OTHER), n_features=80, n_neurons=10, n_tokens=12,
        hostile=[clean(word) for word in WORDS[:8]],
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("published") / "site"
    publish_to(to, results, (RUN, OTHER))
    return to


def test_files_hold_what_the_explorer_answers_of_every_unit(results: Path, site: Path) -> None:
    for run, at in ((RUN, site / "data"), (OTHER, site / "runs" / OTHER / "data")):
        reader = Reader(IndexFolder(results / run / INDEX))
        assert read(at / "ids.json.gz") == reader.columns.unit_ids.to_pylist()
        for row in range(N_UNITS):
            own = {
                kind: read(at / kind / units.PARTS[kind].path(row))[row % units.PARTS[kind].entries]
                for kind in units.PARTS
            }
            own["units"].pop("elsewhere", None)
            assert own["units"] == json.loads(json.dumps(rounded(described(reader, row))))
            [card] = reader.cards(np.array([row]))
            assert own["cards"] == json.loads(json.dumps(rounded({"card": card, "strongest": reader.strongest(row)})))


def test_pages_lead_to_each_other_by_relative_addresses_to_files_that_exist(site: Path) -> None:
    written = [path for path in site.rglob("*.html") if path.name != "report.html"]
    assert {str(path.relative_to(site)) for path in written} >= {
        "index.html", "unit.html", "runs.html", f"runs/{OTHER}/index.html", f"runs/{OTHER}/unit.html",
    }  # fmt: skip
    for path in written:
        text = path.read_text(encoding="utf-8")
        links = re.findall(r'(?:href|src)="([^"#]+)"', text)
        assert any(link.endswith(".js") for link in links)
        for link in links:
            assert link == "data:," or (path.parent / link).is_file(), (path, link)
        assert "Content-Security-Policy" in text
        assert "unsafe" not in text
        assert re.search(r"Copy of <time>\d{4}-\d\d-\d\d</time>, autointerp 1.2.3", text)
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", text)


def test_every_page_is_published_or_known_to_need_a_server() -> None:
    """A new page of the explorer needs its data in `publishing/pages.py`, a test here in the browser, and its name in this list."""
    assert {name for name, _ in NAVIGATION} - {*NEED_A_SERVER, *WITH_NOTES} == {"search", "map", "compare"}


def test_units_of_a_published_index_have_their_matches_in_the_others_with_relative_addresses(site: Path) -> None:
    for at, run, there in ((site, OTHER, f"./runs/{OTHER}/"), (site / "runs" / OTHER, RUN, "../../")):
        [match] = read(at / "data" / "units" / units.PARTS["units"].path(20))[20 % units.PARTS["units"].entries][
            "elsewhere"
        ]
        assert (match["run"], match["base"], match["nearest"]["unit_id"]) == (run, there, "feature-20")
        assert read(at / "data" / "compare" / "runs.json.gz") == {"runs": [{"run": run, "index": True}]}
        about = read(at / "data" / "compare" / run / "about.json.gz")
        assert [side["base"] for side in about["sides"]] == ["./", there]
        assert (
            "elsewhere"
            not in read(at / "data" / "units" / units.PARTS["units"].path(85))[85 % units.PARTS["units"].entries]
        )


def test_a_comparison_that_fails_is_said_and_published_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    results = make_results(tmp_path / "results", runs=(RUN, OTHER), n_features=4, n_neurons=0, n_tokens=4, labelled=0.0)
    for path in results.glob(f"*/{INDEX}/matches-*"):
        path.unlink()
    monkeypatch.setattr(jobs, "_WORK", "no_such_module")
    publish_to(tmp_path / "site", results, (RUN, OTHER), says=True)
    about = read(tmp_path / "site" / "data" / "compare" / OTHER / "about.json.gz")
    assert about["state"] == "failed"
    assert "no_such_module" in about["error"]
    assert f"{RUN} and {OTHER} are published without their comparison: the comparison" in capfd.readouterr().err
    assert (tmp_path / "site" / "data" / "units" / "0" / "0.json.gz").is_file()


def test_the_list_of_runs_has_the_published_ones_with_their_pages_and_reports(site: Path, results: Path) -> None:
    rows = read(site / "data" / "api" / "runs.json.gz")["runs"]
    assert [(row["run_id"], row["address"]) for row in rows] == [
        (RUN, "./index.html"),
        (OTHER, f"./runs/{OTHER}/index.html"),
    ]
    assert all("features minus neurons" in row["verdict"] and row["report"] for row in rows)
    report = (site / "runs" / RUN / "report.html").read_text()
    assert f"<p>{RUN} tiny</p>" in report
    assert '<a href="units.parquet">units.parquet</a> spec.toml' in report
    assert (site / "runs" / RUN / "units.parquet").read_bytes() == (results / RUN / "units.parquet").read_bytes()


def test_nothing_names_a_folder_of_this_machine(site: Path, results: Path) -> None:
    folders = [
        str(folder).encode() for folder in (results, site.parent, Path.home(), Path.cwd()) if len(str(folder)) > 5
    ]
    for path in site.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            content = gzip.decompress(data) if path.suffix == ".gz" else data
            assert not [folder for folder in folders if folder in content], path
    assert not list(site.rglob("spec.toml"))
    assert not list(site.rglob("ledger*"))


def test_the_same_inputs_give_the_same_bytes_and_other_labels_change_what_shows_them(
    tmp_path: Path,
) -> None:
    again = make_results(tmp_path / "results", n_features=24, n_neurons=0, n_tokens=6)
    first = publish_to(tmp_path / "site", again)
    before = {path: path.read_bytes() for path in first.path.rglob("*") if path.is_file()}
    assert publish_to(tmp_path / "site", again).n_changed == 0
    assert {path: path.read_bytes() for path in first.path.rglob("*") if path.is_file()} == before
    labels = again / RUN / INDEX / LABELS
    time = labels.stat().st_mtime
    other = explorer_index.make(tmp_path / "other", n_features=24, n_neurons=0, labelled=0.2, run=RUN)
    os.replace(other.path / LABELS, labels)
    os.utime(labels, (time, time))
    publish_to(tmp_path / "site", again)
    changed = {str(path.relative_to(first.path)) for path, data in before.items() if path.read_bytes() != data}
    assert {"index.html", "data/texts/explanations.words.gz", "data/units/0/0.json.gz"} <= changed
    assert not changed & {
        "data/columns/density.gz",
        "data/ids.json.gz",
        "static/dom.js",
        "data/texts/promoted.words.gz",
    }


def test_files_that_are_published_no_longer_are_removed_and_others_stay(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", runs=(RUN, OTHER), n_features=4, n_neurons=0, n_tokens=4, labelled=0.0)
    site = tmp_path / "site"
    (site / ".git").mkdir(parents=True)
    (site / "CNAME").write_text("example.org")
    publish_to(site, results, (RUN, OTHER))
    (site / "mine.txt").write_text("a note")
    marker = json.loads((site / MARKER).read_text())
    assert marker["complete"]
    assert (site / "runs" / OTHER).is_dir()
    publish_to(site, results, (RUN,))
    assert not (site / "runs" / OTHER).exists()
    assert (site / "CNAME").read_text() == "example.org"
    assert (site / "mine.txt").read_text() == "a note"


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"has other files, such as thesis\.tex"):
        PublishedFolder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is a file"):
        PublishedFolder(tmp_path / "thesis.tex")


def test_a_publication_that_was_interrupted_is_continued(tmp_path: Path) -> None:
    folder = PublishedFolder(tmp_path / "site")
    folder.put("data/a.gz", b"a")
    assert not json.loads((tmp_path / "site" / MARKER).read_text())["complete"]
    again = PublishedFolder(tmp_path / "site")
    again.put("data/a.gz", b"a")
    again.finish()
    assert again.n_changed == 0
    assert json.loads((tmp_path / "site" / MARKER).read_text()) == {
        "by": "autointerp publish", "complete": True, "files": ["data/a.gz"],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["/etc/hostname", "../other.txt"])
def test_a_damaged_marker_removes_nothing_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.txt").write_text("kept")
    site = tmp_path / "site"
    site.mkdir()
    (site / MARKER).write_text(json.dumps({"files": [name]}))
    PublishedFolder(site).finish()
    assert (tmp_path / "other.txt").read_text() == "kept"
    (site / MARKER).write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        PublishedFolder(site)


def test_only_the_first_index_may_be_of_no_run(results: Path, tmp_path: Path) -> None:
    alone = explorer_index.make(tmp_path / "alone", n_features=4, n_neurons=0).path
    own = results / RUN / INDEX
    assert [(each.run, each.at) for each in named([alone, own], results)] == [(None, ""), (RUN, f"runs/{RUN}/")]
    with pytest.raises(UsageError, match="is not the index of a run"):
        named([own, alone], results)
    with pytest.raises(UsageError, match="named twice"):
        named([own, own], results)


def test_an_index_without_explanations_is_published_without_meaning(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", n_features=20, n_neurons=0, labelled=0.0, n_tokens=6)
    publish_to(tmp_path / "site", results)
    about = published_site.read(tmp_path / "site" / "data" / "about.json.gz")
    assert (about["n"], about["meaning"]) == (20, False)
    assert not (tmp_path / "site" / "data" / "meaning").exists()


def test_data_with_one_address_is_a_file_of_its_name_even_if_the_explorer_answers_with_a_problem(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "DATA", ("rows?limit=2", "rows?kind=cat"))
    folder = PublishedFolder(tmp_path / "site")
    pages.write_data(folder, application(Library(results, results / RUN / INDEX), Access()), f"/runs/{OTHER}/", "x/")
    assert len(read(tmp_path / "site" / "x" / "data" / "api" / "rows-limit-2.json.gz")["rows"]) == 2
    assert "kind='cat'" in read(tmp_path / "site" / "x" / "data" / "api" / "rows-kind-cat.json.gz")["error"]
