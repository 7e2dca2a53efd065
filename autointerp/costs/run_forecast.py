"""Forecast of a harvested run: the exact number of questions left to ask, and their expected tokens and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autointerp.calls.answers import Answer, call_key, free_answer
from autointerp.costs import stand_ins
from autointerp.formatting import dollars, plural
from autointerp.hashing import content_hash
from autointerp.judges import cost_model, prices
from autointerp.judges.base import Judge
from autointerp.judges.registry import open_judge
from autointerp.ledger import calls, judgements
from autointerp.ledger.database import Ledger
from autointerp.messages import Prompt
from autointerp.questions import handlers, planned_jobs, rounds
from autointerp.records import Explanation, ExplanationKey, Outcome
from autointerp.run import Run
from autointerp.scorers.registry import scorer
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.spec import Spec


@dataclass(frozen=True)
class StageForecast:
    """The questions that one stage still has to ask, and their cost."""

    stage: str
    judge: str
    is_llm: bool
    cost: cost_model.Cost


@dataclass(frozen=True)
class Forecast:
    """A run's remaining questions and their cost."""

    run_id: str
    stages: tuple[StageForecast, ...]
    notes: tuple[str, ...]

    @property
    def asks_llm(self) -> bool:
        """Whether any call is left that an LLM answers."""
        return any(stage.is_llm and stage.cost.calls for stage in self.stages)

    @property
    def usd(self) -> float | None:
        """Dollars of all stages; None if a price is unknown."""
        costs = [stage.cost.usd for stage in self.stages if stage.cost.calls]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def llm_calls(self) -> int:
        """Number of calls that LLMs answer."""
        return sum(stage.cost.calls for stage in self.stages if stage.is_llm)

    def in_a_line(self) -> str:
        """Calls and cost in one line."""
        if not self.asks_llm:
            return "no calls to LLMs are left"
        return f"{plural(self.llm_calls, 'call')}, " + (
            "cost unknown" if self.usd is None else f"about {dollars(self.usd)}"
        )

    def describe(self) -> str:
        """The forecast in lines for the terminal."""
        lines = [f"run {self.run_id}", *map(_describe, self.stages)]
        if self.asks_llm and self.usd is not None:
            lines.append(f"  in all   about {dollars(self.usd)}")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def _describe(stage: StageForecast) -> str:
    cost = stage.cost
    if not stage.is_llm:
        return f"  {stage.stage:<8} {cost.calls:>7,} questions to {stage.judge}, which is not an LLM: no calls, no cost"
    price = "cost unknown: no price for this model" if cost.usd is None else f"about {dollars(cost.usd)}"
    cached = f" (about {cost.cached_tokens:,} of them from its cache)" if cost.cached_tokens else ""
    return (
        f"  {stage.stage:<8} {cost.calls:>7,} calls to {stage.judge}: {cost.input_tokens:,} input{cached} and about"
        f" {cost.output_tokens:,} output tokens ({cost.counted_by}), {price}"
    )


def forecast(run: Run, ledger: Ledger, before: set[str] | None = None) -> Forecast:
    """Forecast the questions that the ledger cannot answer, from this run or another.

    `before` holds the questions to LLMs of runs that will be carried before this one, which are left out; this run's are added. The number of calls is exact if the provider answers each at the first attempt and no two units get the same explanation.
    """
    explainer = open_judge(run.spec.explained_by, run.rubric)
    judge = explainer if run.spec.explained_by == run.spec.judge else open_judge(run.spec.judge, run.rubric)
    try:
        explanations, unexplained = _explanations(run, ledger, explainer, needed=judge.is_llm)
        pending = {key: question.key for key, question in unexplained.items()}
        unscored = _unscored(run, ledger, judge, explanations, pending)
        explaining = {question.key: question.prompt for question in unexplained.values()}
        stages = (
            _stage("explain", explainer, run.spec.explained_by, _new(explaining, explainer, before), ledger),
            _stage("score", judge, run.spec.judge, _new(unscored, judge, before), ledger),
        )
    finally:
        explainer.close()
        judge.close()
    models = {settings.model: settings for settings in run.spec.judges}
    notes = [note for model in sorted(models) if (note := prices.retirement_note(model))]
    notes += [note for model in sorted(models) if (note := prices.price_note(models[model]))]
    notes += list(_later(run.spec))
    return Forecast(run.run_id, stages, tuple(notes))


def _later(spec: Spec) -> Iterator[str]:
    """Notes on questions that depend on the answers to the first round."""
    if rounds.adaptive(spec):
        yield "this is the first round; adaptive sampling then asks more where intervals are still too wide (`autointerp plan`)"
    if spec.cascade is not None:
        share, judge = spec.cascade.share, spec.cascade.judge.model
        yield f"not included: {judge} then grades about {share:.0%} of the items again"
    if chosen := spec.studies.chosen:
        judged = ", ".join(study.study for study in chosen if study.asks_judge)
        yield (
            f"{plural(len(chosen), 'study', 'studies')} after the report: {', '.join(study.study for study in chosen)}"
            + (f"; not included: the questions of {judged} to the judge" if judged else "")
        )
    if later := [name for name in spec.scorers if len(scorer(name).steps) > 1]:
        yield f"not included: the later steps of {', '.join(later)}"


def _new(questions: Mapping[str, Prompt], judge: Judge, before: set[str] | None) -> list[Prompt]:
    """The prompts of questions by key that are not among those before, to which they are added."""
    if before is None or not judge.is_llm:
        return list(questions.values())
    new = [prompt for key, prompt in questions.items() if key not in before]
    before.update(questions)
    return new


class _Unanswered(Exception):
    """The ledger has no answer to this question."""

    def __init__(self, prompt: Prompt, key: str) -> None:
        super().__init__()
        self.prompt, self.key = prompt, key


def _explanations(
    run: Run, ledger: Ledger, explainer: Judge, *, needed: bool
) -> tuple[dict[ExplanationKey, Explanation], dict[ExplanationKey, _Unanswered]]:
    """Explanations that are known or follow from known answers, and the questions that the others need."""

    def ask(prompt: Prompt, parse: Callable[[str], str], repeat: int) -> Answer[str]:
        known = (
            free_answer(ledger, run.run_id, explainer, prompt, parse, repeat) if needed or explainer.is_llm else None
        )
        if known is None:
            raise _Unanswered(prompt, call_key(explainer, prompt, repeat))
        return known

    with ledger.read() as tx:
        explanations = judgements.explanations_of(tx, run.run_id)
    for unit_id, text in run.known_explanations.items():
        key = ExplanationKey(unit_id)
        explanations[key] = Explanation(key, Outcome.SCORED, text, "", None)
    questions: dict[ExplanationKey, _Unanswered] = {}
    for job in planned_jobs.explain_jobs(run.units.values(), run.spec.explain.compare):
        if run.given is not None:
            explanations[job.explanation_key] = run.given.explanation(job.unit_id)
        elif job.explanation_key not in explanations:
            try:
                explanations[job.explanation_key] = handlers.explanation_of(run, job, ask)
            except _Unanswered as question:
                questions[job.explanation_key] = question
    return explanations, questions


def _unscored(
    run: Run,
    ledger: Ledger,
    judge: Judge,
    explanations: Mapping[ExplanationKey, Explanation],
    pending: Mapping[ExplanationKey, str],
) -> dict[str, Prompt]:
    """The first round's questions that the ledger cannot answer, each once, by key.

    A stand-in takes the place of a missing explanation. The key of its question, in `pending`, is then part of the key here.
    """
    with ledger.read() as tx:
        done = judgements.answered_jobs(tx, run.run_id)
    texts = {key: Explanation(key, Outcome.SCORED, stand_ins.EXPLANATION, "", None) for key in pending} | dict(
        explanations
    )
    questions: dict[str, Prompt] = {}
    for job in rounds.next_round(ledger, run, 0, texts).jobs:
        keys = {item.key for item in job.question_items} if job.items else {job.job_key}
        asked = None if job.job_key in done or keys <= done else handlers.question(run, job, texts)
        if asked is None:
            continue
        shown = {
            ExplanationKey.parse(job.explanation_unit_id),
            *(item.explained_by for item in (() if job.scorer else job.question_items)),
        }
        key = call_key(judge, asked.prompt, job.repeat) if judge.is_llm else job.job_key
        if waits_for := sorted(pending[each] for each in shown if each in pending):
            key = content_hash([key, *waits_for])
        questions[key] = asked.prompt
    if not judge.is_llm:
        return questions
    with ledger.read() as tx:
        return {key: prompt for key, prompt in questions.items() if calls.find_answer(tx, run.run_id, key) is None}


def _stage(
    name: str, judge: Judge, settings: JudgeSettings, prompts: Sequence[Prompt], ledger: Ledger
) -> StageForecast:
    if not judge.is_llm:
        return StageForecast(name, judge.name, False, cost_model.Cost(len(prompts), 0, 0, 0, 0.0, ""))
    with ledger.read() as tx:
        earlier = calls.latest_measured(tx, judge.name, name, cost_model.SAMPLE)
    return StageForecast(name, judge.name, True, cost_model.expected(settings, prompts, judge=judge, earlier=earlier))
