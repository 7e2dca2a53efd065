"""Provider batches whose results are odd, broken or refused: every question ends, no call stays open, and the books are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from support.planted_world import runs as planted_runs
from support.providers.mutations import mutated_bodies
from support.providers.server import Faults, ProviderServer, Script

from autointerp.calls import batch_results, batch_state, batches
from autointerp.calls.answers import Answer, Ask
from autointerp.calls.batches import Batcher
from autointerp.errors import ProviderStopped
from autointerp.judges import prices
from autointerp.judges.base import ItemFailed
from autointerp.judges.registry import open_batches, open_judge
from autointerp.ledger import batches as rows_of_batches
from autointerp.ledger import budgets, calls, jobs, judgements, runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import calls as call_rows
from autointerp.ledger.schema import jobs as job_rows
from autointerp.messages import MarkedText, Prompt, ScoreMaterial
from autointerp.pipeline import stages
from autointerp.prompts import single_grade
from autointerp.records import Arm, ExplanationKey, Judgement, Outcome
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings

MODELS = planted_runs.MODELS[:2]
RUN = "run-0"
RULES = rubric.load("specificity")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "grade": {"type": "integer", "enum": [0, 1, 2, 3]}},
    "required": ["reason", "grade"],
    "additionalProperties": False,
}
ODD: dict[str, dict[str, Any]] = {
    "half a character": {"model": "m\ud83d"},
    "null": {"model": "m\0", "id": "i\0"},
    "a long model": {"model": "m" * 400, "id": "i" * 400},
    "no model": {"model": None},
    "over 32 bits": {"usage": {"input_tokens": 3_000_000_000, "output_tokens": 5}},
    "over 64 bits": {"usage": {"input_tokens": 2**70, "output_tokens": 5}},
    "negative": {"usage": {"input_tokens": -5, "output_tokens": 5}},
    "not a number": {"usage": {"input_tokens": float("nan"), "output_tokens": 5}},
    "text": {"usage": {"input_tokens": "12", "output_tokens": "5"}},
    "no usage": {"usage": None},
    "empty usage": {"usage": {}},
}
each_model = pytest.mark.parametrize("model", MODELS)


@dataclass
class Run:
    """A run of `n` jobs, each of which asks the questions named after it, in batches."""

    ledger: Ledger
    server: ProviderServer
    batcher: Batcher
    answers: dict[str, list[Answer[Any]]] = field(default_factory=dict)

    def work(self) -> None:
        """Do all jobs, as a process would. Raises what stops a run."""
        while True:
            while self.batcher.submit_due():
                pass
            with self.ledger.read() as tx:
                if not jobs.exists(tx, RUN, ["score"], jobs.UNFINISHED):
                    return
                due = [row["batch_key"] for row in rows_of_batches.due(tx)]
            for batch_key in due:
                batch_results.process(self.batcher, batch_key)
            with self.ledger.write() as tx:
                for job, error in jobs.exhausted(tx, RUN):
                    stages.fail_permanently(tx, RUN, job, error)

    def calls(self) -> list[sa.RowMapping]:
        with self.ledger.read() as tx:
            return list(tx.execute(sa.select(call_rows).order_by(call_rows.c.call_id)).mappings())

    def money(self) -> dict[str, float]:
        with self.ledger.read() as tx:
            row = runs.get(tx, RUN)
        assert row is not None
        return {name: row[name] for name in ("spent_usd", "lost_usd", "reserved_usd")}

    def reasons(self) -> dict[str, str]:
        """Why jobs have no score."""
        with self.ledger.read() as tx:
            rows = judgements.judgement_rows(tx, RUN)
        return {str(row["job_key"]): str(row["reason"]) for row in rows if row["outcome"] != Outcome.SCORED}

    def check_books(self) -> None:
        """No call is open, nothing is reserved, and every answer is either paid at its price or lost with its whole reservation."""
        rows, money = self.calls(), self.money()
        assert not [row for row in rows if row["state"] == calls.OPEN]
        assert money["reserved_usd"] == pytest.approx(0.0, abs=budgets.ROUNDING)
        assert money["spent_usd"] == pytest.approx(sum(row["cost_usd"] or 0.0 for row in rows), abs=1e-9)
        unknown = sum(row["reserved_usd"] for row in rows if row["cost_usd"] is None)
        assert money["lost_usd"] == pytest.approx(unknown, abs=1e-9)


def parse(text: str) -> Any:
    return single_grade.parse(RULES, text)


def prompt(name: str) -> Prompt:
    return Prompt("Grade it.", f"case {name}", SCHEMA, 100, ScoreMaterial("cats", MarkedText((name,), 0)))


Opening = Callable[..., Run]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def opening(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opening]:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    for module, name in ((batch_state, "MIN_POLL_S"), (batch_state, "MAX_POLL_S"), (batch_state, "RETRY_S"), (batches, "WAIT_S")):  # fmt: skip
        monkeypatch.setattr(module, name, 0.0)
    closing: list[Callable[[], None]] = []
    number = iter(range(1000))

    def build(model: str, n: int = 1, several: int = 1, budget: float | None = 10.0, **server: Any) -> Run:
        served = ProviderServer(**server).start()
        url = f"sqlite:///{tmp_path}/ledger{next(number)}.sqlite"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres_service").ledger()
        ledger = Ledger.open(url)
        asked = JudgeSettings(model=model, base_url=planted_runs.url(model, served.url), max_output_tokens=100, timeout_s=20.0)  # fmt: skip
        provider, judge = open_batches(asked, settle_s=0.0), open_judge(asked, RULES)
        assert provider is not None
        closing.extend([provider.close, judge.close, ledger.close, served.stop])
        with ledger.write() as tx:
            runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
            jobs.plan(tx, RUN, [Job(f"job-{i}", "score", f"feature-{i}", "e", "main", place=i) for i in range(n)])

        def run_job(job: Job, ask: Ask) -> None:
            """Ask the job's questions one after another; the last answer is the job's judgement."""

            def conclude(tx: Connection, answer: Answer[Any]) -> None:
                made = Judgement("e", job.unit_id, Arm.MAIN, 0, answer.outcome, None, answer.reason, answer.call_key)
                judgements.add_judgement(tx, RUN, job.job_key, ExplanationKey(job.unit_id), made)
                jobs.finish(tx, RUN, job.job_key)

            prompts = [prompt(f"{job.job_key}/{i}") for i in range(several)]
            ends = [None] * (several - 1) + [conclude]
            asked = [ask(question, parse, job, 0, end) for question, end in zip(prompts, ends, strict=True)]
            run.answers[job.job_key] = asked

        run = Run(ledger, served, Batcher(ledger, RUN, "score", asked, judge, provider, Limits(budget), "me", run_job))
        return run

    yield build
    for close in closing:
        close()


@each_model
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_value_in_a_batch_leaves_no_call_open_and_its_cost_known_or_lost(
    odd: str, model: str, opening: Opening
) -> None:
    run = opening(model, 2, alter=lambda body: body | ODD[odd])
    run.work()
    assert [answer.outcome for [answer] in run.answers.values()] == [Outcome.SCORED] * 2
    run.check_books()
    money = run.money()
    assert (money["lost_usd"] > 0.0) == ("usage" in ODD[odd])
    if not money["lost_usd"]:
        assert money["spent_usd"] == pytest.approx(planted_runs.bill(model, run.server.books) / 2)


@each_model
def test_with_a_budget_unknown_usage_in_batches_counts_as_the_whole_reservation(model: str, opening: Opening) -> None:
    asked = JudgeSettings(model=model, max_output_tokens=100)
    bound = prices.max_cost(0, 100, prices.price_of(model, asked), batch=True)
    assert bound is not None
    run = opening(model, 400, budget=40 * bound, alter=lambda body: body | {"usage": None})
    with pytest.raises(Exception, match=r"budget\.usd"):
        run.work()
    run.check_books()
    assert run.money()["lost_usd"] <= 40 * bound
    assert len(run.calls()) < 40


@each_model
@pytest.mark.parametrize("odd", ["b" * 400, "b\0", "b\ud83d", 7, ["b"]], ids=repr)
def test_a_batch_named_by_an_unusable_id_stops_the_run_and_counts_as_lost(
    odd: Any, model: str, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opening(model)
    show = run.server.batch_endpoints._show
    monkeypatch.setattr(run.server.batch_endpoints, "_show", lambda batch: show(batch) | {"id": odd})
    with pytest.raises(ProviderStopped, match="which is no id of at most 128"):
        run.work()
    run.check_books()
    assert run.money()["lost_usd"] > 0.0


@each_model
def test_lines_that_cannot_be_read_twice_are_lost_and_their_questions_asked_again(
    model: str, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opening(model, 6)
    advance = run.server.batch_endpoints._process

    def spoil(batch: Any) -> dict[str, int]:
        counts = advance(batch)
        path = run.server.batch_endpoints.folder / f"{batch.id}-output"
        if batch is run.server.batches[0]:
            first, *others = path.read_text().splitlines(keepends=True)
            path.write_text("".join(["\udce4{[[\n".encode(errors="surrogateescape").decode("latin-1"), *others]))
            assert first
        return counts

    monkeypatch.setattr(run.server.batch_endpoints, "_process", spoil)
    run.work()
    assert [answer.outcome for [answer] in run.answers.values()] == [Outcome.SCORED] * 6
    run.check_books()
    assert sorted(row["state"] for row in run.calls()) == [calls.LOST] + [calls.SCORED] * 6
    assert len(run.server.batches) == 2


class Always(Faults):
    """A fault for the first `n` questions that arrive, at every attempt, and for no others."""

    def __init__(self, fault: str, n: int) -> None:
        super().__init__()
        self.fault, self.n, self.hashes = fault, n, set[str]()

    def __call__(self, number: int, body_hash: str, attempt: int) -> str | None:
        if len(self.hashes) < self.n:
            self.hashes.add(body_hash)
        return self.fault if body_hash in self.hashes else None


@each_model
@pytest.mark.parametrize("fault", ["429", "500", "overloaded_body", "item_expired"])
def test_a_question_that_every_batch_refuses_ends_unscored_with_its_reason(
    fault: str, model: str, opening: Opening
) -> None:
    run = opening(model, 12, faults=Always(fault, 1))
    run.work()
    assert len(run.answers) == 11
    [(_, reason)] = run.reasons().items()
    assert f"score failed after {jobs.MAX_ATTEMPTS} attempts" in reason
    assert len(run.server.batches) == jobs.MAX_ATTEMPTS
    run.check_books()


@each_model
@pytest.mark.parametrize(("fault", "n_batches"), [("429", 5), ("500", 5), ("400", 1)])
def test_a_batch_whose_items_all_end_in_one_error_stops_the_run_and_is_asked_again(
    fault: str, n_batches: int, model: str, opening: Opening
) -> None:
    run = opening(model, 12, faults=Faults(1.0, kinds=[fault]))
    with pytest.raises(ProviderStopped, match="all 12 items of a batch failed with the same error"):
        run.work()
    assert len(run.server.batches) == n_batches
    run.server.faults = Faults()
    run.work()
    assert len(run.answers) == 12
    assert {answer.outcome for [answer] in run.answers.values()} == {Outcome.SCORED}
    assert run.reasons() == {}
    run.check_books()


@each_model
def test_items_that_say_to_stop_are_settled_together(model: str, opening: Opening) -> None:
    run = opening(model, 8, faults=Always("401" if model == MODELS[0] else "insufficient_quota", 6))
    with pytest.raises(ProviderStopped):
        run.work()
    run.check_books()
    assert Counter(row["state"] for row in run.calls()) == {calls.ERROR: 6, calls.SCORED: 2}
    run.server.faults = Faults()
    run.work()
    assert len(run.answers) == 8


@each_model
def test_each_question_of_a_job_has_its_own_error(model: str, opening: Opening) -> None:
    run = opening(model, 1, several=3, faults=Script("400", None, "content_policy"))
    run.work()
    [answers] = run.answers.values()
    assert [answer.outcome for answer in answers] == [
        Outcome.PROVIDER_ERROR,
        Outcome.SCORED,
        Outcome.CONTENT_REJECTED if model != MODELS[0] else answers[2].outcome,
    ]
    assert answers[2].outcome not in (Outcome.SCORED, Outcome.PROVIDER_ERROR) or answers[2].reason != answers[0].reason
    assert len(run.calls()) == 3, "no question is asked again because another failed"
    run.check_books()


@each_model
def test_a_prompt_that_cannot_be_sent_fails_alone_among_the_questions_of_its_job(
    model: str, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opening(model, 1, several=2)
    size = run.batcher.provider.size

    def refusing(item: Any) -> int:
        if item.prompt.user.endswith("/0"):
            raise ItemFailed("the prompt holds characters that cannot be sent as UTF-8")
        return size(item)

    monkeypatch.setattr(run.batcher.provider, "size", refusing)
    run.work()
    [answers] = run.answers.values()
    assert [answer.outcome for answer in answers] == [Outcome.PROVIDER_ERROR, Outcome.SCORED]
    assert len(run.calls()) == 1


def test_a_batch_for_which_the_queue_is_never_large_enough_becomes_smaller(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opening(MODELS[1], 20)
    process = run.server.batch_endpoints._process

    def limited(batch: Any) -> dict[str, int]:
        batch.fault = "queue_full" if len(batch.items) > 3 else None
        return process(batch)

    monkeypatch.setattr(run.server.batch_endpoints, "_process", limited)
    run.work()
    assert len(run.answers) == 20
    run.check_books()


@each_model
def test_a_kill_between_the_end_of_a_call_and_that_of_its_job_leaves_no_job_behind(
    model: str, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opening(model, 3, faults=Always("400", 1))
    with monkeypatch.context() as patch:
        patch.setattr(batch_results, "_continue", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run.work()
    with run.ledger.write() as tx:
        rows_of_batches.release_claims(tx, RUN)
    run.work()
    assert len(run.answers) == 3
    run.check_books()


@each_model
def test_results_of_a_question_that_was_deleted_are_settled(model: str, opening: Opening) -> None:
    run = opening(model, 3)
    assert run.batcher.submit_due()
    with run.ledger.write() as tx:
        tx.execute(sa.delete(job_rows).where(job_rows.c.job_key == "job-1"))
    run.work()
    assert sorted(run.answers) == ["job-0", "job-2"]
    assert [row["state"] for row in run.calls()] == [calls.SCORED] * 3
    run.check_books()


@each_model
@given(data=st.data())
@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_a_batch_of_mutated_replies_no_call_is_open_and_the_books_are_right(
    model: str, opening: Opening, data: st.DataObject
) -> None:
    bodies = iter([data.draw(mutated_bodies("anthropic" if model == MODELS[0] else "responses")) for _ in range(20)])
    run = opening(model, 20, alter=lambda body: next(bodies, body))
    with suppress(ProviderStopped):
        run.work()
    run.check_books()
