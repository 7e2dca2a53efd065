"""How much of a harvest is kept: what its sketches hold of each unit, and what is chosen from them at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import HarvestPlanFile
from autointerp.spec.spec import Spec
from sae.harvest.units import UnitKey

if TYPE_CHECKING:
    from sae.harvest.exemplars import Selection
    from sae.harvest.harvest import HarvestPlan

SILENT_POOL = 64
"""Silent windows kept a unit and side, of which the quietest are taken: the same pool, so that asking for more keeps the earlier."""


def reading(inputs: Inputs, plan: HarvestPlanFile) -> HarvestPlan:
    """How a harvest's shards are read."""
    from sae.harvest.harvest import HarvestPlan
    from sae.harvest.sketch import Quota

    spec = inputs.spec
    quota = Quota(
        explain=max(2, -(-2 * spec.explain.spread // spec.harvest.bins)),
        judge=spec.score.per_bin,
        quiet=max(SILENT_POOL, 4 * spec.silent_windows, 4 * spec.explain.quiet),
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
    """How many exemplars of each role a unit gets."""
    from sae.harvest.exemplars import Selection

    return Selection(
        bins=spec.harvest.bins,
        per_bin=spec.score.per_bin,
        top=spec.explain.top,
        shown_top=spec.harvest.top,
        spread=spec.explain.spread,
        explain_quiet=spec.explain.quiet,
        quiet=spec.silent_windows,
        min_documents=spec.explain.min_exemplars,
    )
