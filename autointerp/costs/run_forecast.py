"""What a run will ask and cost, before it asks: calls exactly, tokens from a sample that the provider counts where it can."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from autointerp.calls.answers import Answer, call_key, free_answer
from autointerp.judges import prices
from autointerp.judges.base import Judge, JudgeError
from autointerp.judges.prompt_caching import least_tokens
from autointerp.judges.registry import open_judge
from autointerp.judges.token_estimates import (
    EXPLANATION_TOKENS,
    FRAME_TOKENS,
    GRADE_TOKENS,
    JUDGEMENT_TOKENS,
    rough_tokens,
)
from autointerp.ledger import calls, judgements
from autointerp.ledger.database import Ledger
from autointerp.messages import ExplainMaterial, GroupMaterial, Prompt, Usage
from autointerp.questions import handlers, planned_jobs, rounds
from autointerp.records import Explanation, ExplanationKey, Outcome
from autointerp.run import Run
from autointerp.scorers.registry import SCORERS
from autointerp.spec.sections import Judge as JudgeSettings
from autointerp.spec.spec import Spec

SAMPLE = 24
"""Prompts of each stage whose tokens are counted; the others are taken in proportion to their length."""
STAND_IN = "mentions of a particular place, person or thing, and words that commonly stand beside them in the text"
"""Stands for explanations that are not made yet."""


@dataclass(frozen=True)
class StageForecast:
    """One stage: whom it asks, how often, and the tokens that takes. `cost_usd` is None where the price is unknown."""

    stage: str
    judge: str
    is_llm: bool
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    counted_by: str
    cached_tokens: int = 0
    """Of the input, what the provider is known to read from its cache."""


@dataclass(frozen=True)
class Forecast:
    """A run's remaining questions and their cost."""

    run_id: str
    stages: tuple[StageForecast, ...]
    notes: tuple[str, ...]

    @property
    def asks_llm(self) -> bool:
        return any(stage.is_llm and stage.calls for stage in self.stages)

    def describe(self) -> str:
        lines = [f"run {self.run_id}"]
        for s in self.stages:
            if s.is_llm:
                cost = "cost unknown: no price for this model" if s.cost_usd is None else f"about ${s.cost_usd:.4f}"
                cached = f" (of which about {s.cached_tokens:,} from its cache)" if s.cached_tokens else ""
                lines.append(
                    f"  {s.stage:<8} {s.calls:>7,} calls to {s.judge}: {s.input_tokens:,} input{cached} and about"
                    f" {s.output_tokens:,} output tokens ({s.counted_by}), {cost}"
                )
            else:
                lines.append(
                    f"  {s.stage:<8} {s.calls:>7,} questions to {s.judge}, which is not an LLM: no calls, no cost"
                )
        known = [s.cost_usd for s in self.stages if s.calls]
        if self.asks_llm and None not in known:
            lines.append(f"  in all   about ${sum(c for c in known if c is not None):.4f}")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def forecast(run: Run, ledger: Ledger) -> Forecast:
    """What is left to ask: answers already in the ledger, of this run or another, are not asked again.

    Calls are exact as long as the provider answers each at once and no two units are given the same explanation.
    """
    explainer = open_judge(run.spec.explained_by, run.rubric)
    judge = explainer if run.spec.explained_by == run.spec.judge else open_judge(run.spec.judge, run.rubric)
    try:
        said, unexplained = _explanations(run, ledger, explainer, needed=judge.is_llm)
        unscored = _unscored(run, ledger, judge, said)
        stages = (
            _stage("explain", explainer, run.spec.explained_by, unexplained, ledger),
            _stage("score", judge, run.spec.judge, unscored, ledger),
        )
    finally:
        explainer.close()
        judge.close()
    models = {settings.model for settings in run.spec.judges}
    notes = [note for model in sorted(models) if (note := prices.retirement_note(model))]
    notes += list(_later(run.spec))
    return Forecast(run.run_id, stages, tuple(notes))


def _later(spec: Spec) -> Iterator[str]:
    """What is asked after the first round, and rests on its answers."""
    if rounds.adaptive(spec):
        yield "this is the first round: more of what is not known well enough is asked after it (`autointerp plan`)"
    if spec.cascade is not None:
        share, judge = spec.cascade.share, spec.cascade.judge.model
        yield f"then {judge} grades about {share:.0%} of the judged items again, which is not counted here"
    if later := [name for name in spec.score.also if len(SCORERS[name].steps) > 1]:
        yield f"then the later steps of {', '.join(later)}, which are not counted here"


class _Unanswered(Exception):
    """The ledger has no answer to this question."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__()
        self.prompt = prompt


def _explanations(
    run: Run, ledger: Ledger, explainer: Judge, *, needed: bool
) -> tuple[dict[ExplanationKey, Explanation], list[Prompt]]:
    """Explanations that are there or can be made from what is, and the questions that stand before the others."""

    def ask(prompt: Prompt, parse: Callable[[str], str], repeat: int) -> Answer[str]:
        known = (
            free_answer(ledger, run.run_id, explainer, prompt, parse, repeat) if needed or explainer.is_llm else None
        )
        if known is None:
            raise _Unanswered(prompt)
        return known

    with ledger.read() as tx:
        said = judgements.explanations_of(tx, run.run_id)
    for unit_id, text in run.given.items():
        key = ExplanationKey(unit_id)
        said[key] = Explanation(key, Outcome.SCORED, text, "", None)
    questions: list[Prompt] = []
    for job in planned_jobs.explain_jobs(run.units.values(), run.spec.explain.compare):
        if job.explanation_key not in said:
            try:
                said[job.explanation_key] = handlers.explanation_of(run, job, ask)
            except _Unanswered as question:
                questions.append(question.prompt)
    return said, questions


def _unscored(run: Run, ledger: Ledger, judge: Judge, said: Mapping[ExplanationKey, Explanation]) -> list[Prompt]:
    """The first round's questions that the ledger cannot answer, each once; where there is no explanation yet, a stand-in's."""
    with ledger.read() as tx:
        done = judgements.answered_jobs(tx, run.run_id)
    planned = planned_jobs.explain_jobs(run.units.values(), run.spec.explain.compare)
    unknown = {job.explanation_key for job in planned} - set(said)
    texts = {key: Explanation(key, Outcome.SCORED, STAND_IN, "", None) for key in unknown} | dict(said)
    questions: dict[str, Prompt] = {}
    for job in rounds.next_round(ledger, run, 0, texts).jobs:
        asked = None if job.job_key in done else handlers.question(run, job, texts)
        if asked is None:
            continue
        shown = {
            ExplanationKey.parse(job.explanation_unit_id),
            *(item.explained_by for item in (() if job.scorer else job.asked)),
        }
        known = judge.is_llm and not shown & unknown
        questions[call_key(judge, asked.prompt, job.repeat) if known else job.job_key] = asked.prompt
    if not judge.is_llm:
        return list(questions.values())
    with ledger.read() as tx:
        return [prompt for key, prompt in questions.items() if calls.answered(tx, run.run_id, key) is None]


def _stage(
    name: str, judge: Judge, settings: JudgeSettings, prompts: Sequence[Prompt], ledger: Ledger
) -> StageForecast:
    if not judge.is_llm:
        return StageForecast(name, judge.name, False, len(prompts), 0, 0, 0.0, "")
    with ledger.read() as tx:
        seen = calls.latest(tx, judge.name, name, SAMPLE)
    tokens, counted_by = _input_tokens(judge, prompts, seen)
    output = round(sum(_output_tokens(prompt, seen) for prompt in prompts))
    cached, written = _cached_tokens(settings, prompts, seen, tokens)
    usage = Usage(tokens - cached - written, output, written, cached)
    cost = prices.cost(usage, prices.price_of(settings.model, settings), batch=settings.transport == "batch")
    return StageForecast(name, judge.name, True, len(prompts), tokens, output, cost, counted_by, cached)


def _output_tokens(prompt: Prompt, seen: Sequence[calls.Measured]) -> float:
    """What questions with the same instructions were answered with before, or what such a reply typically takes."""
    if alike := [call.output_tokens for call in seen if call.system == prompt.system]:
        return fmean(alike)
    return typical_output(prompt)


def typical_output(prompt: Prompt) -> int:
    """Output tokens of a typical reply."""
    if prompt.choices:
        return 1
    if isinstance(prompt.material, ExplainMaterial):
        return EXPLANATION_TOKENS
    n = len(prompt.material.items) if isinstance(prompt.material, GroupMaterial) else 1
    return n * (JUDGEMENT_TOKENS if "reason" in json.dumps(dict(prompt.schema)) else GRADE_TOKENS)


def _cached_tokens(
    settings: JudgeSettings, prompts: Sequence[Prompt], seen: Sequence[calls.Measured], tokens: int
) -> tuple[int, int]:
    """Input tokens that will be read from the provider's cache, and those written to it: as earlier calls with the same instructions
    found it, or as it documents it. The first calls in flight at once find nothing yet; of batches nothing is promised."""
    rough = sum(_rough(p.system, p.user) + _schema_tokens(p) for p in prompts) or 1
    least, read, written = least_tokens(settings.model), 0.0, 0.0
    for system, n in Counter(prompt.system for prompt in prompts).items():
        alike = [call for call in seen if call.system == system]
        size = tokens / rough * _system_tokens(system)
        if alike:
            within = sum(_rough(p.system, p.user) + _schema_tokens(p) for p in prompts if p.system == system)
            share = sum(call.cached_tokens for call in alike) / sum(call.input_tokens for call in alike)
            read += share * tokens / rough * within
        elif least is not None and size >= least and settings.transport != "batch":
            first = min(n, settings.concurrency)
            read, written = read + size * (n - first), written + size * first
    return round(read), round(written)


def _input_tokens(judge: Judge, prompts: Sequence[Prompt], seen: Sequence[calls.Measured]) -> tuple[int, str]:
    """Input tokens of all prompts: our rough count of each, scaled by what the provider counts, or counted before, of some."""
    if not prompts:
        return 0, "nothing left to ask"
    rough = [_rough(p.system, p.user) + _schema_tokens(p) for p in prompts]
    schema = _schema_tokens(prompts[0])
    drawn = random.Random(0).sample(range(len(prompts)), min(SAMPLE, len(prompts)))
    try:
        counted = [(judge.count_tokens(prompts[i]), rough[i]) for i in drawn]
    except JudgeError:
        counted = []
    by = "counted by the provider"
    if not counted or None in (exact for exact, _ in counted):
        counted = [(call.input_tokens, _rough(call.system, call.user) + schema) for call in seen]
        by = "earlier calls"
    if not counted:
        return sum(rough), "by rule of thumb"
    ratio = sum(exact or 0 for exact, _ in counted) / max(sum(r for _, r in counted), 1)
    return round(ratio * sum(rough)), f"from {len(counted)} {by}"


def _schema_tokens(prompt: Prompt) -> int:
    return _system_tokens(json.dumps(dict(prompt.schema)))


@cache
def _system_tokens(system: str) -> int:
    return rough_tokens(system)


def _rough(system: str, user: str) -> int:
    return _system_tokens(system) + rough_tokens(user) + FRAME_TOKENS
