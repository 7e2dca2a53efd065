"""Units of an index are explained and graded by a judge that answers over HTTP, for the price that was named before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import explorer_index
from support.explorer_spec import USD_PER_MTOK, spec
from support.providers.server import ProviderServer, Script

from autointerp.calls import caller
from autointerp.calls.answers import Answer
from autointerp.errors import BudgetExceeded, ProviderStopped, UsageError
from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import EXAMPLES, LABELS, IndexFolder
from autointerp.explorer.labels.labeller import Labeller
from autointerp.judges import retry
from autointerp.ledger import calls, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.runs import all_runs
from autointerp.messages import Prompt
from autointerp.questions import handlers
from autointerp.records import Outcome
from autointerp.run import Run

ROWS = [3, 5, 7, 9]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.01)
    monkeypatch.setattr(caller, "MIN_PAUSE_S", 0.05)


@pytest.fixture
def index(tmp_path: Path) -> IndexFolder:
    """An index of which a few units have labels, none of them in `ROWS`."""
    folder = explorer_index.make(tmp_path / "index", n_features=60, n_neurons=4, labelled=0.3, seed=4)
    labels = folder.table(LABELS)
    folder.write_table(LABELS, labels.filter([row not in ROWS for row in labels["row"].to_pylist()]))
    examples = folder.table(EXAMPLES).to_pylist()
    for example in examples:  # a unit is active at one word
        example["tokens"][example["mark"]] = f" {explorer_index.WORDS[example['row'] % 64]}"
    with folder.writer(EXAMPLES) as writer:
        writer.write_table(pa.Table.from_pylist(examples, schema=schema.EXAMPLES))
    return folder


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.in_folder(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as started:
        yield started


def live(index: IndexFolder) -> dict[int, dict[str, Any]]:
    return {label["row"]: label for label in index.table(LABELS).to_pylist() if label["source"] == "live"}


def billed(server: ProviderServer) -> float:
    """Dollars of all calls that the server answered."""
    tokens = sum(e.input_tokens + e.cache_read_tokens + e.cache_write_tokens + e.output_tokens for e in server.books)
    return tokens * USD_PER_MTOK / 1e6


def test_units_are_explained_and_graded_for_the_price_that_was_named(
    index: IndexFolder, ledger: Ledger, server: ProviderServer
) -> None:
    labeller = Labeller(index, spec(server.url), ledger, usd=1.0)
    before = index.table(LABELS).to_pylist()
    price = labeller.price(ROWS)
    assert (price.units, price.is_llm, price.problem) == (4, True, "")
    assert price.usd is not None
    assert price.most_usd is not None
    assert 0 < price.usd < price.most_usd
    assert len(server.books) == 0

    told: list[tuple[str, int, int]] = []
    made = labeller.explain(ROWS, lambda *progress: told.append(progress))
    assert sorted(made.labels) == ROWS
    assert not made.failed
    assert told[-1] == ("explain", 4, 4)
    asked = len(server.books)
    assert asked == 4
    assert live(index)[3]["explanation"].startswith("words like those of group")
    assert (live(index)[3]["explainer"], live(index)[3]["judge"]) == ("openai-compatible/a-model", "")

    left = labeller.price(ROWS)
    graded = labeller.grade(ROWS, lambda *progress: told.append(progress))
    assert sorted(graded.labels) == ROWS
    assert len(server.books) - asked == left.calls == price.calls - asked
    for label in live(index).values():
        assert 0 <= label["grade"] <= 3
        assert 0 < label["graded"] <= 10
        assert label["judge"] == "openai-compatible/a-model"
        assert label["silent_grade"] is not None
        assert label["shuffled_grade"] is not None
    assert labeller.spent_usd == pytest.approx(billed(server))
    assert billed(server) < price.most_usd
    assert [label for label in index.table(LABELS).to_pylist() if label["source"] != "live"] == before

    again = labeller.price(ROWS)
    assert (again.calls, again.most_usd) == (0, 0.0)
    n = len(server.books)
    assert labeller.explain(ROWS).labels == {row: made.labels[row] for row in ROWS}
    labeller.grade(ROWS)
    assert len(server.books) == n
    assert live(index)[3]["grade"] is not None, "an explanation that is made again keeps its grade"


def test_the_judge_is_shown_none_of_the_documents_that_the_explainer_was(
    index: IndexFolder, ledger: Ledger, server: ProviderServer
) -> None:
    labeller = Labeller(index, spec(server.url), ledger)
    for row in range(20):
        exemplars = labeller.windows.exemplars(row)
        explained, judged = (
            {e.document for e in exemplars if e.role.startswith("explain") == is_explained}
            for is_explained in (True, False)
        )
        assert explained
        assert judged
        assert not explained & judged
        own = {(e["document"], e["position"]): e for e in index.examples(row)}
        for exemplar in exemplars:
            if exemplar.role not in ("quiet", "explain_quiet"):
                example = own[exemplar.document, exemplar.position]
                assert (list(exemplar.tokens), exemplar.mark) == (example["tokens"], example["mark"])
            else:
                assert exemplar.document not in {document for document, _ in own}
                assert not any(exemplar.token_activations)


def test_a_question_has_the_promoted_tokens_and_the_silent_windows(
    index: IndexFolder, ledger: Ledger, server: ProviderServer
) -> None:
    labeller = Labeller(index, spec(server.url), ledger)
    labeller.explain([3])
    shown = [e for e in labeller.windows.exemplars(3) if e.role in ("explain_top", "explain_spread")]
    with ledger.read() as tx:
        [user] = tx.exec_driver_sql('SELECT "user" FROM calls').scalars()
    assert user.count("strength 0-10") == len(shown) > 3
    assert "<silent>\n[1]" in user
    for token in [each["token"] for each in index.unit(3)["promoted"][:4]]:
        assert json.dumps(token) in user


def test_the_budget_is_a_hard_stop_and_what_was_paid_for_is_kept(
    index: IndexFolder, ledger: Ledger, server: ProviderServer
) -> None:
    rows = list(range(3, 15))
    judge = spec(server.url, concurrency=1)
    most = Labeller(index, judge, ledger).price([3], grade=False).most_usd
    assert most is not None
    small = Labeller(index, judge, ledger, usd=most)  # three attempts at one question
    with pytest.raises(BudgetExceeded, match=r"--usd = .* could be exceeded by the next call"):
        small.explain(rows)
    assert 0 < small.spent_usd == pytest.approx(billed(server))
    spent = small.spent_usd
    assert spent <= most
    paid = len(server.books)
    assert 0 < len(live(index)) == paid < len(rows)

    rest = Labeller(index, judge, ledger, usd=1.0)
    assert len(rest.explain(rows).labels) == len(rows)
    assert len(server.books) == len(rows), "nothing is asked twice"
    assert rest.spent_usd == pytest.approx(billed(server) - spent)


def test_an_error_of_the_provider_stops_and_the_same_call_continues(index: IndexFolder, ledger: Ledger) -> None:
    with ProviderServer(faults=Script(None, None, "401", then="401")) as server:
        labeller = Labeller(index, spec(server.url, concurrency=1), ledger)
        with pytest.raises(ProviderStopped, match="a-model"):
            labeller.explain(ROWS)
        assert len(live(index)) == 2
        server.faults = Script()
        assert sorted(labeller.explain(ROWS).labels) == ROWS


def test_a_stop_keeps_what_is_there(index: IndexFolder, ledger: Ledger) -> None:
    class Stopped(Exception):
        pass

    def stop(_phase: str, done: int, _total: int) -> None:
        if done:
            raise Stopped

    with ProviderServer(delay_s=0.3) as server:
        labeller = Labeller(index, spec(server.url, concurrency=1), ledger)
        with pytest.raises(Stopped):
            labeller.explain(list(range(3, 30)), stop)
        assert 0 < len(live(index)) < 27
        assert len(live(index)) == len(server.books)
        with ledger.read() as tx:
            row = runs.get(tx, labeller.run_id)
            assert row is not None
            assert (row["state"], row["reserved_usd"]) == ("stopped", pytest.approx(0))


def test_a_missing_key_is_named_before_anything_is_asked(
    index: IndexFolder, ledger: Ledger, server: ProviderServer
) -> None:
    labeller = Labeller(index, spec(server.url, key_env="KEY_OF_THE_TEST"), ledger, usd=1.0)
    price = labeller.price([3])
    assert "KEY_OF_THE_TEST" in price.problem
    assert price.most_usd is not None
    assert price.most_usd > 0
    with pytest.raises(UsageError, match="KEY_OF_THE_TEST"):
        labeller.explain([3])


def test_the_embedded_judge_is_free_and_named(index: IndexFolder, ledger: Ledger) -> None:
    labeller = Labeller(index, spec(None), ledger)
    price = labeller.price(ROWS)
    assert (price.usd, price.most_usd, price.calls, price.is_llm, price.judge) == (0.0, 0.0, 0, False, "embedded")
    labeller.explain(ROWS)
    labeller.grade(ROWS)
    assert {label["explainer"] for label in live(index).values()} == {"embedded"}
    assert {label["judge"] for label in live(index).values()} == {"embedded"}
    with ledger.read() as tx:
        assert calls.totals(tx, labeller.run_id)["calls"] == 0


def test_units_without_enough_examples_are_not_asked_about(
    tmp_path: Path, ledger: Ledger, server: ProviderServer
) -> None:
    index = explorer_index.make(tmp_path / "index", n_features=70, n_neurons=0, detailed=2, labelled=0.0)
    labeller = Labeller(index, spec(server.url), ledger)
    assert labeller.price([3, 65]).units == 1
    made = labeller.explain([3, 65])  # of the second 64 units there is one example each
    assert list(made.labels) == [3]
    assert "too few documents" in made.failed[65]
    graded = labeller.grade([3, 4, 65])
    assert list(graded.labels) == [3]
    assert "explain it first" in graded.failed[4]
    assert graded.labels[3]["shuffled_grade"] is None, "no other unit has an explanation"


def test_several_items_are_asked_about_at_once_if_the_spec_says_so(index: IndexFolder, ledger: Ledger) -> None:
    with ProviderServer() as server:
        together = spec(server.url)
        together = together.model_copy(update={"score": together.score.model_copy(update={"per_call": 5})})
        labeller = Labeller(index, together, ledger)
        labeller.explain(ROWS)
        price = labeller.price(ROWS, explain=False)
        asked = len(server.books)
        assert sorted(labeller.grade(ROWS).labels) == ROWS
        assert len(server.books) - asked == price.calls < sum(label["graded"] for label in live(index).values())


@pytest.mark.slow
def test_the_questions_go_in_batches_if_the_spec_says_so(
    index: IndexFolder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProviderServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        labeller = Labeller(index, spec(None, model="openai/gpt-5-mini", transport="batch"), ledger, usd=5.0)
        price = labeller.price(ROWS, grade=False)
        assert "in batches, which take up to a day" in price.notes
        assert sorted(labeller.explain(ROWS).labels) == ROWS
        assert len(server.batches) == 1
        assert sorted(labeller.grade(ROWS).labels) == ROWS
        assert price.most_usd is not None
        assert labeller.spent_usd > 0


def test_the_explainer_is_asked_as_in_a_run_with_the_same_windows(
    index: IndexFolder, ledger: Ledger, server: ProviderServer
) -> None:
    judged_by = spec(server.url)
    judged_by = judged_by.model_copy(update={"explain": judged_by.explain.model_copy(update={"logits": 0})})
    labeller = Labeller(index, judged_by, ledger)
    labeller.explain([3])
    unit, exemplars = labeller.windows.unit(3), labeller.windows.exemplars(3)
    harvested = [replace(e, uncounted=frozenset({0}), inclusion_probability=0.5) for e in reversed(exemplars)]
    silent = [e for e in exemplars if e.role == "explain_quiet"]
    harvested = [e for e in harvested if e.role != "explain_quiet"] + silent
    of_a_run = Run(
        "run", judged_by, labeller.rubric, index.path, index.path, {}, {unit.unit_id: unit}, {unit.unit_id: harvested}
    )
    asked: list[Prompt] = []

    def ask(prompt: Prompt, parse: Any, repeat: int) -> Answer[str]:
        asked.append(prompt)
        return Answer("words", Outcome.SCORED, "", None)

    handlers.explanation_of(of_a_run, Job("a job", "explain", unit.unit_id), ask)
    with ledger.read() as tx:
        assert tx.exec_driver_sql('SELECT "user" FROM calls').scalars().all() == [asked[0].user]
        assert tx.exec_driver_sql("SELECT text FROM texts").scalars().all() == [asked[0].system]


def test_the_row_of_an_explorer_is_no_run(index: IndexFolder, ledger: Ledger) -> None:
    labeller = Labeller(index, spec(None), ledger)
    labeller.explain([3])
    with ledger.read() as tx:
        assert runs.get(tx, labeller.run_id) is not None
        assert all_runs(tx) == []
