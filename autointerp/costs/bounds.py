"""What a run may ask and cost at most, known from its spec alone: before its harvest nobody knows which units are alive.

Every unit is taken to be alive and every bin to be full. `estimate` counts exactly, after the harvest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from autointerp.calls import answers
from autointerp.calls.caller import input_bound
from autointerp.costs import run_forecast
from autointerp.harvest import control_units, explainer_windows
from autointerp.judges import prices, token_estimates
from autointerp.messages import ExplainMaterial, MarkedText, Prompt, ScoreMaterial, Usage
from autointerp.prompts import explanation, grouped_grades, single_grade
from autointerp.spec import rubric
from autointerp.spec.rubric import Rubric
from autointerp.spec.sections import Judge
from autointerp.spec.spec import Spec

WORD = " written"
"""Stands for a token: as many bytes as few vocabularies reach on average over a window."""

REVISION_CALLS = 4
"""Questions of an explanation that is tested and mended."""
PLANTED_WINDOWS = 9
"""Windows of a planted unit besides the silent ones: hits and near ones, as `sae.planted` has them."""


@dataclass(frozen=True)
class StageBound:
    """One stage that asks an LLM: its calls at most, dollars if replies are as long as usual, and dollars at most.

    Dollars are None where the price is unknown.
    """

    stage: str
    model: str
    calls: int
    usual_usd: float | None
    most_usd: float | None


def bounds(spec: Spec) -> list[StageBound]:
    """The stages of a run that ask an LLM. Raises `UsageError` for an unknown rubric."""
    per_call, judged, explanations = spec.score.per_call, items(spec), explained(spec)
    explaining, scoring = _prompts(spec)
    asked = -(-judged // per_call)
    tests = REVISION_CALLS if explainer_windows.wanted(spec, *spec.explain.compare).revise else 1
    if per_call > 1:  # repeats are grouped apart, and each may end in a group that is not full
        asked += max(spec.score.repeats, spec.controls.repeats) - 1
    stages = [
        _bound("explain", spec.explained_by, explaining, explanations * tests, explanations * tests * answers.TRIES),
        _bound("score", spec.judge, scoring, asked, asked),
    ]
    if spec.cascade is not None:
        again = math.ceil(judged * spec.cascade.share / per_call)
        stages.append(_bound("regrade", spec.cascade.judge, scoring, again, again))
    return [stage for stage in stages if stage.model != "embedded"]


def items(spec: Spec) -> int:
    """What is judged at most, controls and repeats among it."""
    of_unit = _items_of_a_unit(spec, len(spec.explain.compare))
    of_planted = PLANTED_WINDOWS + spec.controls.shuffled + spec.controls.base_rate
    random_ones = control_units.n_random(spec) * len(control_units.random_kinds(spec))
    found = n_units(spec) * of_unit + spec.controls.repeated * (spec.controls.repeats - 1)
    return found + spec.controls.planted * of_planted + random_ones * _items_of_a_unit(spec, compared=0)


def explained(spec: Spec) -> int:
    """Explanations that are asked for at most, each counted once."""
    return n_units(spec) * (1 + len(spec.explain.compare)) + control_units.n_random(spec) * len(
        control_units.random_kinds(spec)
    )


def describe(spec: Spec) -> Iterator[str]:
    """The bounds in words; nothing for a run that asks no LLM."""
    stages = bounds(spec)
    for stage in stages:
        usual, most = stage.usual_usd, stage.most_usd
        cost = (
            f"about ${usual:,.2f}, at most ${most:,.2f}" if usual is not None and most is not None else "cost unknown"
        )
        yield f"  {stage.stage:<8} at most {stage.calls:,} calls to {stage.model}: {cost}"
    if stages:
        limit = spec.budget.usd
        stops = "no budget.usd is set" if limit is None else f"budget.usd = {limit:g} stops it in any case"
        yield f"  if every unit is alive and every bin full, which only the harvest tells; {stops}"


def n_units(spec: Spec) -> int:
    """Units that a spec draws or names."""
    units = spec.units
    features = units.features if units.feature_ids is None else len(units.feature_ids)
    return features + (units.neurons if units.neuron_ids is None else len(units.neuron_ids))


def _items_of_a_unit(spec: Spec, compared: int) -> int:
    """What is judged of a unit whose every bin is full and which has `compared` explanations more."""
    main = spec.harvest.bins * spec.score.per_bin
    return main * (spec.score.repeats + compared) + spec.controls.shuffled + spec.controls.base_rate


def _prompts(spec: Spec) -> tuple[Prompt, Prompt]:
    """A stand-in for a question of each stage, with as much text as there can be."""
    scale = rubric.load(spec.score.rubric)
    tokens = (WORD,) * spec.harvest.window_tokens
    window = MarkedText(tokens, 0, (10,) * len(tokens))
    aid = explainer_windows.wanted(spec, *spec.explain.compare)
    material = ExplainMaterial(
        (window,) * (spec.explain.top + spec.explain.spread),
        (window,) * spec.explain.quiet,
        contrast=(window,) * aid.contrast,
        neighbours=(window,) * aid.neighbours,
        raised=(WORD,) * aid.logits,
        lowered=(WORD,) * aid.logits,
    )
    said = (run_forecast.STAND_IN * 20)[: spec.explain.max_chars]
    explaining = explanation.prompt(scale, material, spec.explained_by.max_output_tokens)
    return explaining, _scoring(spec, scale, ScoreMaterial(said, window))


def _scoring(spec: Spec, scale: Rubric, item: ScoreMaterial) -> Prompt:
    ask, ceiling = spec.score.ask, spec.judge.max_output_tokens
    if spec.score.per_call == 1 or ask == "logprobs":
        return single_grade.prompt(scale, item, ceiling, ask)
    return grouped_grades.prompt(scale, [item] * spec.score.per_call, ceiling, ask)


def _bound(stage: str, judge: Judge, prompt: Prompt, usual: int, calls: int) -> StageBound:
    price, batch = prices.price_of(judge.model, judge), judge.transport == "batch"
    into = token_estimates.rough_tokens(prompt.system + prompt.user) + token_estimates.FRAME_TOKENS
    each = prices.cost(Usage(into, run_forecast.typical_output(prompt)), price, batch=batch)
    most = prices.most(input_bound(prompt), prompt.max_tokens, price, batch=batch)
    return StageBound(
        stage,
        judge.model,
        calls,
        None if each is None else usual * each,
        None if most is None else calls * most,
    )
