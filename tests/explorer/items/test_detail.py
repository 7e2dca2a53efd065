"""What a judge saw is shown as it was sent or made again exactly, and each reply is read as the run read it."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import Faults, ProviderServer
from support.published_site import read

from autointerp.errors import UsageError
from autointerp.explorer.items.detail import Place, rebuilt, stored
from autointerp.explorer.items.listing import Listing, Listings
from autointerp.explorer.items.query import Query
from autointerp.explorer.items.rebuilt import OpenRun, OpenRuns
from autointerp.explorer.publishing import judgements
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import rounded
from autointerp.explorer.publishing.private import Private
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import runs, texts

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "units": {"features": 6, "neurons": 6, "seed": 3},
    "score": {"per_bin": 1},
    "controls": {"shuffled": 1, "base_rate": 2, "planted": 0, "repeated": 0, "neighbours": 0} | planted.NO_RANDOM,
    "corpus": {"max_tokens": 20_000},
    "report": {"max_unscored_share": 0.9, "resamples": 200},
}
KINDS = ("500", "429", "truncated", "refusal", "invalid_json", "out_of_range", "content_policy", "400")


class Shown:
    """A carried run and its items."""

    def __init__(self, results: Path, ledger: Ledger, run_id: str) -> None:
        self.results, self.ledger, self.run_id = results, ledger, run_id
        self.listing: Listing = Listings(results, lambda: ledger).of(results / run_id)
        self.opened: OpenRun = OpenRuns(results, lambda: ledger).of(run_id)

    def places(self, of: str = "items", **query: str) -> list[Place]:
        rows, _ = self.listing.find(Query.of_address({"of": of, **query}))
        found = [Place.find(self.listing, self.listing.frame(of)["id"].iloc[row]) for row in rows]
        return [each for each in found if each is not None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("planted") / "world", documents=150)


@pytest.fixture(scope="module")
def asked(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A run whose provider refuses, cuts replies off, writes nonsense and fails."""
    with pytest.MonkeyPatch.context() as patch:
        for name in planted_runs.KEYS:
            patch.setenv(name, planted_runs.KEY)
        results = tmp_path_factory.mktemp("results")
        with ProviderServer(think_apart, Faults(0.3, seed=11, kinds=KINDS), retry_after_s=0.01) as server:
            judge = planted_runs.judge(planted_runs.MODELS[0], server, concurrency=2)
            run, ledger = planted_runs.prepare(world, results, judge=judge, **SMALL)
            planted_runs.carry(run, ledger)
        yield Shown(results, ledger, run.run_id)
        ledger.close()


def test_the_prompt_is_as_it_was_sent_and_its_schema_is_known(asked: Shown) -> None:
    places = [place for place in asked.places() if place.row.call_id == place.row.call_id]
    assert places
    for place in places[::3]:
        shown, made = stored(place, asked.run_id), rebuilt(place, asked.opened)
        assert made["same"] is True
        assert shown["prompt"]["user"] == made["prompt"]["user"]
        assert shown["prompt"]["system"] == made["prompt"]["system"]
        assert made["prompt"]["schema"]["type"] == "object"
        assert planted_runs.KEY not in str(shown) + str(made)
        assert "key_env" not in made["parameters"]


def test_each_reason_for_no_grade_comes_with_its_reply(asked: Shown) -> None:
    seen = set()
    for place in asked.places(state="unscored", kind="grade"):
        shown, made = stored(place, asked.run_id), rebuilt(place, asked.opened)
        outcome = shown["item"]["state"]
        seen.add(outcome)
        if outcome == "no_explanation":
            assert (shown["main"], shown["prompt"], made["prompt"]) == (None, None, None)
            continue
        main = next(call for call in shown["calls"] if call["call_id"] == shown["main"])
        assert shown["meaning"] != outcome  # in words
        if main["reply"]:
            assert made["reading"]["outcome"] == outcome
        else:
            assert outcome in ("content_rejected", "provider_error")
            assert main["reason"]
    assert seen >= {"refusal", "truncated", "parse_failure", "out_of_range", "provider_error", "content_rejected"}


def test_a_grade_is_read_from_its_reply(asked: Shown) -> None:
    for place in asked.places(state="scored", kind="grade")[::5]:
        reading = rebuilt(place, asked.opened)["reading"]
        assert reading["value"][0]["grade"] == place.row.score
        assert reading["value"][0]["reason"] == place.row.reason


def test_failed_attempts_are_shown_before_the_answer(asked: Shown) -> None:
    failed = asked.places(of="calls", state="error")
    assert failed
    for place in failed:
        shown = stored(place, asked.run_id)
        assert shown["results"]
        for result in shown["results"]:  # several if units have the same explanation, and so the same question
            item = Place.find(asked.listing, result["id"])
            assert item is not None
            assert place.row.call_id in [call["call_id"] for call in stored(item, asked.run_id)["calls"]]


def test_an_explanation_shows_the_question_of_every_try(asked: Shown) -> None:
    tried = [place for place in asked.places(kind="explain") if place.row.call_key]
    assert tried
    for place in tried:
        shown, made = stored(place, asked.run_id), rebuilt(place, asked.opened)
        assert made["same"] is True
        if place.row.outcome == "scored":
            assert made["reading"]["value"] == place.row.answer
        assert len(shown["calls"]) >= made["tries"]


def test_a_judge_without_calls_is_asked_again_and_its_question_verified_by_its_key(
    world: planted.World, tmp_path: Path
) -> None:
    run, ledger = planted_runs.prepare(
        world, tmp_path, judge={"model": "embedded"}, **SMALL | {"score": {"per_bin": 1, "also": ["detection", "sort"]}}
    )
    planted_runs.carry(run, ledger)
    shown = Shown(tmp_path, ledger, run.run_id)
    assert len(shown.listing.frames.calls) == 0
    for kind in ("explain", "grade", "detection", "sort"):
        places = [place for place in shown.places(kind=kind) if place.row.call_key]
        assert places
        for place in places[::7]:
            made = rebuilt(place, shown.opened)
            assert made["same"] is True
            assert made["is_llm"] is False
            assert made["reply"]["text"]
            assert made["reading"]["outcome"] == place.row.outcome
            if kind == "grade":
                assert made["reading"]["value"][0]["grade"] == place.row.score
    ledger.close()
    alone = Listings(tmp_path, lambda: None).of(tmp_path / run.run_id)
    place = Place.find(alone, shown.places(kind="grade", state="scored")[0].row.id)
    assert place is not None
    with closing(Ledger.open("sqlite://")) as other:  # of another folder: it does not know the run
        for known in (None, other):
            made = rebuilt(place, OpenRun(tmp_path, known, run.run_id))  # from the files of the run and its harvest
            assert made["same"] is True
            assert made["reading"]["value"][0]["grade"] == place.row.score


def test_items_of_one_question_lead_to_each_other(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    with ProviderServer(think_apart) as server:
        judge = planted_runs.judge(planted_runs.MODELS[1], server)
        run, ledger = planted_runs.prepare(
            world, tmp_path, judge=judge, **SMALL | {"score": {"per_bin": 1, "per_call": 4}}
        )
        planted_runs.carry(run, ledger)
    shown = Shown(tmp_path, ledger, run.run_id)
    place = shown.places(kind="grade", state="scored")[0]
    with_it = stored(place, run.run_id)["results"]
    assert len(with_it) == 3
    made = rebuilt(place, shown.opened)
    assert made["same"] is True
    grades = sorted(value["grade"] for value in made["reading"]["value"])
    assert grades == sorted([place.row.score, *(each["grade"] for each in with_it)])
    call = Place.find(shown.listing, f"call-{int(place.row.call_id)}")
    assert call is not None
    assert len(stored(call, run.run_id)["results"]) == 4
    ledger.close()


def test_a_question_that_would_be_another_today_is_said(asked: Shown, tmp_path: Path) -> None:
    shutil.copytree(asked.results, tmp_path / "copy")
    ledger = Ledger.in_folder(tmp_path / "copy")
    with ledger.write() as tx:
        tx.execute(sa.update(texts).values(text=texts.c.text + " Be strict."))
    changed = Shown(tmp_path / "copy", ledger, asked.run_id)
    place = changed.places(kind="grade", state="scored")[0]
    assert rebuilt(place, changed.opened)["same"] is False
    assert "Be strict." in stored(place, changed.run_id)["prompt"]["system"]
    ledger.close()


def test_missing_parts_of_a_run_are_named(asked: Shown, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"harvest-\w+ is not in"):
        OpenRun(tmp_path, asked.ledger, asked.run_id)
    with pytest.raises(UsageError, match=r"summary\.json"):
        OpenRun(tmp_path, None, asked.run_id)
    with asked.ledger.write() as tx:
        tx.execute(sa.insert(runs).from_select([c.name for c in runs.c], sa.select(*[sa.literal("bare-1").label("run_id") if c.name == "run_id" else sa.literal("").label("harvest_key") if c.name == "harvest_key" else c for c in runs.c]).where(runs.c.run_id == asked.run_id)))  # fmt: skip
    with pytest.raises(UsageError, match="no harvest yet"):
        OpenRun(asked.results, asked.ledger, "bare-1")


def test_published_questions_are_as_they_were_asked_and_as_they_are_made_again(asked: Shown, tmp_path: Path) -> None:
    listing, folder, server = asked.listing, PublishedFolder(tmp_path / "site"), asked.opened.run.spec.judge.base_url
    private = Private({"judge": {"base_url": server}}, asked.results)
    judgements.write(folder, asked.run_id, listing, asked.opened, private, lambda _: None)
    at = tmp_path / "site" / "runs" / asked.run_id / "data" / "calls"
    n_texts = read(at / "about.json.gz")["texts"]["n"]
    calls = {call["call_id"]: call for call in _entries(at / "texts", n_texts)}
    own = {of: _entries(at / of / "details", len(listing.frame(of))) for of in ("items", "calls")}
    assert {"scored", "error"} <= {call["state"] for call in calls.values()}
    for of, details in own.items():
        for place, published in list(zip(asked.places(of), details, strict=True))[::4]:
            shown, made = stored(place, asked.run_id), rebuilt(place, asked.opened)
            assert [call["call_id"] for call in shown["calls"]] == published["calls"]
            assert (shown["main"], len(shown["results"])) == (published["main"], len(published["others"]))
            again = own["items"][published["made"]["as"]]["made"] if "as" in published["made"] else published["made"]
            made.get("parameters", {}).pop("base_url", None)
            if shown["main"] is not None:
                main = calls[shown["main"]]
                assert (main["system"], main["user"]) == (shown["prompt"]["system"], shown["prompt"]["user"])
                if made["prompt"]:
                    made["prompt"] |= {"system": "", "user": ""}
            assert again == json.loads(json.dumps(rounded(made)))
    text = "".join(gzip.decompress(path.read_bytes()).decode("utf-8", "replace") for path in at.rglob("*.json.gz"))
    assert server
    assert server not in text
    assert planted_runs.KEY not in text
    assert not {"worker", "request_id", "batch_key"} & set().union(*calls.values())


def _entries(folder: Path, n: int) -> list[Any]:
    """The entries of files of some each."""
    return [entry for _, path in judgements.PARTS[folder.name].of(n) for entry in read(folder / path)]
