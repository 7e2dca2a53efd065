"""Sample sizes of a harvest: the events that its sketches keep per unit, and the exemplars that are chosen from them."""

from __future__ import annotations

from dataclasses import astuple

from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.spec.spec import MOST_SILENT, Spec
from sae.harvest.exemplars import Selection
from sae.harvest.harvest import HarvestPlan
from sae.harvest.sketch import Quota
from sae.harvest.units import UnitKey

SILENT_POOL = 64
"""Candidate silent windows per unit and split. The pool size is fixed, so that a larger request extends a smaller one."""
ROOM = Quota(explain=4, judge=11, silent=4 * MOST_SILENT, top=32)
"""Smallest quotas that are kept of few units, so that a spec that asks for more exemplars, up to these, finds them kept:
`score.per_bin` up to 10, `explain.spread` up to 20 with 10 bins, `explain.top` up to 16. With 5 judged exemplars per bin, the default,
that is about twice as many events as it needs."""
ROOMY_UNITS = 2048
"""Largest number of units of which more than needed is kept. Of more units it would take gigabytes, and time to save."""


def drawn_quota(spec: Spec) -> Quota:
    """The events of a sketch from which a spec's exemplars are chosen. They decide the choice, so that no other events may take part."""
    return Quota(
        explain=max(2, -(-2 * spec.explain.spread // spec.harvest.bins)),
        judge=spec.score.per_bin + 1,  # the priority of the last document is the limit of the others
        silent=max(SILENT_POOL, 4 * spec.silent_windows, 4 * spec.explain.quiet),
        top=max(spec.harvest.top, 2 * spec.explain.top),
    )


def kept_quota(spec: Spec, n_units: int) -> Quota:
    """The events that are read and kept: those of `drawn_quota`, with room for other specs unless there are many units."""
    if n_units > ROOMY_UNITS:
        return drawn_quota(spec)
    return Quota(*map(max, astuple(drawn_quota(spec)), astuple(ROOM)))


def harvest_plan(inputs: Inputs, plan: SharedPlan, quota: Quota | None = None) -> HarvestPlan:
    """The units and sample sizes with which a harvest's shards are read: by default those that are kept."""
    spec = inputs.spec
    return HarvestPlan(
        units=tuple(UnitKey(*unit) for unit in plan.units),
        quota=quota or kept_quota(spec, len(plan.units)),
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
