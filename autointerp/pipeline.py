"""The stages of a run as plain functions over the ledger.

    prepare -> harvest, a job a shard -> merge -> explain, a job a unit -> plan -> score, a job an exemplar and arm -> finish

`local.py` walks them in one process and `workers/` in many. Each function may be called again at any time: what is done stays
done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from autointerp import explain, plan, score
from autointerp.answer import Answer
from autointerp.caller import Conclude
from autointerp.judges.base import MarkedText, Prompt, ScoreMaterial
from autointerp.ledger import Ledger, events, jobs, runs, verdicts
from autointerp.ledger.jobs import Job
from autointerp.records import Arm, Exemplar, Explanation, Judgement, Outcome, Unit
from autointerp.rubric import Rubric
from autointerp.spec import Judge as JudgeSettings
from autointerp.spec import Spec

T = TypeVar("T")
STAGES = ("prepare", "harvest", "merge", "explain", "plan", "score", "finish")
PLANNED_AT_ONCE = 10_000
_FOLLOWS = {"harvest": "merge", "explain": "plan", "score": "finish"}
"""What is planned once every job of a stage has ended. The other stages are single jobs that plan what follows themselves."""


class Ask(Protocol):
    """Whoever reaches a judge: `Caller.ask`, or a batch that is being put together."""

    def __call__(
        self, prompt: Prompt, parse: Callable[[str], T], job: Job, repeat: int, conclude: Conclude[T] | None, /
    ) -> Answer[T]: ...


@dataclass(frozen=True)
class Run:
    """A run as its stages see it: the spec, the harvest's outcome, and where its rows and files go."""

    run_id: str
    spec: Spec
    rubric: Rubric
    folder: Path
    harvest: Path
    facts: Mapping[str, Any]
    units: Mapping[str, Unit]
    exemplars: Mapping[str, Sequence[Exemplar]]
    """By unit."""

    def exemplar(self, job: Job) -> Exemplar:
        return next(e for e in self.exemplars[job.unit_id] if e.exemplar_id == job.exemplar_id)


def judge_of(spec: Spec, stage: str) -> JudgeSettings:
    """Who is asked in a stage: the explainer or the judge."""
    return spec.explained_by if stage == "explain" else spec.judge


def open_run(run_id: str, spec: Spec, rubric: Rubric, results: Path, harvest: Path) -> Run:
    """A run over a finished harvest."""
    from autointerp.tables import read_exemplars, read_units

    facts = json.loads((harvest / "facts.json").read_text(encoding="utf-8"))
    units = {unit.unit_id: unit for unit in read_units(harvest / "units.parquet")}
    by_unit: dict[str, list[Exemplar]] = {unit_id: [] for unit_id in units}
    for exemplar in read_exemplars(harvest / "exemplars.parquet"):
        by_unit[exemplar.unit_id].append(exemplar)
    return Run(run_id, spec, rubric, results / run_id, harvest, facts, units, by_unit)


def register(ledger: Ledger, run: Run) -> None:
    """Write the run and its explain jobs into the ledger; both may be there already."""
    with ledger.write() as tx:
        runs.register(tx, run_id=run.run_id, name=run.spec.name, spec_hash=run.spec.hash(), spec=run.spec.to_toml())
        jobs.plan(tx, run.run_id, plan.explain_jobs(run.units.values()))


def plan_scoring(ledger: Ledger, run: Run) -> list[Job]:
    """Write the run's score jobs into the ledger, once all explanations are in; returns them."""
    planned = plan.score_jobs(run.spec, list(run.units.values()), run.exemplars)
    for start in range(0, len(planned), PLANNED_AT_ONCE):  # others may write between
        with ledger.write() as tx:
            jobs.plan(tx, run.run_id, planned[start : start + PLANNED_AT_ONCE])
    return planned


def begin(tx: Connection, run_id: str, stage: str, planned: Sequence[Job] | None = None) -> None:
    """Plan a stage: `planned`, which may be there already, or its single job. One that has nothing to do is passed over."""
    planned = [plan.stage_job(stage)] if planned is None else planned
    jobs.plan(tx, run_id, planned)
    begun(tx, run_id, stage, empty=not planned)


def begun(tx: Connection, run_id: str, stage: str, *, empty: bool) -> None:
    """Note that a stage's jobs are planned, or that it has none and is passed over."""
    runs.begin_stage(tx, run_id, stage)
    if empty:
        runs.end_stage(tx, run_id, stage)
        begin(tx, run_id, _FOLLOWS[stage])


def advance(tx: Connection, run_id: str) -> bool:
    """Plan what follows the stages whose jobs have all ended. Returns whether anything was planned."""
    moved = False
    for stage, following in _FOLLOWS.items():
        # Looked at once more under the lock: of many who see a stage end one plans what follows.
        if _ended(tx, run_id, stage) and runs.hold(tx, run_id) and _ended(tx, run_id, stage):
            runs.end_stage(tx, run_id, stage)
            begin(tx, run_id, following)
            moved = True
    return moved


def _ended(tx: Connection, run_id: str, stage: str) -> bool:
    """Whether a stage and all before it have ended, and what follows is not planned yet."""
    before = STAGES[: STAGES.index(stage) + 1]
    if jobs.exists(tx, run_id, [_FOLLOWS[stage]]) or not jobs.exists(tx, run_id, [stage]):
        return False
    if jobs.exists(tx, run_id, before, jobs.UNFINISHED):
        return False
    return stage != "harvest" or not jobs.exists(tx, run_id, [stage], ("failed",))


def explain_unit(ledger: Ledger, run: Run, ask: Ask, job: Job) -> None:
    """Ask for one unit's explanation and store it, or why there is none. Raises what `ask` does."""
    explanation = explanation_of(run, job.unit_id, lambda prompt, parse, repeat: ask(prompt, parse, job, repeat, None))
    with ledger.write() as tx:
        verdicts.add_explanation(tx, run.run_id, explanation)
        jobs.finish(tx, run.run_id, job.job_key)


def explanation_of(
    run: Run, unit_id: str, ask: Callable[[Prompt, Callable[[str], str], int], Answer[str]]
) -> Explanation:
    """A unit's explanation, or why there is none, from whoever `ask` reaches with a prompt, a parser and a repeat's number."""
    material = explain.material(run.exemplars[unit_id], run.units[unit_id].max_activation)
    first = explain.prompt(run.rubric, material, run.spec.explained_by.max_output_tokens)
    refusals: list[str] = []
    answer: Answer[str]
    for attempt in range(explain.TRIES):
        prompt = explain.ask_again(first, refusals)
        answer = ask(prompt, lambda text: explain.parse(text, run.spec.explain.max_chars), attempt)
        if answer.outcome is not Outcome.PARSE_FAILURE:
            break
        refusals.append(answer.reason)
    return Explanation(unit_id, answer.outcome, answer.value or "", answer.reason, answer.call_key)


def score_exemplar(ledger: Ledger, run: Run, ask: Ask, job: Job, explanations: Mapping[str, Explanation]) -> None:
    """Ask for one judgement and store it, scored or not. Raises what `ask` does."""
    exemplar, explanation = run.exemplar(job), explanations.get(job.explanation_unit_id)

    def store(tx: Connection, answer: Answer[tuple[int, str]]) -> None:
        grade, reason = answer.value or (None, answer.reason)
        judgement = Judgement(
            job.exemplar_id, job.unit_id, Arm(job.arm), job.repeat, answer.outcome, grade, reason, answer.call_key
        )
        verdicts.add_judgement(tx, run.run_id, job.job_key, job.explanation_unit_id, judgement)
        jobs.finish(tx, run.run_id, job.job_key)

    if explanation is None or explanation.outcome is not Outcome.SCORED:
        why = explanation.reason if explanation else "the unit was not explained"
        with ledger.write() as tx:
            store(tx, Answer(None, Outcome.NO_EXPLANATION, why, None))
        return
    window = MarkedText(exemplar.tokens, exemplar.mark)
    prompt = score.prompt(run.rubric, ScoreMaterial(explanation.text, window), run.spec.judge.max_output_tokens)
    ask(prompt, lambda text: score.parse(run.rubric, text), job, job.repeat, store)


def give_up(tx: Connection, run_id: str, job: Job, error: str) -> str:
    """Fail a job that was tried too often; a question is unscored then, with the reason that is returned."""
    said = f"{job.stage} given up after {job.attempts} attempts: {error or 'its worker died each time'}"
    jobs.fail(tx, run_id, job.job_key, said)
    verdicts.give_up(tx, run_id, job, said)
    events.add(tx, run_id, said, level="error")
    return said


def write_results(ledger: Ledger, run: Run, *, judge_facts: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Write the run's files and report from the ledger, and return its summary."""
    from autointerp import report, tables
    from autointerp.summary import summarise

    run.folder.mkdir(parents=True, exist_ok=True)
    frames = tables.of_run(ledger, run)
    facts = tables.facts_of_run(ledger, run) | dict(judge_facts) | {"command": command, "finished_at": _now()}
    summary = summarise(
        units=frames.units,
        judgements=frames.judgements,
        exemplars=frames.exemplars,
        spec=run.spec,
        rubric_levels=[level.grade for level in run.rubric.levels],
        facts=facts,
    )
    tables.write(frames, summary, run)
    report.write(run.folder)
    return summary


def conclude(tx: Connection, run_id: str, summary: Mapping[str, Any]) -> None:
    """Mark a run whose files are written as done."""
    withheld = summary["headline"].get("withheld")
    runs.set_state(tx, run_id, "withheld" if withheld else "done", withheld or "")
    events.add(tx, run_id, f"done, headline withheld: {withheld}" if withheld else "done")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
