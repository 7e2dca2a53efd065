"""Sample sizes of a harvest: the events that its sketches keep per unit, and the exemplars that are chosen from them."""

from __future__ import annotations

from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.spec.spec import Spec
from sae.harvest.exemplars import Selection
from sae.harvest.harvest import HarvestPlan
from sae.harvest.sketch import Quota
from sae.harvest.units import UnitKey

SILENT_POOL = 64
"""Candidate silent windows per unit and split. The pool size is fixed, so that a larger request extends a smaller one."""


def harvest_plan(inputs: Inputs, plan: SharedPlan) -> HarvestPlan:
    """The units and sample sizes with which a harvest's shards are read."""
    spec = inputs.spec
    quota = Quota(
        explain=max(2, -(-2 * spec.explain.spread // spec.harvest.bins)),
        judge=spec.score.per_bin + 1,  # the priority of the last document is the limit of the others
        silent=max(SILENT_POOL, 4 * spec.silent_windows, 4 * spec.explain.quiet),
        top=max(spec.harvest.top, 2 * spec.explain.top),
    )
    return HarvestPlan(
        units=tuple(UnitKey(*unit) for unit in plan.units),
        quota=quota,
        window=spec.harvest.window_tokens,
        skip_positions=spec.harvest.skip_positions,
        max_norm_ratio=spec.harvest.max_norm_ratio,
        seed=spec.units.seed,
        batch_tokens=plan.batch_tokens,
    )


def selection(spec: Spec) -> Selection:
    """The number of exemplars of each role per unit."""
    return Selection(
        bins=spec.harvest.bins,
        per_bin=spec.score.per_bin,
        top=spec.explain.top,
        shown_top=spec.harvest.top,
        spread=spec.explain.spread,
        explain_silent=spec.explain.quiet,
        silent=spec.silent_windows,
        min_documents=spec.explain.min_exemplars,
    )
