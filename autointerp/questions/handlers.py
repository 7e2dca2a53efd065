"""Handles one question job: asks the judge, and stores the explanation, the judgements or the scorer's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from autointerp.calls import answers as answers_
from autointerp.calls import groups
from autointerp.calls.answers import Answer, Ask
from autointerp.harvest import explainer_windows
from autointerp.ledger import jobs, judgements, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import ExplainMaterial, Prompt, ScoreMaterial
from autointerp.prompts import explanation as explanation_prompt
from autointerp.prompts import grouped_grades, single_grade
from autointerp.prompts.replies import ReplyUnusable
from autointerp.prompts.single_grade import Grade
from autointerp.questions import planned_jobs, revision, scorer_jobs
from autointerp.records import (
    Explanation,
    ExplanationKey,
    Item,
    Judgement,
    Outcome,
    ScorerAnswer,
    explanation_text,
)
from autointerp.run import Run
from autointerp.scorers import cases, registry
from autointerp.scorers.base import Question
from autointerp.spec.spec import judge_of

Explanations = Mapping[ExplanationKey, Explanation]
"""The run's explanations by key."""


def handle_job(ledger: Ledger, run: Run, ask: Ask, job: Job, explanations: Explanations) -> None:
    """Ask a job's question and store the result. Raises what `ask` raises."""
    if job.stage == "explain":
        explain_unit(ledger, run, ask, job)
    elif job.scorer:
        ask_scorer(ledger, run, ask, job, explanations)
    else:
        judge_items(ledger, run, ask, job, explanations)


def explain_unit(ledger: Ledger, run: Run, ask: Ask, job: Job) -> None:
    """Ask for one unit's explanation and store it, or the reason why there is none."""
    explanation = explanation_of(run, job, lambda prompt, parse, repeat: ask(prompt, parse, job, repeat, None))
    with ledger.write() as tx:
        if explanation.outcome is not Outcome.SCORED:  # a stop withdraws failures, and none may be stored behind it
            runs.hold_live(tx, run.run_id)
        judgements.add_explanation(tx, run.run_id, explanation)
        jobs.finish(tx, run.run_id, job.job_key)


def explanation_of(run: Run, job: Job, ask: Callable[[Prompt, Callable[[str], str], int], Answer[str]]) -> Explanation:
    """A unit's explanation, or the reason why there is none. `ask` takes a prompt, a parser and the number of the repeat."""
    spec, unit = run.spec, run.units[job.unit_id]
    harvested = (
        explainer_windows.aids_of_unit(run.harvest, spec, job.unit_id) if run.aids is None else run.aids[job.unit_id]
    )
    aids = harvested.only(explainer_windows.requested_aids(spec, job.arm))
    max_tokens = spec.explained_by.max_output_tokens

    def render(material: ExplainMaterial) -> Prompt:
        return explanation_prompt.prompt(run.rubric, material, max_tokens)

    prompt = render(explanation_prompt.material(run.exemplars[job.unit_id], unit.max_activation, aids))
    answer = answers_.ask_until_usable(ask, prompt, partial(explanation_prompt.parse, max_chars=spec.explain.max_chars))
    if not answer.value or not aids.held_out:
        return Explanation(job.explanation_key, answer.outcome, answer.value or "", answer.reason, answer.call_key)
    kept = revision.revise(ask, prompt, answer.value, aids.held_out, render, spec.explain.max_chars)
    return Explanation(job.explanation_key, answer.outcome, kept.text, kept.reason, kept.call_key or answer.call_key)


def judge_items(ledger: Ledger, run: Run, ask: Ask, job: Job, explanations: Explanations) -> None:
    """Ask for the grades of a job's items and store a judgement for each. Items without an explanation are stored unasked.

    A group whose reply cannot be assigned to its items is replaced by a job for each item.
    """
    items = _explained(job, explanations)
    unasked = [
        (item, _without_explanation(job, item, explanations)) for item in job.question_items if item not in items
    ]

    def store(tx: Connection, judged: Sequence[Judgement]) -> None:
        if not jobs.finish(tx, run.run_id, job.job_key):
            return
        for item, judgement in [*unasked, *zip(items, judged, strict=True)]:
            judgements.add_judgement(tx, run.run_id, item.key, item.explained_by, judgement)

    asked = _grading_question(run, job, items, explanations)
    if asked is None:
        with ledger.write() as tx:
            store(tx, [])
        return

    def conclude(tx: Connection, answer: Answer[Sequence[Grade | ReplyUnusable]]) -> None:
        store(tx, [_judged(job, item, number, answer) for number, item in enumerate(items)])

    if not job.items:
        ask(asked.prompt, asked.parse, job, job.repeat, conclude)
    elif not groups.ask_group(ask, asked, len(items), job, job.repeat, conclude):
        with ledger.write() as tx:
            alone = [planned_jobs.single_item_job(run.spec, item, job.stage) for item in job.question_items]
            jobs.replace(tx, run.run_id, job.job_key, alone)


def ask_scorer(ledger: Ledger, run: Run, ask: Ask, job: Job, explanations: Explanations) -> None:
    """Ask a scorer's question and store the answer."""
    answers: Sequence[ScorerAnswer] = ()
    if job.step:
        with ledger.read() as tx:
            answers = judgements.answers_of(tx, run.run_id, job.unit_id)
    asked = scorer_jobs.question(cases.Cases(run, explanations, answers), registry.scorer(job.scorer), job)

    def conclude(tx: Connection, answer: Answer[Any]) -> None:
        row = ScorerAnswer(
            job.scorer, job.unit_id, job.step, job.repeat, answer.outcome, answer.value, answer.reason, answer.call_key
        )
        if jobs.finish(tx, run.run_id, job.job_key):
            judgements.add_answers(tx, run.run_id, [(job.job_key, row)])

    alone = asked.alone()
    if not alone:
        ask(asked.prompt, asked.parse, job, 0, conclude)
    elif not groups.ask_group(ask, asked, len(alone), job, 0, conclude):
        answer = groups.ask_alone(ask, alone, job)
        with ledger.write() as tx:
            conclude(tx, answer)


def question(run: Run, job: Job, explanations: Explanations) -> Question | None:
    """The question of a job in round 0; None if the job asks no judge."""
    if job.stage == "probe":
        return None
    if job.scorer:
        return scorer_jobs.question(cases.Cases(run, explanations), registry.scorer(job.scorer), job)
    return _grading_question(run, job, _explained(job, explanations), explanations)


def _explained(job: Job, explanations: Explanations) -> list[Item]:
    """The job's items that have an explanation."""
    return [item for item in job.question_items if explanation_text(explanations, item.explained_by)]


def _grading_question(run: Run, job: Job, items: Sequence[Item], explanations: Explanations) -> Question | None:
    """The question about a job's items, and the parser of its reply to one grade per item; None without items."""
    if not items:
        return None
    materials = [
        ScoreMaterial(explanation_text(explanations, item.explained_by), run.exemplar(item).marked_text)
        for item in items
    ]
    rubric, ask = run.rubric, run.spec.score.ask
    max_tokens = judge_of(run.spec, job.stage).max_output_tokens
    if not job.items:
        prompt = single_grade.prompt(rubric, materials[0], max_tokens, ask)
        return Question(prompt, lambda text: [single_grade.parse(rubric, text, ask)])
    assert ask != "logprobs", "the spec refuses logprobs for several items in a question"
    prompt = grouped_grades.prompt(rubric, materials, max_tokens, ask)
    return Question(prompt, partial(grouped_grades.parse, rubric, len(materials)))


def _without_explanation(job: Job, item: Item, explanations: Explanations) -> Judgement:
    missing = explanations.get(item.explained_by)
    reason = missing.reason if missing else "the unit was not explained"
    return _judgement(job, item, Outcome.NO_EXPLANATION, None, reason, None)


def _judged(job: Job, item: Item, number: int, answer: Answer[Sequence[Grade | ReplyUnusable]]) -> Judgement:
    """The judgement of item `number` of the question."""
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
