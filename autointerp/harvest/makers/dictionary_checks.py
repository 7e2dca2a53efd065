"""Measures a whole dictionary: its fit to the subject before a harvest, and its statistics when the harvest is merged."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

from autointerp.formatting import number, percent
from autointerp.harvest import kept_sketches
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.dictionary_checks import Figures, names
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.json_values import plain
from autointerp.progress import OnProgress
from sae.analysis.dictionary_studies import study
from sae.analysis.fit_check import FitCheck, check_fit

__all__ = ["as_json", "make", "measure_fit", "names"]


def measure_fit(inputs: Inputs, norm_limit: float, on_progress: OnProgress) -> Figures:
    """The fit of a spec's dictionary as JSON values, over a sample of the tokens that its harvest will count."""
    harvest, seed = inputs.spec.harvest, inputs.spec.units.seed
    fit = check_fit(
        inputs.subject,
        inputs.dictionary,
        inputs.corpus,
        seed=seed,
        skip_positions=harvest.skip_positions,
        norm_limit=norm_limit,
        progress=partial(on_progress, "checking the dictionary"),
    )
    on_progress(_first_result(fit), 0, 0)
    return as_json(fit)


def _first_result(fit: FitCheck) -> str:
    """The first line of a run that tells something of its dictionary."""
    if fit.said or fit.variance_explained is None:
        return f"the dictionary {fit.said or 'writes to several layers: its reconstruction is not measured'}"
    text = f"the dictionary explains {percent(fit.variance_explained)} of the variance"
    if fit.loss_recovered is not None:
        text += f" and recovers {percent(fit.loss_recovered)} of the loss"
    return f"{text}, with {number(fit.l0, 1)} active features per token"


def as_json(check: FitCheck) -> Figures:
    """A fit check as JSON values."""
    figures = asdict(check) | {"loss": check.loss and check.loss._asdict()}
    values: Figures = plain(figures)
    return values


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the studies beside the harvest, and beside the kept sketch, where harvests of the same reading find them."""
    [name] = names(inputs.spec)
    kept = f"{kept_sketches.folder(inputs.reading_key())}/{name}"
    if not artifacts.exists(kept):
        artifacts.write_text(kept, json.dumps(_studies(inputs, plan, on_progress), ensure_ascii=False, allow_nan=False))
    artifacts.copy(kept, plan.name(name))


def _studies(inputs: Inputs, plan: SharedPlan, on_progress: OnProgress) -> Figures:
    spec = inputs.spec
    on_progress("studying the dictionary", 0, spec.studies.tokens)
    figures = study(
        inputs.subject,
        inputs.dictionary,
        inputs.corpus,
        tokens=spec.studies.tokens,
        features=[index for kind, index, _ in plan.units if kind == "feature"],
        seed=spec.units.seed,
        skip_positions=spec.harvest.skip_positions,
        norm_limit=plan.norm_limit,
        progress=lambda done, total: on_progress("studying the dictionary", min(done, total), total),
    )
    values: Figures = plain(figures)
    return values
