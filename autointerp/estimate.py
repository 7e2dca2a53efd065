"""What a run will ask and cost, before it asks: calls exactly, tokens from a sample that the provider counts where it can."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from autointerp import pipeline, plan, score
from autointerp.answer import Answer, call_key, free_answer
from autointerp.judges import open_judge, prices
from autointerp.judges.base import Judge, JudgeError, MarkedText, Prompt, ScoreMaterial, Usage
from autointerp.ledger import Ledger, calls, verdicts
from autointerp.ledger.jobs import Job
from autointerp.pipeline import Run
from autointerp.records import Explanation, Outcome
from autointerp.spec import Judge as JudgeSettings

SAMPLE = 24
"""Prompts of each stage whose tokens are counted; the others are taken in proportion to their length."""
EXPLANATION_TOKENS = 28
"""Output tokens of a typical explanation in its JSON."""
JUDGEMENT_TOKENS = 36
"""Output tokens of a typical reason and grade in their JSON."""
FRAME_TOKENS = 12
"""Tokens that a chat template adds around a prompt."""
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
                lines.append(
                    f"  {s.stage:<8} {s.calls:>7,} calls to {s.judge}: {s.input_tokens:,} input and about"
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
    models = {run.spec.explained_by.model, run.spec.judge.model}
    notes = [note for model in sorted(models) if (note := prices.retirement_note(model))]
    return Forecast(run.run_id, stages, tuple(notes))


def rough_tokens(text: str) -> int:
    """Tokens of `text` by rule of thumb: about one a short word, more for long words, digits, symbols and other scripts.

    Between large vocabularies, which make up to a tenth fewer of our prompts, and small ones, which make up to a tenth more.
    """
    count = 0
    for piece in re.findall(r"[A-Za-z]+|\d+|\s+|[^\sA-Za-z\d]", text):
        if piece.isspace():
            count += len(piece) > 1
        elif piece[0].isascii() and piece.isalpha():
            count += 1 + len(piece) // 7
        else:
            count += 1 + (len(piece) - 1) // 3
    return count


class _Unanswered(Exception):
    """The ledger has no answer to this question."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__()
        self.prompt = prompt


def _explanations(
    run: Run, ledger: Ledger, explainer: Judge, *, needed: bool
) -> tuple[dict[str, Explanation], list[Prompt]]:
    """Explanations that are there or can be made from what is, and the questions that stand before the others."""

    def ask(prompt: Prompt, parse: Callable[[str], str], repeat: int) -> Answer[str]:
        known = (
            free_answer(ledger, run.run_id, explainer, prompt, parse, repeat) if needed or explainer.is_llm else None
        )
        if known is None:
            raise _Unanswered(prompt)
        return known

    with ledger.read() as tx:
        said = verdicts.explanations_of(tx, run.run_id)
    questions: list[Prompt] = []
    for unit in run.units.values():
        if unit.status == "alive" and unit.unit_id not in said:
            try:
                said[unit.unit_id] = pipeline.explanation_of(run, unit.unit_id, ask)
            except _Unanswered as question:
                questions.append(question.prompt)
    return said, questions


def _unscored(run: Run, ledger: Ledger, judge: Judge, said: Mapping[str, Explanation]) -> list[Prompt]:
    """The scoring questions that the ledger cannot answer, each once; where there is no explanation yet, a stand-in's."""
    with ledger.read() as tx:
        judged = {str(row["job_key"]) for row in verdicts.judgement_rows(tx, run.run_id)}
    questions: dict[str, Prompt] = {}
    for job in plan.score_jobs(run.spec, list(run.units.values()), run.exemplars):
        explanation = said.get(job.explanation_unit_id)
        if job.job_key in judged or (explanation and explanation.outcome is not Outcome.SCORED):
            continue
        prompt = _score_prompt(run, job, explanation)
        key = call_key(judge, prompt, job.repeat) if explanation and judge.is_llm else job.job_key
        questions[key] = prompt
    if not judge.is_llm:
        return list(questions.values())
    with ledger.read() as tx:
        return [prompt for key, prompt in questions.items() if calls.answered(tx, run.run_id, key) is None]


def _score_prompt(run: Run, job: Job, explanation: Explanation | None) -> Prompt:
    exemplar = run.exemplar(job)
    text = explanation.text if explanation else STAND_IN
    material = ScoreMaterial(text, MarkedText(exemplar.tokens, exemplar.mark))
    return score.prompt(run.rubric, material, run.spec.judge.max_output_tokens)


def _stage(
    name: str, judge: Judge, settings: JudgeSettings, prompts: Sequence[Prompt], ledger: Ledger
) -> StageForecast:
    if not judge.is_llm:
        return StageForecast(name, judge.name, False, len(prompts), 0, 0, 0.0, "")
    with ledger.read() as tx:
        seen = calls.latest(tx, judge.name, name, SAMPLE)
    tokens, counted_by = _input_tokens(judge, prompts, seen)
    typical = EXPLANATION_TOKENS if name == "explain" else JUDGEMENT_TOKENS
    output = round(len(prompts) * (fmean(call.output_tokens for call in seen) if seen else typical))
    batch = settings.transport == "batch"
    cost = prices.cost(Usage(tokens, output), prices.price_of(settings.model, settings), batch=batch)
    return StageForecast(name, judge.name, True, len(prompts), tokens, output, cost, counted_by)


def _input_tokens(judge: Judge, prompts: Sequence[Prompt], seen: Sequence[calls.Measured]) -> tuple[int, str]:
    """Input tokens of all prompts: our rough count of each, scaled by what the provider counts, or counted before, of some."""
    if not prompts:
        return 0, "nothing left to ask"
    schema = rough_tokens(json.dumps(dict(prompts[0].schema)))
    rough = [_rough(p.system, p.user) + schema for p in prompts]
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


@cache
def _system_tokens(system: str) -> int:
    return rough_tokens(system)


def _rough(system: str, user: str) -> int:
    return _system_tokens(system) + rough_tokens(user) + FRAME_TOKENS
