"""What one job asks a judge, and what becomes of the reply: an explanation, judgements, or another scorer's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from autointerp import records
from autointerp.calls import answers as answers_
from autointerp.calls.answers import Answer, Ask
from autointerp.harvest import explainer_windows
from autointerp.ledger import jobs, judgements
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import ExplainMaterial, MarkedText, Prompt, ScoreMaterial
from autointerp.prompts import explanation as explanation_prompt
from autointerp.prompts import grouped_grades, single_grade
from autointerp.prompts.replies import ReplyUnusable
from autointerp.prompts.single_grade import Grade
from autointerp.questions import revision, scorer_jobs
from autointerp.records import Answered, Explanation, ExplanationKey, Item, Judgement, Outcome
from autointerp.run import Run
from autointerp.scorers import cases, registry
from autointerp.scorers.base import Question
from autointerp.spec.spec import judge_of

T = TypeVar("T")


def do(ledger: Ledger, run: Run, ask: Ask, job: Job, said: Mapping[ExplanationKey, Explanation]) -> None:
    """Ask what a job asks and store what comes of it, given the explanations that there are. Raises what `ask` does."""
    if job.stage == "explain":
        explain_unit(ledger, run, ask, job)
    elif job.scorer:
        ask_scorer(ledger, run, ask, job, said)
    else:
        judge_items(ledger, run, ask, job, said)


def explain_unit(ledger: Ledger, run: Run, ask: Ask, job: Job) -> None:
    """Ask for one unit's explanation and store it, or why there is none."""
    explanation = explanation_of(run, job, lambda prompt, parse, repeat: ask(prompt, parse, job, repeat, None))
    with ledger.write() as tx:
        judgements.add_explanation(tx, run.run_id, explanation)
        jobs.finish(tx, run.run_id, job.job_key)


def explanation_of(run: Run, job: Job, ask: Callable[[Prompt, Callable[[str], str], int], Answer[str]]) -> Explanation:
    """A unit's explanation, or why there is none, from whoever `ask` reaches with a prompt, a parser and a repeat's number."""
    spec, unit = run.spec, run.units[job.unit_id]
    found = explainer_windows.of_unit(run.harvest, spec, job.unit_id).only(explainer_windows.wanted(spec, job.arm))
    most = spec.explained_by.max_output_tokens

    def render(material: ExplainMaterial) -> Prompt:
        return explanation_prompt.prompt(run.rubric, material, most)

    first = render(explanation_prompt.material(run.exemplars[job.unit_id], unit.max_activation, found))
    answer = answers_.usable(ask, first, partial(explanation_prompt.parse, max_chars=spec.explain.max_chars))
    if not answer.value or not found.held:
        return Explanation(job.explanation_key, answer.outcome, answer.value or "", answer.reason, answer.call_key)
    better = revision.revised(ask, first, answer.value, found.held, render, spec.explain.max_chars)
    call_key = better.call_key or answer.call_key
    return Explanation(job.explanation_key, answer.outcome, better.text, better.why, call_key)


def judge_items(ledger: Ledger, run: Run, ask: Ask, job: Job, said: Mapping[ExplanationKey, Explanation]) -> None:
    """Ask for the grades of a job's items and store each, scored or not. Items without an explanation are not asked about."""
    asked = [item for item in job.asked if records.text_of(said, item.explained_by)]
    unasked = [(item, _unexplained(job, item, said)) for item in job.asked if item not in asked]

    def store(tx: Connection, judged: Sequence[Judgement]) -> None:
        for item, judgement in [*unasked, *zip(asked, judged, strict=True)]:
            judgements.add_judgement(tx, run.run_id, item.key, item.explained_by, judgement)
        jobs.finish(tx, run.run_id, job.job_key)

    asking = _about(run, job, asked, said)
    if asking is None:
        with ledger.write() as tx:
            store(tx, [])
        return

    def conclude(tx: Connection, answer: Answer[Sequence[Grade | ReplyUnusable]]) -> None:
        store(tx, [_judged(job, item, number, answer) for number, item in enumerate(asked)])

    ask(*asking, job, job.repeat, conclude)


def ask_scorer(ledger: Ledger, run: Run, ask: Ask, job: Job, said: Mapping[ExplanationKey, Explanation]) -> None:
    """Ask another scorer's question and store what it brings."""
    answers: Sequence[Answered] = ()
    if job.step:
        with ledger.read() as tx:
            answers = judgements.answers_of(tx, run.run_id, job.unit_id)
    prompt, parse = scorer_jobs.question(cases.Cases(run, said, answers), registry.scorer(job.scorer), job)

    def store(tx: Connection, answer: Answer[Any]) -> None:
        row = Answered(
            job.scorer, job.unit_id, job.step, job.repeat, answer.outcome, answer.value, answer.reason, answer.call_key
        )
        judgements.add_answers(tx, run.run_id, [(job.job_key, row)])
        jobs.finish(tx, run.run_id, job.job_key)

    ask(prompt, parse, job, 0, store)


def question(run: Run, job: Job, said: Mapping[ExplanationKey, Explanation]) -> Question | None:
    """What a job of a first round asks, given the explanations; None where it asks nobody."""
    if job.stage == "probe":
        return None
    if job.scorer:
        return scorer_jobs.question(cases.Cases(run, said), registry.scorer(job.scorer), job)
    return _about(run, job, [item for item in job.asked if records.text_of(said, item.explained_by)], said)


def _about(run: Run, job: Job, items: Sequence[Item], said: Mapping[ExplanationKey, Explanation]) -> Question | None:
    """The question about a job's items and how its reply is read: alone in whichever way is asked for, or together."""
    if not items:
        return None
    materials = [ScoreMaterial(records.text_of(said, item.explained_by), _window(run, item)) for item in items]
    rubric, ask, most = run.rubric, run.spec.score.ask, judge_of(run.spec, job.stage).max_output_tokens
    if not job.items:
        return Question(
            single_grade.prompt(rubric, materials[0], most, ask), lambda text: [single_grade.parse(rubric, text, ask)]
        )
    assert ask != "logprobs", "the spec refuses it"
    return Question(
        grouped_grades.prompt(rubric, materials, most, ask), partial(grouped_grades.parse, rubric, len(materials))
    )


def _unexplained(job: Job, item: Item, said: Mapping[ExplanationKey, Explanation]) -> Judgement:
    found = said.get(item.explained_by)
    why = found.reason if found else "the unit was not explained"
    return _judgement(job, item, Outcome.NO_EXPLANATION, None, why, None)


def _judged(job: Job, item: Item, number: int, answer: Answer[Sequence[Grade | ReplyUnusable]]) -> Judgement:
    if answer.value is None:
        return _judgement(job, item, answer.outcome, None, answer.reason, answer.call_key)
    grade = answer.value[number]
    if isinstance(grade, ReplyUnusable):
        return _judgement(job, item, grade.outcome, None, str(grade), answer.call_key)
    return _judgement(job, item, Outcome.SCORED, grade, grade.reason, answer.call_key)


def _judgement(
    job: Job, item: Item, outcome: Outcome, grade: Grade | None, reason: str, call_key: str | None
) -> Judgement:
    return Judgement(
        item.exemplar_id,
        item.unit_id,
        item.arm,
        item.repeat,
        outcome,
        grade.score if grade else None,
        reason,
        call_key,
        expected=grade.expected if grade else None,
        judge=job.judge,
        asked_in=job.job_key if job.items else "",
    )


def _window(run: Run, item: Item) -> MarkedText:
    exemplar = run.exemplar(item)
    return MarkedText(exemplar.tokens, exemplar.mark)
