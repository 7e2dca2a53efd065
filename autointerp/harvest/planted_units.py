"""The controls that are units of their own, kept beside the harvest: planted ones, whose explanations are known, and `randomised` ones."""

from __future__ import annotations

from functools import partial

import numpy as np

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import HarvestPlanFile
from autointerp.hashing import content_hash
from autointerp.progress import Tell
from autointerp.spec.spec import Spec
from sae.subject.token_text import token_texts

VERSION = 1
"""Raise it with every change that can alter a planted unit or its windows."""


def file_names(spec: Spec) -> tuple[str, str] | None:
    """Names of the files of the spec's planted units and of their exemplars, or None where it wants none."""
    if not spec.controls.planted:
        return None
    asked = [VERSION, spec.controls.planted, spec.silent_windows, spec.harvest.window_tokens, spec.harvest.bins]
    key = content_hash([*asked, spec.units.seed])[:12]
    return f"planted-{key}-units.parquet", f"planted-{key}-exemplars.parquet"


def are_there(spec: Spec, artifacts: Artifacts, plan: HarvestPlanFile) -> bool:
    """Whether the spec's planted units are made, if it wants any."""
    names = file_names(spec)
    return names is None or all(artifacts.exists(plan.name(name)) for name in names)


def make(inputs: Inputs, artifacts: Artifacts, plan: HarvestPlanFile, tell: Tell) -> None:
    """Write the planted units beside the harvest."""
    from sae.controls.planted_units import plant

    spec, names = inputs.spec, file_names(inputs.spec)
    assert names is not None

    def texts(ids: np.ndarray) -> list[str]:
        return token_texts(inputs.subject.tokenizer, ids.tolist())

    tell("planting units", 0, 0)
    tables = plant(
        inputs.corpus,
        texts,
        n=spec.controls.planted,
        quiet=spec.silent_windows,
        window=spec.harvest.window_tokens,
        bins=spec.harvest.bins,
        seed=spec.units.seed,
    )
    for name, table in zip(names, tables, strict=True):
        artifacts.write(plan.name(name), partial(table.to_parquet, index=False))
