"""The dictionary as a whole: checked before a harvest is paid for, studied when it is merged.

Both are measured by `sae` and kept as JSON beside the harvest, the check in its plan and the studies in a file named by their tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import HarvestPlanFile
from autointerp.progress import Tell
from autointerp.spec.spec import Spec

Figures = dict[str, Any]


def measure(inputs: Inputs, norm_limit: float, tell: Tell) -> Figures:
    """The check of a spec's dictionary as JSON values, over a sample of what its harvest will count."""
    from sae.analysis.fit_check import check

    tell("checking the dictionary", 0, 0)
    harvest, seed = inputs.spec.harvest, inputs.spec.units.seed
    found = check(
        inputs.subject,
        inputs.dictionary,
        inputs.corpus,
        seed=seed,
        skip_positions=harvest.skip_positions,
        norm_limit=norm_limit,
    )
    return as_json(found)


def as_json(check: Any) -> Figures:
    """A `sae.check.Check` as JSON values."""
    figures = asdict(check) | {"loss": check.loss and check.loss._asdict()}
    plain: Figures = _plain(figures)
    return plain


def insist(spec: Spec, check: Mapping[str, Any] | None) -> None:
    """Raise `UsageError` where the dictionary explains nothing, unless the spec says to go on."""
    if spec.dictionary.check and check is not None and check["verdict"] == "nothing":
        raise UsageError(
            f"dictionary {spec.dictionary.path} {check['said']} (dictionary.check = false goes on all the same)"
        )


def file_name(spec: Spec) -> str | None:
    """Name of the file of the spec's studies, or None where it wants none."""
    return f"studies-{spec.studies.tokens}.json" if spec.studies.tokens else None


def are_there(spec: Spec, artifacts: Artifacts, plan: HarvestPlanFile) -> bool:
    """Whether the spec's studies are made, if it wants any."""
    name = file_name(spec)
    return name is None or artifacts.exists(plan.name(name))


def make(inputs: Inputs, artifacts: Artifacts, plan: HarvestPlanFile, tell: Tell) -> None:
    """Write the studies beside the harvest."""
    from sae.analysis.dictionary_studies import study

    spec, name = inputs.spec, file_name(inputs.spec)
    assert name is not None
    tell("studying the dictionary", 0, spec.studies.tokens)
    found = study(
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
    text = json.dumps(found, ensure_ascii=False, allow_nan=False)
    artifacts.write(plan.name(name), lambda path: _write(path, text))


def read(harvest: Path, spec: Spec) -> Figures | None:
    """The studies beside a finished harvest; None where the spec wants none."""
    name = file_name(spec)
    if name is None or not (harvest / name).is_file():
        return None
    found: Figures = json.loads((harvest / name).read_text(encoding="utf-8"))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
