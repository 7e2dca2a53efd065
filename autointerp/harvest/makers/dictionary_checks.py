"""Measures a dictionary as a whole: its fit to the subject before a harvest, and its statistics when the harvest is merged."""

from __future__ import annotations

import json

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.dictionary_checks import Figures, as_json, names
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.progress import Tell
from sae.analysis.dictionary_studies import study
from sae.analysis.fit_check import check

__all__ = ["make", "measure_fit", "names"]


def measure_fit(inputs: Inputs, norm_limit: float, tell: Tell) -> Figures:
    """The fit of a spec's dictionary as JSON values, over a sample of the tokens that its harvest will count."""
    tell("checking the dictionary", 0, 0)
    harvest, seed = inputs.spec.harvest, inputs.spec.units.seed
    fit = check(
        inputs.subject,
        inputs.dictionary,
        inputs.corpus,
        seed=seed,
        skip_positions=harvest.skip_positions,
        norm_limit=norm_limit,
    )
    return as_json(fit)


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, tell: Tell) -> None:
    """Write the studies beside the harvest."""
    spec = inputs.spec
    tell("studying the dictionary", 0, spec.studies.tokens)
    figures = study(
        inputs.subject,
        inputs.dictionary,
        inputs.corpus,
        tokens=spec.studies.tokens,
        features=[index for kind, index, _ in plan.units if kind == "feature"],
        seed=spec.units.seed,
        skip_positions=spec.harvest.skip_positions,
        norm_limit=plan.norm_limit,
        progress=lambda done, total: tell("studying the dictionary", min(done, total), total),
    )
    text = json.dumps(figures, ensure_ascii=False, allow_nan=False)
    [name] = names(spec)
    artifacts.write_text(plan.name(name), text)
