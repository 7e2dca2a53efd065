"""Runs handed to the workers, taken back, and asked again: rows of the ledger, whoever has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autointerp import locks
from autointerp.errors import UsageError
from autointerp.ledger import budgets, calls, events, jobs, judgements, leases, runs, workers
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import MarkedText, Prompt, ScoreMaterial
from autointerp.pipeline import local, prepare, stages, submit
from autointerp.progress import Progress
from autointerp.questions import planned_jobs
from autointerp.records import Arm, Explanation, ExplanationKey, Judgement, Outcome
from autointerp.run import Run
from autointerp.spec.rubric import load as load_rubric
from autointerp.spec.sections import Studies
from autointerp.spec.spec import Spec, parse

RUN = "night-run"
SCORES = [Job(f"score-{u}-{n}", "score", u, f"x-{u}-{n}", "main", 0, u, n) for u in "ab" for n in range(2)]
EXPLAINS = [Job(f"explain-{u}", "explain", u) for u in "ab"]


@dataclass(frozen=True)
class Named:
    """Inputs whose fingerprints are known."""

    spec: Spec

    def run_id(self, rubric: object) -> str:
        return RUN if self.spec.identity() != self.spec.as_before().identity() else "an-earlier-run"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr(prepare, "identify", lambda spec, on_progress: Named(spec))
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_service").ledger()
    ledger = Ledger.open(url)
    yield ledger
    ledger.close()


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return parse(
        {
            "name": "night",
            "subject": {"model": str(tmp_path)},
            "dictionary": {"path": str(tmp_path)},
            "corpus": {"sources": [str(tmp_path)]},
        }
    )


def states(ledger: Ledger) -> dict[str, dict[str, int]]:
    with ledger.read() as tx:
        return jobs.counts(tx, RUN)


def run_state(ledger: Ledger) -> tuple[str, str]:
    with ledger.read() as tx:
        row = runs.get(tx, RUN)
    assert row is not None
    return row["carrier"], row["state"]


def scored(job: Job, outcome: Outcome) -> Judgement:
    grade = 2 if outcome is Outcome.SCORED else None
    return Judgement(job.exemplar_id, job.unit_id, Arm.MAIN, 0, outcome, grade, "because", None)


def carried(ledger: Ledger, failing: dict[str, Outcome]) -> None:
    """Let a queued run be done by workers, but for questions that came out otherwise than well."""
    with ledger.write() as tx:
        runs.start(tx, RUN)
        harvest = [planned_jobs.stage_job("harvest"), planned_jobs.stage_job("merge")]
        others = [planned_jobs.stage_job(stage) for stage in ("prepare", "plan", "finish")]
        jobs.plan(tx, RUN, [*harvest, *EXPLAINS, *SCORES, *others])
        for job in (*harvest, *EXPLAINS, *SCORES, *others):
            jobs.finish(tx, RUN, job.job_key)
        for job in EXPLAINS:
            outcome = failing.get(job.job_key, Outcome.SCORED)
            judgements.add_explanation(tx, RUN, Explanation(ExplanationKey(job.unit_id), outcome, "cats", "", None))
        for job in SCORES:
            outcome = failing.get(job.job_key, Outcome.SCORED)
            judgements.add_judgement(
                tx, RUN, job.job_key, ExplanationKey.parse(job.explanation_unit_id), scored(job, outcome)
            )
            if outcome is Outcome.GAVE_UP:
                jobs.fail(tx, RUN, job.job_key, "its worker died each time")
        runs.set_state(tx, RUN, "done")


def test_the_same_spec_twice_is_one_run(ledger: Ledger, spec: Spec, tmp_path: Path) -> None:
    assert submit.submit(ledger, spec, tmp_path).was == "new"
    again = submit.submit(
        ledger, spec.model_copy(update={"budget": spec.budget.model_copy(update={"usd": 7.0})}), tmp_path
    )
    assert (again.run_id, again.was) == (RUN, "queued")
    assert states(ledger) == {"prepare": {"pending": 1}}
    with ledger.read() as tx:
        [row] = runs.all_runs(tx)
    assert "usd = 7.0" in row["spec"], "a raised budget is taken up"
    carried(ledger, {})
    assert submit.submit(ledger, spec, tmp_path).was == "done"
    assert run_state(ledger) == ("fleet", "done")


def test_a_done_run_is_queued_again_for_studies_that_it_lacks(ledger: Ledger, spec: Spec, tmp_path: Path) -> None:
    submit.submit(ledger, spec, tmp_path)
    carried(ledger, {})
    with_study = spec.model_copy(update={"studies": Studies.model_validate({"neighbours": {}})})
    again = submit.submit(ledger, with_study, tmp_path)
    assert (again.run_id, again.was) == (RUN, "resumed")
    carried(ledger, {})
    assert submit.submit(ledger, with_study, tmp_path).was == "done"
    assert submit.submit(ledger, spec, tmp_path).was == "done"
    with ledger.write() as tx:
        runs.set_state(tx, RUN, "done", "studies.neighbours: no space left", 1)
    assert submit.submit(ledger, with_study, tmp_path).was == "resumed"
    assert "studies" not in states(ledger)


def test_a_run_is_executed_by_workers_or_by_one_process_not_both(ledger: Ledger, spec: Spec, tmp_path: Path) -> None:
    run = Run(RUN, spec, load_rubric("specificity"), tmp_path / RUN, tmp_path, {}, {}, {})
    submit.submit(ledger, spec, tmp_path)
    with pytest.raises(UsageError, match=r"is executed by the workers: .* cancel it"):
        local.execute_run(run, ledger, Progress(quiet=True))
    submit.cancel(ledger, RUN)
    with locks.locked(tmp_path / RUN / ".lock", f"run {RUN}"):
        for act in (submit.resume, submit.retry):
            with pytest.raises(UsageError, match="another process is working on run night-run"):
                act(ledger, RUN, tmp_path)
        with pytest.raises(UsageError, match="another process is working on run night-run"):
            submit.submit(ledger, spec, tmp_path)
    assert run_state(ledger) == ("fleet", "cancelled")
    assert submit.submit(ledger, spec, tmp_path).was == "resumed"


def test_cancel_and_resume_keep_finished_work_and_live_leases(ledger: Ledger, spec: Spec, tmp_path: Path) -> None:
    """One lease is a living worker's, who will end its call; the other's worker was buried."""
    submit.submit(ledger, spec, tmp_path)
    carried(ledger, {})
    with ledger.write() as tx:
        runs.set_state(tx, RUN, "running")
        for name in ("alive", "buried"):
            workers.register(tx, name, queues="judge", version="1")
        workers.mark_dead(tx, "buried")
        jobs.delete(tx, RUN, ["finish"])
        jobs.plan(tx, RUN, [Job("score-3", "score", "b"), Job("score-4", "score", "b")])
        leases.lease(tx, RUN, "score", most=1, owner="alive")
        leases.lease(tx, RUN, "score", most=1, owner="buried")
        budgets.reserve(tx, RUN, 1.0, Limits())
    with pytest.raises(UsageError, match=f"run {RUN} is running: `autointerp status"):
        submit.resume(ledger, RUN, tmp_path)
    submit.cancel(ledger, RUN)
    with pytest.raises(UsageError, match="is cancelled: only a run that is queued for or executed by workers"):
        submit.cancel(ledger, RUN)
    with pytest.raises(budgets.NotRunning), ledger.write() as tx:
        budgets.reserve(tx, RUN, 1.0, Limits())
    submit.resume(ledger, RUN, tmp_path)
    assert run_state(ledger) == ("fleet", "queued")
    assert states(ledger)["score"] == {"done": 4, "leased": 1, "pending": 1}
    with ledger.read() as tx:
        said = [event["text"] for event in events.of_run(tx, RUN)]
    assert said == ["submitted", "cancelled by hand", "resumed"]


def test_a_cancelled_report_is_written_after_resume(ledger: Ledger, spec: Spec, tmp_path: Path) -> None:
    submit.submit(ledger, spec, tmp_path)
    carried(ledger, {})
    with ledger.write() as tx:
        runs.set_state(tx, RUN, "cancelled")
    submit.resume(ledger, RUN, tmp_path)
    with ledger.write() as tx:
        assert stages.advance(tx, RUN)
    assert states(ledger)["finish"] == {"pending": 1}


def test_retry_asks_failed_questions_again_and_no_answered_ones(ledger: Ledger, spec: Spec, tmp_path: Path) -> None:
    submit.submit(ledger, spec, tmp_path)
    failing = {
        "explain-a": Outcome.PROVIDER_ERROR, "score-b-0": Outcome.GAVE_UP, "score-b-1": Outcome.REFUSAL,
    }  # fmt: skip
    carried(ledger, failing)
    with pytest.raises(UsageError, match="is done: `autointerp retry --failed"):
        submit.resume(ledger, RUN, tmp_path)
    assert submit.retry(ledger, RUN, tmp_path) == 2
    assert run_state(ledger) == ("fleet", "queued")
    kept = {"prepare": {"done": 1}, "harvest": {"done": 1}, "merge": {"done": 1}}
    assert states(ledger) == kept | {"explain": {"done": 1, "pending": 1}, "score": {"done": 1, "pending": 1}}
    with ledger.read() as tx:
        assert [row["job_key"] for row in judgements.judgement_rows(tx, RUN)] == ["score-b-1"], "refusals are answers"
        assert set(judgements.explanations_of(tx, RUN)) == {ExplanationKey("b")}
    with ledger.write() as tx:
        assert not stages.advance(tx, RUN)
        jobs.finish(tx, RUN, "explain-a")
        judgements.add_explanation(tx, RUN, Explanation(ExplanationKey("a"), Outcome.SCORED, "dogs", "", None))
        jobs.finish(tx, RUN, "score-b-0")
        assert stages.advance(tx, RUN)
    assert states(ledger)["plan"] == {"pending": 1}, "the scoring is planned anew"
    assert "finish" not in states(ledger)
    with ledger.write() as tx:
        jobs.plan(tx, RUN, SCORES)
        jobs.finish(tx, RUN, planned_jobs.stage_job("plan").job_key)
        assert not stages.advance(tx, RUN)
        assert leases.lease(tx, RUN, "score", most=9, owner="me") == SCORES[:2], "only those of the new explanation"
        for job in SCORES[:2]:
            jobs.finish(tx, RUN, job.job_key)
        assert stages.advance(tx, RUN)
    assert states(ledger)["finish"] == {"pending": 1}


def test_nothing_to_retry_changes_nothing(ledger: Ledger, spec: Spec, tmp_path: Path) -> None:
    submit.submit(ledger, spec, tmp_path)
    with pytest.raises(UsageError, match="is queued: wait until it ends"):
        submit.retry(ledger, RUN, tmp_path)
    carried(ledger, {"score-a-0": Outcome.TRUNCATED})
    before = states(ledger)
    assert submit.retry(ledger, RUN, tmp_path) == 0
    assert (run_state(ledger), states(ledger)) == (("fleet", "done"), before)


def test_retry_runs_a_failed_stage_again(ledger: Ledger, spec: Spec, tmp_path: Path) -> None:
    submit.submit(ledger, spec, tmp_path)
    with ledger.write() as tx:
        jobs.fail(tx, RUN, planned_jobs.stage_job("prepare").job_key, "no such corpus")
        runs.set_state(tx, RUN, "failed", "no such corpus")
    assert submit.retry(ledger, RUN, tmp_path) == 1
    assert (run_state(ledger), states(ledger)) == (("fleet", "queued"), {"prepare": {"pending": 1}})


def test_questions_planned_by_one_process_wait_for_the_workers_harvest(
    ledger: Ledger, spec: Spec, tmp_path: Path
) -> None:
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="night", spec_hash="", spec=spec.to_toml())
        jobs.plan(tx, RUN, EXPLAINS + SCORES)
        for job in (*EXPLAINS, SCORES[0]):
            jobs.finish(tx, RUN, job.job_key)
        leases.lease(tx, RUN, "score", most=1, owner=local.OWNER)
        calls_open = calls.NewCall(RUN, SCORES[1].job_key, "key", "judge", 0.0)
        assert calls.begin(tx, calls_open, _prompt()) is not None
        runs.set_state(tx, RUN, "stopped")
    assert submit.submit(ledger, spec, tmp_path).was == "resumed"
    assert states(ledger) == {"prepare": {"pending": 1}, "explain": {"done": 2}, "score": {"done": 1}}
    with ledger.write() as tx:
        assert calls.totals(tx, RUN)["lost_calls"] == 1
        assert not stages.advance(tx, RUN)


def test_an_unknown_run_is_reported_as_unknown(ledger: Ledger, tmp_path: Path) -> None:
    for act in (
        lambda: submit.resume(ledger, "nobody", tmp_path),
        lambda: submit.cancel(ledger, "nobody"),
        lambda: submit.retry(ledger, "nobody", tmp_path),
    ):
        with pytest.raises(UsageError, match="no run nobody in the ledger: `autointerp runs` lists"):
            act()


def _prompt() -> Prompt:
    return Prompt("system", "user", {}, 16, ScoreMaterial("cats", MarkedText(("cat",), 0)))
