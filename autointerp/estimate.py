"""What a run will ask and cost, before it asks: calls exactly, tokens from a sample that the provider counts where it can."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from autointerp import explain, plan, score
from autointerp.caller import call_key
from autointerp.judges import open_judge, prices
from autointerp.judges.base import Judge, JudgeError, MarkedText, Prompt, ScoreMaterial, Usage
from autointerp.ledger import Ledger, calls, verdicts
from autointerp.pipeline import Run
from autointerp.records import Explanation, Outcome
from autointerp.spec import Judge as JudgeSettings

SAMPLE = 24
"""Prompts of each stage whose tokens are counted; the others are taken in proportion to their length."""
EXPLANATION_TOKENS = 28
"""Output tokens of a typical explanation in its JSON."""
JUDGEMENT_TOKENS = 36
"""Output tokens of a typical reason and grade in their JSON."""
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
                lines.append(f"  {s.stage:<8} {s.calls:>7,} questions to {s.judge}, which is not an LLM: no calls, no cost")
        known = [s.cost_usd for s in self.stages if s.calls]
        if self.asks_llm and None not in known:
            lines.append(f"  in all   about ${sum(c for c in known if c is not None):.4f}")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def forecast(run: Run, ledger: Ledger) -> Forecast:
    """What is left to ask: answers already in the ledger are not asked again."""
    units = [unit for unit in run.units.values() if unit.status == "alive"]
    explainer = open_judge(run.spec.explained_by, run.rubric)
    judge = explainer if run.spec.explained_by == run.spec.judge else open_judge(run.spec.judge, run.rubric)
    try:
        with ledger.read() as tx:
            said = verdicts.explanations_of(tx, run.run_id)
            judged = {str(row["job_key"]) for row in verdicts.judgement_rows(tx, run.run_id)}
        questions = [_explain_prompt(run, unit.unit_id) for unit in units if unit.unit_id not in said]
        jobs = plan.score_jobs(run.spec, list(run.units.values()), run.exemplars)
        pending = [job for job in jobs if job.job_key not in judged and _is_asked(said.get(job.explanation_unit_id))]
        cases = [(_score_prompt(run, job, said.get(job.explanation_unit_id)), job.repeat) for job in pending]
        stages = (
            _stage("explain", explainer, run.spec.explained_by, _unknown(run, ledger, explainer, [(q, 0) for q in questions])),
            _stage("score", judge, run.spec.judge, _unknown(run, ledger, judge, cases)),
        )
    finally:
        explainer.close()
        judge.close()
    models = {run.spec.explained_by.model, run.spec.judge.model}
    notes = [note for model in sorted(models) if (note := prices.retirement_note(model))]
    return Forecast(run.run_id, stages, tuple(notes))


def rough_tokens(text: str) -> int:
    """Tokens of `text` by rule of thumb: about one a short word, more for long words, digits, symbols and other scripts."""
    count = 0
    for piece in re.findall(r"[A-Za-z]+|\d+|\s+|[^\sA-Za-z\d]", text):
        if piece.isspace():
            count += len(piece) > 1
        elif piece[0].isascii() and piece.isalpha():
            count += 1 + len(piece) // 8
        else:
            count += 1 + (len(piece) - 1) // 3
    return count


def _stage(name: str, judge: Judge, settings: JudgeSettings, prompts: Sequence[Prompt]) -> StageForecast:
    if not judge.is_llm:
        return StageForecast(name, judge.name, False, len(prompts), 0, 0, 0.0, "")
    tokens, counted_by = _count(judge.count_tokens, prompts)
    output = len(prompts) * (EXPLANATION_TOKENS if name == "explain" else JUDGEMENT_TOKENS)
    cost = prices.cost(Usage(tokens, output), prices.price_of(settings.model, settings))
    return StageForecast(name, judge.name, True, len(prompts), tokens, output, cost, counted_by)


def _count(count: Callable[[Prompt], int | None], prompts: Sequence[Prompt]) -> tuple[int, str]:
    """Input tokens of all prompts: a seeded sample counted by the provider, scaled by our own rough count of each."""
    if not prompts:
        return 0, "nothing left to ask"
    rough = [rough_tokens(p.system) + rough_tokens(p.user) for p in prompts]
    drawn = random.Random(0).sample(range(len(prompts)), min(SAMPLE, len(prompts)))
    counted: list[tuple[int, int]] = []
    for i in drawn:
        try:
            exact = count(prompts[i])
        except JudgeError:
            exact = None
        if exact is None:
            return sum(rough), "by rule of thumb"
        counted.append((exact, rough[i]))
    ratio = fmean(exact for exact, _ in counted) / max(fmean(r for _, r in counted), 1)
    return round(ratio * sum(rough)), f"{len(counted)} counted by the provider"


def _explain_prompt(run: Run, unit_id: str) -> Prompt:
    material = explain.material(run.exemplars[unit_id], run.units[unit_id].max_activation)
    return explain.prompt(run.rubric, material, run.spec.explained_by.max_output_tokens)


def _score_prompt(run: Run, job: plan.Job, explanation: Explanation | None) -> Prompt:
    exemplar = run.exemplar(job)
    text = explanation.text if explanation else STAND_IN
    material = ScoreMaterial(text, MarkedText(exemplar.tokens, exemplar.mark))
    return score.prompt(run.rubric, material, run.spec.judge.max_output_tokens)


def _is_asked(explanation: Explanation | None) -> bool:
    return explanation is None or explanation.outcome is Outcome.SCORED


def _unknown(run: Run, ledger: Ledger, judge: Judge, questions: Sequence[tuple[Prompt, int]]) -> list[Prompt]:
    """Questions without an answer in the ledger, of this run or another."""
    if not judge.is_llm:
        return [prompt for prompt, _ in questions]
    with ledger.read() as tx:
        known = [calls.answered(tx, run.run_id, call_key(judge, prompt, repeat)) for prompt, repeat in questions]
    return [prompt for (prompt, _), answer in zip(questions, known, strict=True) if answer is None]
