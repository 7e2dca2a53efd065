"""Sketches of finished readings, kept so that a spec that chooses other exemplars from the same activations reads nothing again.

They are in `reading-KEY/`, KEY being of all that decides which activations are read. A sketch holds the events of its quotas, which are
in its name. It serves every spec whose quotas are no larger: restored with those, it is the same to the last bit as one that was read
with them.
"""

from __future__ import annotations

import json
import re
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.plan import SharedPlan
from autointerp.hashing import content_hash
from sae.harvest import harvest
from sae.harvest.sketch import Quota, Sketch

VERSION = 1
"""Increase it with every change of the files' content."""
SAMPLED = "units"
"""The sample's own units, in names of files. Other sets of units have names of their own."""


@dataclass(frozen=True)
class KeptSketch:
    """The file of a kept sketch, and what was measured before its reading: the norm limit, and the dictionary's fit."""

    name: str
    norm_limit: float
    check: dict[str, Any] | None


def find(
    artifacts: Artifacts, reading_key: str, units: str, quota: Quota, norm_limit: float | None = None
) -> KeptSketch | None:
    """A kept sketch of these units with at least these quotas, and, if given, that norm limit; None if there is none."""
    for name in artifacts.list(f"{folder(reading_key)}/{units}-"):
        held = re.fullmatch(r"(\d+)-(\d+)-(\d+)-(\d+)\.npz", name.removeprefix(f"{folder(reading_key)}/{units}-"))
        if held and all(int(n) >= needed for n, needed in zip(held.groups(), astuple(quota), strict=True)):
            about = json.loads(harvest.saved_note(artifacts.read(name)))
            if norm_limit in (None, about["norm_limit"]):
                return KeptSketch(name, **about)
    return None


def keep(
    artifacts: Artifacts, reading_key: str, units: str, plan: SharedPlan, sketch: Sketch, seconds: float
) -> KeptSketch:
    """Write a sketch, which was read with the norm limit of a plan in so many seconds."""
    about = {"norm_limit": plan.norm_limit, "check": plan.check}
    name = f"{folder(reading_key)}/{units}-{'-'.join(map(str, astuple(sketch.quota)))}.npz"
    artifacts.write(name, partial(harvest.save, sketch=sketch, seconds=seconds, note=json.dumps(about)))
    return KeptSketch(name, plan.norm_limit, plan.check)


def folder(reading_key: str) -> str:
    """The folder of a reading's files among the artifacts."""
    return f"reading-{content_hash([VERSION, reading_key])[:16]}"
