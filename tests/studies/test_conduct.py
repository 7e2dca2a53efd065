"""A study is carried out once for its inputs, continues from kept parts, and asks a judge within a budget."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from support.planted_world import layered
from support.planted_world import world as planted
from support.providers.server import ProviderServer

from autointerp.errors import AutointerpError, BudgetExceeded, UsageError
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.messages import Prompt, TaskMaterial
from autointerp.progress import Progress
from autointerp.studies import registry, workbench
from autointerp.studies.command import asking_of, carry_out
from autointerp.studies.conduct import Outcome
from autointerp.studies.finding import Finding, Listing
from autointerp.studies.given import Given
from autointerp.studies.judging import Payer, Question, ask
from autointerp.studies.workbench import Workbench
from sae.errors import SaeError
from sae.formats import outline
from sae.formats.outline import DictionaryOutline

HOOK = f"resid_post.{layered.LAYERS - 1}"
MODEL = "openai-compatible/small"
computed: list[str] = []


@dataclass(frozen=True)
class Widths:
    """A study that lists the widths of dictionaries, and stops once before it has done so."""

    name: ClassVar[str] = "widths"
    version: ClassVar[int] = 1
    reads_text: ClassVar[bool] = False
    stops: bool = False
    asks: bool = False

    def carry_out(self, bench: Workbench) -> Finding:
        frame = bench.folder.kept_frame("widths", lambda: self._widths(bench))
        if self.stops and len(computed) == 1:
            computed.append("stopped")
            raise KeyboardInterrupt
        replies = bench.ask([Question(_prompt(name), str) for name in frame["name"]]) if self.asks else []
        said = [f"{bench.one.name} has {frame['d_sae'].iloc[0]} features.", *(str(reply.value) for reply in replies)]
        return Finding("Widths", tuple(said), (Listing("widths", "Widths", frame, {"name": "name", "d_sae": "width"}),))

    def _widths(self, bench: Workbench) -> pd.DataFrame:
        computed.append("widths")
        return pd.DataFrame([{"name": each.name, "d_sae": each.dictionary.d_sae} for each in bench.studied])


def _prompt(name: str) -> Prompt:
    return Prompt("You say a word.", f"Say {name}.", {"type": "object"}, 64, TaskMaterial("widths", "", ()))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    computed.clear()
    monkeypatch.setattr(registry, "make", lambda name, settings: Widths(**settings))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> layered.Deep:
    made = layered.make(tmp_path_factory.mktemp("deep"))
    settle(made.folder)
    return made


@pytest.fixture(scope="module")
def dictionary(deep: layered.Deep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    subject = deep.subject()
    values = layered.values(subject, deep.corpus(subject), HOOK)
    folder = tmp_path_factory.mktemp("dictionaries") / "right"
    layered.save(folder, layered.principal(values, HOOK, silent=16))
    settle(folder)
    return folder


def settle(folder: Path) -> None:
    """Make the files old enough to be known by their stamps."""
    long_ago = time.time_ns() - 10**10
    for path in folder.iterdir():
        os.utime(path, ns=(long_ago, long_ago))


@pytest.fixture
def given(deep: layered.Deep, dictionary: Path, tmp_path: Path) -> Given:
    return Given(subject=str(deep.folder), dictionaries=(str(dictionary),), results=tmp_path, quiet=True)


def test_a_finding_is_written_once_and_read_again(given: Given, tmp_path: Path) -> None:
    with Progress(quiet=True) as progress:
        first = carry_out(given, "widths", {}, progress)
        again = carry_out(given, "widths", {}, progress)
    assert first is not None
    assert again is not None
    assert computed == ["widths"]
    assert first.folder.parent == tmp_path / "studies"
    assert list(first.lines()) == list(again.lines()) == [f"{HOOK} has {2 * layered.RANK + 16} features."]
    assert pq.read_table(first.folder / "widths.parquet").num_rows == 1
    assert "Widths" in first.page.read_text(encoding="utf-8")


@pytest.mark.parametrize("reads_text", [False, True])
def test_a_finished_study_is_read_without_weights(
    given: Given, deep: layered.Deep, monkeypatch: pytest.MonkeyPatch, reads_text: bool
) -> None:
    monkeypatch.setattr(Widths, "reads_text", reads_text)
    given = replace(given, corpus=(str(deep.text),))
    with Progress(quiet=True) as progress:
        first = carry_out(given, "widths", {}, progress)
        fail = lambda *_, **__: pytest.fail("weights were read")  # noqa: E731
        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", fail)
        monkeypatch.setattr(outline, "load_dictionary", fail)
        assert carry_out(given, "widths", {}, progress) == first


@pytest.mark.parametrize("reads_text", [False, True])
def test_a_study_has_the_same_name_whether_its_weights_were_read(
    given: Given, deep: layered.Deep, dictionary: Path, monkeypatch: pytest.MonkeyPatch, reads_text: bool
) -> None:
    monkeypatch.setattr(Widths, "reads_text", reads_text)
    given = replace(given, corpus=(str(deep.text),))
    with Progress(quiet=True) as progress:
        known = carry_out(given, "widths", {}, progress)
        os.utime(dictionary / "cfg.json")  # too young to be known by its stamp
        loaded = carry_out(given, "widths", {}, progress)
        settle(dictionary)
    assert loaded == known
    assert computed == ["widths"]


def test_a_dictionary_that_has_changed_makes_another_study(given: Given, dictionary: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(dictionary, changed)
    settle(changed)
    given = replace(given, dictionaries=(str(changed),))
    with Progress(quiet=True) as progress:
        first = carry_out(given, "widths", {}, progress)
        layered.save(changed, layered.principal(torch.eye(planted.D_MODEL), HOOK, rank=4))
        settle(changed)
        other = carry_out(given, "widths", {}, progress)
    assert first is not None
    assert other is not None
    assert other.folder != first.folder


@pytest.mark.parametrize(
    ("places", "names"),
    [
        ([("a", 8), ("b", 8)], ["a", "b"]),
        ([("a", 8), ("a", 16)], ["a/8", "a/16"]),
        ([("a", 8), ("b", 8), ("a", 8)], ["a/8/1", "b", "a/8/2"]),
        ([("a", 8), ("a", 16), ("a", 8)], ["a/8/1", "a/16", "a/8/2"]),
    ],
)
def test_names_of_dictionaries_hold_no_more_than_tells_them_apart(
    places: list[tuple[str, int]], names: list[str]
) -> None:
    dictionaries = [
        DictionaryOutline("", "", hook_point, 8, d_sae, None, None, "saelens", "topk") for hook_point, d_sae in places
    ]
    assert workbench.names_of(dictionaries) == names


def test_a_terminal_shows_the_first_rows_of_the_first_table(tmp_path: Path) -> None:
    rows = [["feature-1", "0.5", "n/a", "", "a\x1b[31m red\nword"], ["feature-20", "0.25", "n/a", "", "short"]]
    header = ["unit", "cosine", "grade", "explanation", "context"]
    outcome = Outcome(
        tmp_path, {"tables": {"one": {"header": header, "rows": rows}, "two": {"header": [], "rows": []}}}
    )
    shown = list(outcome.first_table(40))
    assert shown[0] == "unit        cosine  context"
    assert shown[1].startswith("feature-1   0.5     a")
    assert "\x1b" not in "".join(shown)
    assert shown[2] == "feature-20  0.25    short"
    assert [line[:9] for line in outcome.first_table(9)] == list(outcome.first_table(9))


def test_a_folder_holds_one_study(given: Given, tmp_path: Path) -> None:
    here = replace(given, out=tmp_path / "here")
    computed[:] = ["stopped before"] * 2
    with Progress(quiet=True) as progress:
        carry_out(here, "widths", {}, progress)
        with pytest.raises(UsageError, match="holds another study, widths-"):
            carry_out(here, "widths", {"stops": True}, progress)


def test_an_interrupted_study_continues_from_its_parts(given: Given) -> None:
    with Progress(quiet=True) as progress:
        with pytest.raises(KeyboardInterrupt):
            carry_out(given, "widths", {"stops": True}, progress)
        assert carry_out(given, "widths", {"stops": True}, progress) is not None
    assert computed == ["widths", "stopped"]


def test_a_judge_is_asked_once_and_its_answers_are_in_the_finding(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProviderServer(brain=lambda system, user, schema: {"word": user.split()[1]}) as server:
        judged = replace(given, judge=MODEL, overrides=_judge_keys(server))
        with Progress(quiet=True) as progress:
            outcome = carry_out(judged, "widths", {"asks": True}, progress)
            carry_out(replace(judged, out=given.results / "elsewhere"), "widths", {"asks": True}, progress)
        assert outcome is not None
        assert outcome.values["sentences"][1] == f'{{"word": "{HOOK}."}}'
        assert len(server.books) == 1


def test_the_budget_of_a_study_is_not_spent_by_another(given: Given) -> None:
    with ProviderServer(brain=lambda system, user, schema: {"word": "yes"}) as server, Progress(quiet=True) as progress:
        for stops in (False, True):
            computed[:] = ["stopped before"] * 2
            judged = replace(given, judge=MODEL, overrides=_judge_keys(server))
            carry_out(judged, "widths", {"asks": True, "stops": stops}, progress)
    ledger = Ledger.in_folder(given.results / "studies")
    with ledger.read() as tx:
        ids = {str(row["run_id"]) for row in runs.all_runs(tx)}
    ledger.close()
    assert len(ids) == 2
    assert all(run_id.startswith("widths-") for run_id in ids)


def test_a_study_of_a_spec_is_paid_from_its_runs_row(given: Given) -> None:
    ledger = Ledger.in_folder(given.results)
    with ledger.write() as tx:
        runs.register(tx, run_id="the-run", name="the-run", spec_hash="", spec="")
    priced = ("judge.input_usd_per_mtok=1.0", "judge.output_usd_per_mtok=5.0")
    with ProviderServer(brain=lambda system, user, schema: {"word": "yes"}) as server, Progress(quiet=True) as progress:
        asking = asking_of(replace(given, judge=MODEL, overrides=(*_judge_keys(server), *priced)))
        assert asking is not None
        asking = replace(asking, usd=1.0, payer=Payer(ledger, "the-run"))
        questions = [Question(_prompt(word), str) for word in ("one", "two")]
        assert [answer.value for answer in ask(asking, "study-1", questions, progress)] == ['{"word": "yes"}'] * 2
        with pytest.raises(BudgetExceeded, match="budget"):
            ask(replace(asking, usd=0.0001), "study-2", [Question(_prompt("three"), str)], progress)
        dear = asking.settings.model_copy(update={"input_usd_per_mtok": 1e6})
        with pytest.raises(UsageError, match=r"budget\.usd is not set: give --yes"):
            ask(replace(asking, settings=dear, usd=None), "study-2", [Question(_prompt("three"), str)], progress)
        assert len(server.books) == 2
    with ledger.read() as tx:
        row = runs.get(tx, "the-run")
    ledger.close()
    assert row is not None
    assert row["spent_usd"] > 0
    assert row["state"] == "running", "the run goes on"
    assert not (given.results / "studies" / "ledger.sqlite").exists()


def test_a_dry_run_asks_nothing(given: Given) -> None:
    with ProviderServer() as server, Progress(quiet=True) as progress:
        judged = replace(given, judge=MODEL, overrides=_judge_keys(server), dry_run=True)
        assert carry_out(judged, "widths", {"asks": True}, progress) is None
        assert server.books == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subject": None}, "no subject: name a run"),
        ({"dictionaries": ()}, "no dictionary: name a run"),
        ({"runs": ("none-1234",)}, "there is no run"),
        ({"judge": "embedded"}, "cannot answer a study's questions"),
        ({"dry_run": True}, "give --judge"),
        ({}, "widths asks a judge: give --judge"),
        ({"corpus": ("missing.txt",)}, "missing.txt"),
    ],
)
def test_wrong_inputs_are_one_line(given: Given, changes: dict[str, Any], words: str) -> None:
    with Progress(quiet=True) as progress, pytest.raises((AutointerpError, SaeError), match=words) as raised:
        carry_out(replace(given, **changes), "widths", {"asks": True}, progress)
    assert "\n" not in str(raised.value)


def _judge_keys(server: ProviderServer) -> tuple[str, ...]:
    return (f"judge.base_url={server.url}/v1", "judge.system_role=true", "judge.json=schema")
