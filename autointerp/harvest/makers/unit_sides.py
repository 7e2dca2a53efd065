"""Measures both sides of the sampled units: what makes them fire, and what they make the subject say."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.checkpoints import INTERVAL_S
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.harvest.unit_sides import COLUMNS, names
from autointerp.progress import OnProgress
from sae.analysis.output_effects import OutputEffect
from sae.analysis.two_sides import Counted, TwoSides, two_sides
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the sides of the units that are alive beside the harvest."""
    units = pd.read_parquet(artifacts.read(plan.name("units.parquet")))
    largest = dict(zip(units["unit_id"], units["max_activation"], strict=True))
    alive = set(units.loc[units["status"] == "alive", "unit_id"])
    keys = [key for key in (UnitKey(*unit) for unit in plan.units) if key.unit_id in alive]
    on_progress("measuring both sides", 0, len(keys))
    [name] = names(inputs.spec)
    measured = _Measured(artifacts, plan.name(f"{name}.part"), keys)

    def progress(done: int, total: int) -> None:
        measured.save_if_due()
        on_progress("measuring both sides", done, total)

    sides = two_sides(
        inputs.subject,
        inputs.dictionary,
        inputs.corpus,
        {key: float(largest[key.unit_id]) for key in keys},
        pd.read_parquet(artifacts.read(plan.name("exemplars.parquet"))),
        Counted(inputs.spec.harvest.skip_positions, plan.norm_limit, inputs.spec.units.seed),
        measured.outputs,
        progress,
    )
    table = pd.DataFrame([_row(unit) for unit in sides], columns=COLUMNS)
    artifacts.write(plan.name(name), partial(table.to_parquet, index=False))
    measured.remove()


class _Measured:
    """The output sides that are measured so far, by unit, in a file beside the harvest: it takes seconds to measure one."""

    def __init__(self, artifacts: Artifacts, name: str, keys: Sequence[UnitKey]) -> None:
        self._artifacts, self._name, self._saved = artifacts, name, time.monotonic()
        saved = json.loads(artifacts.read(name).read_text(encoding="utf-8")) if artifacts.exists(name) else {}
        self.outputs = {key: _effect(saved[key.unit_id]) for key in keys if key.unit_id in saved}

    def save_if_due(self) -> None:
        """Save them, `INTERVAL_S` after they were last saved."""
        if time.monotonic() - self._saved > INTERVAL_S:
            by_id = {key.unit_id: asdict(effect) for key, effect in self.outputs.items()}
            self._artifacts.write_text(self._name, json.dumps(by_id))
            self._saved = time.monotonic()

    def remove(self) -> None:
        """Remove the file."""
        self._artifacts.remove(self._name)


def _effect(saved: dict[str, Any]) -> OutputEffect:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    return OutputEffect(**values)


def _row(unit: TwoSides) -> dict[str, Any]:
    row: dict[str, Any] = {"unit_id": unit.unit_id, "side": unit.side}
    if unit.input is not None:
        row |= {"input_told": unit.input.told, "input_p": unit.input.p}
    if unit.output is None:
        return row
    effect = unit.output
    return row | {
        "output_rise": effect.rise,
        "output_random_rise": effect.random_rise,
        "output_p": effect.p,
        "output_precision": effect.precision,
        "output_random_precision": effect.random_precision,
        "decoder_precision": effect.decoder_precision,
        "decoder_random_precision": effect.random_decoder_precision,
        "raised": list(effect.raised),
        "decoder_raised": list(effect.decoder_raised),
    }
