"""The plan that all workers of a harvest share. It is data only: reading it loads no model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from autointerp.errors import UsageError
from autointerp.harvest.artifacts import Artifacts

MOST_TOGETHER = 9
"""Largest number of dictionaries read in one pass: each has its encoders and its sample in memory."""


class Interrupted(Exception):
    """A shard was not read to its end because the worker has to stop."""


@dataclass(frozen=True)
class SharedPlan:
    """The settings that all workers of a harvest share, as written in its `plan.json`.

    `key` names the harvest's folder. Harvests with the same `pass_key` read the same batches with the same subject, so one pass
    serves them all. `shard_tokens` and `batch_tokens` decide how the corpus is cut into `shards`; `units` are (kind, index, sign).
    """

    key: str
    harvest_key: str
    pass_key: str
    precision: str
    norm_limit: float
    shards: int
    shard_tokens: int
    batch_tokens: int
    units: tuple[tuple[str, int, str], ...]
    check: dict[str, Any] | None = field(default=None, compare=False)
    """The dictionary's fit to the subject, as measured before the harvest."""

    def name(self, file: str) -> str:
        """The name among the artifacts of one of the harvest's files."""
        return f"harvest-{self.key}/{file}"

    def shard(self, number: int) -> str:
        """The name among the artifacts of a shard's file."""
        return self.name(f"shard-{number:05d}.npz")

    def checkpoint(self, number: int) -> str:
        """The beginning of the names of the files of a shard's checkpoint."""
        return self.name(f"checkpoint-{number:05d}")


def read_plan(artifacts: Artifacts, key: str) -> SharedPlan:
    """The plan of the harvest `key` (16 hex digits). Raises `UsageError` if it does not exist."""
    try:
        data = json.loads(artifacts.read(f"harvest-{key}/plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"harvest-{key}/plan.json is not in {artifacts}: all workers must share one folder") from None
    return SharedPlan(**data | {"units": tuple((kind, index, sign) for kind, index, sign in data["units"])})
