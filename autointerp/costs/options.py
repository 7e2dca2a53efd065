"""Cost and precision of a run under other settings: exemplars per bin, items per question, adaptive or fixed sampling.

Without a harvest every unit is assumed to be alive and every bin to be full. The width of an interval depends on the standard
deviations of the grades, which only a judged run shows: those of the newest finished run with the same judge, or else the demo's.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd

from autointerp import records
from autointerp.costs import bounds, stand_ins
from autointerp.errors import UsageError
from autointerp.findings.summary import Summary, read_summary
from autointerp.findings.tables import documents
from autointerp.judges import cost_model
from autointerp.messages import MarkedText, Prompt
from autointerp.questions import planned_jobs, rounds
from autointerp.records import COMPARED, Arm
from autointerp.run import Run
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge
from autointerp.spec.providers import is_llm
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec
from autointerp.stats import stopping
from autointerp.stats.stopping import Spread, Widths

PER_BIN, PER_CALL = (1, 2, 3, 5, 10), (1, 5, 10)
SAMPLE = 40
"""Windows from which prompts are made to count their tokens."""
DEMO = {"feature": (0.86, 0.76), "neuron": (0.69, 0.72)}
"""Standard deviations of grades (0 to 3) between units and within their bins: the demo's 64 features and 64 neurons, embedded judge."""


@dataclass(frozen=True)
class Spreads:
    """Standard deviations of grades by kind, and the run that they are from."""

    of: Mapping[str, Spread]
    source: str


@dataclass(frozen=True)
class Supply:
    """The items that can be judged, known from the harvest or bounded by the spec."""

    features: int
    neurons: int
    cells: Sequence[float]
    """Exemplars in each bin of each feature and neuron; infinite if a bin may hold more than its sample."""
    fixed: int
    """Items that are judged under every option, such as controls."""
    repeated: int
    """Of these, the items that each repeat judges again."""
    explanations: int
    windows: Sequence[MarkedText]
    """A sample of texts."""


@dataclass(frozen=True)
class Option:
    """One choice of settings: calls to all judges, tokens, dollars (None if a price is unknown), and expected half-widths."""

    per_bin: int
    per_call: int
    adaptive: bool
    calls: int
    tokens: int
    usd: float | None
    widths: Widths
    meets: bool
    """Whether every target of `[adaptive]` is expected to be met."""


@dataclass(frozen=True)
class Plan:
    """The options of a spec, and the assumptions behind them."""

    spec: Spec
    options: Sequence[Option]
    spreads: Spreads
    exact: bool
    """Whether items were counted in the harvest."""

    @property
    def cheapest(self) -> Option | None:
        """The cheapest option that meets all targets, if there are any."""
        meeting = [option for option in self.options if option.meets] if rounds.adaptive(self.spec) else []
        return min(meeting, key=lambda o: (o.usd or 0.0, o.tokens, o.calls), default=None)


def plan_of(spec: Spec, results: Path, run: Run | None = None) -> Plan:
    """The options of a spec; items are counted exactly if `run` holds its harvest. Raises `UsageError`."""
    scale, supply = rubric.load(spec.score.rubric), supply_of(spec, run)
    spreads = spreads_of(spec, scale, results)
    per_call = (1,) if spec.score.ask == "logprobs" else tuple(sorted({*PER_CALL, spec.score.per_call}))
    kinds = (False, True) if rounds.adaptive(spec) else (False,)
    options = [
        _option(spec, scale, supply, spreads.of, per_bin, together, adaptive)
        for adaptive in kinds
        for per_bin in ((spec.score.per_bin,) if adaptive else tuple(sorted({*PER_BIN, spec.score.per_bin})))
        for together in per_call
    ]
    return Plan(spec, options, spreads, run is not None)


def supply_of(spec: Spec, run: Run | None) -> Supply:
    """The items of a harvest; without one, the most that the spec allows."""
    if run is None:
        features = spec.units.features if spec.units.feature_ids is None else len(spec.units.feature_ids)
        cells = [math.inf] * (bounds.n_units(spec) * spec.harvest.bins)
        repeated = 0 if spec.score.repeats > 1 else spec.controls.repeated
        main = len(cells) * spec.score.per_bin * (spec.score.repeats + len(spec.explain.compare))
        fixed = bounds.items(spec) - main - spec.controls.repeated * (spec.controls.repeats - 1)
        return Supply(
            features,
            bounds.n_units(spec) - features,
            cells,
            fixed,
            repeated,
            bounds.explained(spec),
            [stand_ins.window(spec)],
        )
    units = list(run.units.values())
    items = [item for item in planned_jobs.score_items(spec, units, run.exemplars) if item.repeat == 0]
    mine = [unit for unit in units if unit.status == "alive" and unit.kind in COMPARED]
    judged = [e for unit in mine for e in records.main_exemplars(run.exemplars[unit.unit_id])]
    counts = Counter((e.unit_id, e.bin) for e in judged)
    return Supply(
        features=sum(unit.kind == "feature" for unit in mine),
        neurons=sum(unit.kind == "neuron" for unit in mine),
        cells=[n if n < spec.score.per_bin else math.inf for n in counts.values()],
        fixed=len(items) - len(judged) * (1 + len(spec.explain.compare)),
        repeated=min(spec.controls.repeated, sum(i.arm is Arm.MAIN for i in items)) if spec.score.repeats == 1 else 0,
        explanations=len(planned_jobs.explain_jobs(units, spec.explain.compare)),
        windows=[e.marked_text for e in random.Random(0).sample(judged, min(SAMPLE, len(judged)))],
    )


def spreads_of(spec: Spec, scale: Rubric, results: Path) -> Spreads:
    """Standard deviations of grades in the newest finished run with the same judge and rubric, or in the demo."""
    for summary, folder in _finished_runs(results):
        if (summary.judge, summary.rubric.name) != (spec.judge.model, scale.name):
            continue
        units, exemplars, judgements = (
            pd.read_parquet(folder / f"{name}.parquet") for name in ("units", "exemplars", "judgements")
        )
        mine = judgements.loc[judgements["judge"] == summary.judge] if "judge" in judgements else judgements
        mine = mine.assign(document=mine["exemplar_id"].map(documents(exemplars)))
        seen = stopping.spread_of(stopping.cell_table(mine, units))
        if "feature" in seen:
            return Spreads({"neuron": seen["feature"], **seen}, f"run {summary.run_id}, by the same judge")
    length = (max(scale.grades) - min(scale.grades)) / 3
    demo = {kind: stopping.Spread(a * length, b * length) for kind, (a, b) in DEMO.items()}
    return Spreads(demo, "the demo with the embedded judge, for no run here has this judge and rubric")


def _finished_runs(results: Path) -> list[tuple[Summary, Path]]:
    """Summaries and folders of the readable runs, newest first."""
    found = []
    for path in results.glob("*/summary.json"):
        with suppress(UsageError):
            found.append((read_summary(path.parent), path.parent))
    return sorted(found, key=lambda pair: pair[0].finished_at, reverse=True)


def _option(
    spec: Spec, scale: Rubric, supply: Supply, spread: Mapping[str, Spread], per_bin: int, per_call: int, adaptive: bool
) -> Option:
    each = _expected_per_bin(spec, supply, spread) if adaptive else per_bin
    widths = _widths(spec, supply, spread, each)
    main = sum(int(min(each, n)) for n in supply.cells)
    first = supply.fixed + main * (1 + len(spec.explain.compare))
    repeated, repeats = (
        (main, spec.score.repeats) if spec.score.repeats > 1 else (supply.repeated, spec.controls.repeats)
    )
    # Each repeat fills its own questions.
    calls = math.ceil(first / per_call) + (repeats - 1) * math.ceil(repeated / per_call)
    explaining = [stand_ins.explaining(spec, scale, supply.windows)]
    scoring = stand_ins.scoring(spec, scale, stand_ins.EXPLANATION, supply.windows, per_call)
    asked: list[tuple[Judge, Sequence[Prompt], int]] = [
        (spec.explained_by, explaining, supply.explanations),
        (spec.judge, scoring, calls),
    ]
    if spec.cascade is not None:
        asked.append((spec.cascade.judge, scoring, math.ceil(first * spec.cascade.share / per_call)))
    costs = [_cost(*stage) for stage in asked]
    known = [usd for _, usd in costs if usd is not None]
    return Option(
        each,
        per_call,
        adaptive,
        sum(n for _, _, n in asked),
        sum(tokens for tokens, _ in costs),
        sum(known) if len(known) == len(costs) else None,
        widths,
        _meets(spec, widths),
    )


def _expected_per_bin(spec: Spec, supply: Supply, spread: Mapping[str, Spread]) -> int:
    """Exemplars per bin at which adaptive sampling is expected to stop, in whole rounds.

    A unit's own interval needs two per bin. If a target is missed with all that the spec allows, that number.
    """
    size, most = spec.adaptive.per_round, spec.score.per_bin
    for each in range(size, most, size):
        if (spec.adaptive.unit is None or each > 1) and _meets(spec, _widths(spec, supply, spread, each)):
            return each
    return most


def _widths(spec: Spec, supply: Supply, spread: Mapping[str, Spread], each: int) -> Widths:
    units = supply.features + supply.neurons
    taken = [min(each, n) for n in supply.cells] or [each]
    # As many bins a unit as are filled, and in each as many as there are on average.
    return stopping.expected_widths(
        features=max(supply.features, 1),
        neurons=supply.neurons,
        bins=max(1, round(len(taken) / max(units, 1))),
        per_bin=fmean(taken),
        spread=spread,
        confidence=spec.report.confidence,
    )


def _meets(spec: Spec, widths: Widths) -> bool:
    targets = spec.adaptive
    pairs = [(targets.unit, widths.unit), (targets.bin, widths.bin), (targets.run, widths.run)]
    return all(target is None or (width is not None and width <= target) for target, width in pairs)


def _cost(judge: Judge, prompts: Sequence[Prompt], calls: int) -> tuple[int, float | None]:
    """Tokens and dollars of `calls` questions like `prompts`; zero for a judge that is not an LLM."""
    if not is_llm(judge.model):
        return 0, 0.0
    cost = cost_model.expected(judge, prompts, calls=calls)
    return cost.input_tokens + cost.output_tokens, cost.usd
