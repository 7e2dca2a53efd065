"""Published judgements are those of the ledger or of the run's files, and the state of a run has nothing of its owner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import explorer_calls
from support.explorer_calls import RUN as ASKED
from support.published_site import make_results, publish_to, read
from support.results.labels import RUN

from autointerp.explorer.publishing import judgements, overviews
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.judgements import PARTS, Judgements
from autointerp.explorer.publishing.private import Private
from autointerp.ledger.database import Ledger

N = 130


def all_of(folder: Path, name: str, n: int) -> list[Any]:
    """The entries of files of some each."""
    parts = PARTS[name.rsplit("/", 1)[-1]]
    return [entry for _, path in parts.of(n) for entry in read(folder / name / path)]


def test_a_prompt_that_many_calls_share_hardly_takes_room_and_files_are_few(tmp_path: Path) -> None:
    ledger = Ledger.in_folder(tmp_path)
    explorer_calls.make(ledger, 400, units=40)
    folder, known = PublishedFolder(tmp_path / "site"), Judgements(tmp_path, ledger)
    listing, told = known.of(ASKED), []
    assert listing is not None
    judgements.write(folder, ASKED, listing, known.opened(ASKED), Private({}, tmp_path), told.append)
    ledger.close()
    assert sum(told) == judgements.count(listing) == 400 + 40 + 1 + 400
    at = tmp_path / "site" / "runs" / ASKED / "data" / "calls"
    calls = all_of(at, "texts", 400)
    assert {call["system"] for call in calls} == {explorer_calls.SYSTEM}
    assert len(folder.sizes) < 70
    repeated = sum(len(json.dumps(call)) for call in calls)
    assert sum(size for name, size in folder.sizes.items() if "/texts/" in name) < repeated / 8


@pytest.mark.parametrize("known", ["ledger", "files", "nothing", "left out"])
def test_a_run_without_judgements_or_without_its_ledger_says_so(tmp_path: Path, known: str) -> None:
    results = make_results(tmp_path / "results", n_features=4, n_neurons=0, n_tokens=4, labelled=0.0)
    ledger = Ledger.in_folder(results) if known == "ledger" else None
    if known == "nothing":
        for name in ("judgements", "explanations", "units"):
            (results / RUN / f"{name}.parquet").unlink(missing_ok=True)
    publish_to(tmp_path / "site", results, ledger=ledger, calls=known != "left out")
    if ledger is not None:
        ledger.close()
    run = tmp_path / "site" / "runs" / RUN
    state = read(run / "data" / "api" / "about.json.gz")
    is_published = known in ("ledger", "files")
    assert (run / "calls.html").is_file() == (run / "call.html").is_file() == is_published
    wanted = {"nothing": overviews.NONE, "left out": overviews.LEFT_OUT}
    assert state["unpublished"] == wanted.get(known, "")
    assert ("The ledger does not know this run" in state["missing"]) == (known != "ledger")
    page = (tmp_path / "site" / "index.html").read_text()
    assert f'data-judged="{RUN if is_published else ""}"' in page
    assert ("notes and judgements need" in page) == (known == "left out")
    if is_published:
        about = read(run / "data" / "calls" / "about.json.gz")
        assert about["items"]["n"] > 0
        assert ("Prompts as they were sent, replies" in about["missing"]) == (known == "files")


def test_the_state_of_a_run_has_nothing_of_its_owner(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", runs=(ASKED,), n_features=4, n_neurons=0, n_tokens=4, labelled=0.0)
    ledger = Ledger.in_folder(results)
    explorer_calls.make(ledger, N, state="stopped")
    site = publish_to(tmp_path / "site", results, (ASKED,), ledger=ledger, calls=True)
    state = read(site.path / "runs" / ASKED / "data" / "api" / "about.json.gz")
    assert (state["state"], state["live"], state["commands"], state["budgets"]) == ("stopped", False, [], [])
    assert [stage["name"] for stage in state["stages"]] == ["explain", "score"]
    assert state["cost"]["spent_usd"] == pytest.approx(0.0005 * N)
    for each in state["files"]:
        assert each["bytes"] == (site.path / "runs" / ASKED / each["name"]).stat().st_size
    assert publish_to(tmp_path / "site", results, (ASKED,), ledger=ledger, calls=True).n_changed == 0
    ledger.close()
