"""Upper bounds on a run's questions and cost, from its spec alone.

Every unit is assumed to be alive and every bin to be full; `run_forecast` counts exactly, after the harvest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from autointerp.calls import answers, groups, server_probe
from autointerp.calls.cost_limits import input_bound
from autointerp.costs import scorer_questions, stand_ins
from autointerp.formatting import dollars, plural
from autointerp.harvest import control_units, explainer_windows
from autointerp.judges import cost_model, prices
from autointerp.ledger.calls import MeasuredCall
from autointerp.messages import Prompt
from autointerp.scorers.base import Scorer
from autointerp.scorers.registry import SCORERS
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge
from autointerp.spec.providers import is_llm
from autointerp.spec.spec import Spec

REVISION_CALLS = 4
"""Questions for an explanation that is tested and revised."""
PLANTED_WINDOWS = 9
"""Windows of a planted unit besides the silent ones: hits and near misses."""


@dataclass(frozen=True)
class StageBound:
    """The most calls that one stage makes to an LLM, and their cost; dollars are None if the price is unknown."""

    stage: str
    model: str
    calls: int
    usual_usd: float | None
    """Dollars for prompts and replies of the usual length."""
    most_usd: float | None
    """Dollars for the longest."""


Earlier = Callable[[Judge, str], Sequence[MeasuredCall]]
"""Earlier calls to a judge in a stage, by which the usual cost is estimated."""


def bounds(spec: Spec, earlier: Earlier = lambda judge, stage: ()) -> list[StageBound]:
    """The stages of a run that ask an LLM. Raises `UsageError` for an unknown rubric."""
    judged, explanations = items(spec), explained(spec)
    explaining, scoring = _questions(spec)
    tests = REVISION_CALLS if explainer_windows.requested_aids(spec, *spec.explain.compare).revise else 1
    tried = [(explanations * tests * answers.MAX_TRIES, explaining.longest)]
    stages = [_bound("explain", spec.explained_by, explaining, explanations * tests, tried, earlier)]
    parts_filled = (
        max(spec.score.repeats, spec.controls.repeats) - 1
    )  # each repeat may leave its last question part empty
    stages.append(_scoring_bound("score", spec, spec.judge, scoring, judged, parts_filled, earlier))
    stages += [_scorer_bound(spec, SCORERS[name], earlier) for name in spec.scorers]
    if spec.cascade is not None:
        again = math.ceil(judged * spec.cascade.share)
        stages.append(_scoring_bound("regrade", spec, spec.cascade.judge, scoring, again, 0, earlier))
    return [stage for stage in stages if is_llm(stage.model) and stage.calls]


def usual_usd(stages: Sequence[StageBound]) -> float | None:
    """Dollars of all stages for prompts and replies of the usual length; None if a price is unknown."""
    costs = [stage.usual_usd for stage in stages]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def items(spec: Spec) -> int:
    """The most items that are judged, controls and repeats included."""
    of_unit = _items_of_a_unit(spec, len(spec.explain.compare), spec.score.per_bin)
    of_planted = PLANTED_WINDOWS + spec.controls.shuffled + spec.controls.base_rate
    found = n_units(spec) * (of_unit + spec.controls.neighbours) + spec.controls.repeated * (spec.controls.repeats - 1)
    found += sum(n * _items_of_a_unit(spec, compared=0, per_bin=per_bin) for n, per_bin in _random_units(spec))
    return found + spec.controls.planted * of_planted


def explained(spec: Spec) -> int:
    """The most explanations that are asked for, each counted once."""
    return n_units(spec) * (1 + len(spec.explain.compare)) + sum(n for n, _ in _random_units(spec))


def _random_units(spec: Spec) -> list[tuple[int, int]]:
    """For each kind of random unit, the number of units and of exemplars judged in each of their bins."""
    forms = control_units.random_forms(spec).values()
    most = spec.score.per_bin
    return [(control_units.n_random(spec, form), min(most, form.per_bin or most)) for form in forms]


def describe(spec: Spec) -> Iterator[str]:
    """The bounds in lines for the terminal; none for a run that asks no LLM."""
    stages = bounds(spec)
    width = max((len(stage.stage) for stage in stages), default=0)
    for stage in stages:
        usual, most = stage.usual_usd, stage.most_usd
        cost = (
            f"about {dollars(usual)}, at most {dollars(most)}"
            if usual is not None and most is not None
            else "cost unknown"
        )
        yield f"  {stage.stage:<{width}} at most {stage.calls:,} calls to {stage.model}: {cost}"
    if stages:
        limit = spec.budget.usd
        stops = "no budget.usd is set" if limit is None else f"budget.usd = {limit:g} stops it in any case"
        yield f"  assuming that every unit is alive and every bin full, which the harvest will show; {stops}"


def together(specs: Sequence[Spec]) -> str:
    """The bounds of several runs in all, in a line. Answers that they share are counted for each."""
    stages = [stage for spec in specs for stage in bounds(spec)]
    usual, most = ([getattr(stage, name) for stage in stages] for name in ("usual_usd", "most_usd"))
    cost = "cost unknown" if None in (*usual, *most) else f"about {dollars(sum(usual))}, at most {dollars(sum(most))}"
    return f"in all {plural(len(specs), 'run')}, at most {plural(sum(s.calls for s in stages), 'call')} to LLMs: {cost}"


def n_units(spec: Spec) -> int:
    """Features and neurons that a spec samples or names."""
    units = spec.units
    features = units.features if units.feature_ids is None else len(units.feature_ids)
    return features + (units.neurons if units.neuron_ids is None else len(units.neuron_ids))


def _items_of_a_unit(spec: Spec, compared: int, per_bin: int) -> int:
    """Items of a unit whose bins all hold `per_bin`, with `compared` explanations besides its own."""
    main = spec.harvest.bins * per_bin
    return main * (spec.score.repeats + compared) + spec.controls.shuffled + spec.controls.base_rate


class _Questions(NamedTuple):
    """Stand-ins for a stage's questions: a usual one, one with as much text as it may have, and one such about a single item."""

    usual: Prompt
    longest: Prompt
    longest_alone: Prompt


def _questions(spec: Spec) -> tuple[_Questions, _Questions]:
    """Of explaining and of scoring."""
    scale, windows = rubric.load(spec.score.rubric), [stand_ins.window(spec)]
    explaining = stand_ins.explaining(spec, scale, windows)
    longest = _longest(spec)
    scoring = [
        stand_ins.scoring(spec, scale, text, windows, per_call)[0]
        for text, per_call in (
            (stand_ins.EXPLANATION, spec.score.per_call),
            (longest, spec.score.per_call),
            (longest, 1),
        )
    ]
    return _Questions(explaining, explaining, explaining), _Questions(*scoring)


def _scorer_bound(spec: Spec, scorer: Scorer, earlier: Earlier) -> StageBound:
    """The bound of another evaluation. A question about several items whose replies cannot be read is asked again about each alone."""
    n = n_units(spec) + (spec.controls.planted if scorer_questions.evaluates_planted(scorer) else 0)
    usual, longest = (
        scorer_questions.most_questions(spec, scorer, text) for text in (stand_ins.EXPLANATION, _longest(spec))
    )
    most: list[tuple[int, Prompt]] = []
    for question in longest:
        alone = [n for _ in question.alone()]
        prompt = replace(question.prompt, max_tokens=max(question.prompt.max_tokens, spec.judge.max_output_tokens))
        most += [(n * groups.TRIES if alone else n, prompt), (sum(alone), prompt)]
    most = [(calls, prompt) for calls, prompt in most if calls]
    if not most:
        return StageBound(scorer.name, spec.judge.model, 0, 0.0, 0.0)
    shown = max((question.prompt for question in usual), key=lambda prompt: len(prompt.user))
    largest = max((prompt for _, prompt in most), key=lambda prompt: len(prompt.user))
    return _bound(scorer.name, spec.judge, _Questions(shown, largest, largest), n * len(usual), most, earlier)


def _longest(spec: Spec) -> str:
    """An explanation of the largest length."""
    return (stand_ins.EXPLANATION * 20)[: spec.explain.max_chars]


def _scoring_bound(
    stage: str, spec: Spec, judge: Judge, questions: _Questions, judged: int, extra: int, earlier: Earlier
) -> StageBound:
    """The bound of a stage that grades. A group whose replies cannot be read is asked again, and then each of its items alone."""
    if spec.score.per_call == 1:
        return _bound(stage, judge, questions, judged, [(judged, questions.longest)], earlier)
    asked = -(-judged // spec.score.per_call) + extra
    most = [(asked * groups.TRIES, questions.longest), (judged, questions.longest_alone)]
    return _bound(stage, judge, questions, asked, most, earlier)


def _bound(
    stage: str, judge: Judge, questions: _Questions, usual: int, most: Sequence[tuple[int, Prompt]], earlier: Earlier
) -> StageBound:
    """The bound of a stage. `most` holds numbers of questions, each with a prompt at least as long as theirs."""
    price, batch = prices.price_of(judge.model, judge), judge.transport == "batch"
    cost = cost_model.expected(judge, [questions.usual], calls=usual, earlier=earlier(judge, stage))
    if probes := server_probe.most_calls(judge):
        most = [*most, (probes, questions.longest)]
    dearest = [(n, prices.max_cost(input_bound(prompt), prompt.max_tokens, price, batch=batch)) for n, prompt in most]
    usd = None if any(each is None for _, each in dearest) else sum(n * (each or 0.0) for n, each in dearest)
    return StageBound(stage, judge.model, sum(n for n, _ in most), cost.usd, usd)
