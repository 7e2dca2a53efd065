"""The plan that all workers of one harvest share: only data, so reading it loads no model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from autointerp.errors import UsageError
from autointerp.harvest.artifacts import Artifacts

MOST_TOGETHER = 9
"""Dictionaries read in one pass: each keeps its encoders and its sample in memory."""


class Interrupted(Exception):
    """A shard was left unread because its worker is to stop."""


@dataclass(frozen=True)
class SharedPlan:
    """The settings that all workers of a harvest share, as written in its `plan.json`.

    `key` names the harvest's folder. Harvests of one `pass_key` read the same batches of the same subject, so one pass serves them
    all. `shard_tokens` and `batch_tokens` cut the corpus into `shards`; `units` are (kind, index, sign).
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
        """Name of one of the harvest's files among the artifacts."""
        return f"harvest-{self.key}/{file}"

    def shard(self, number: int) -> str:
        """Name of a shard's file among the artifacts."""
        return self.name(f"shard-{number:05d}.npz")


def read_plan(artifacts: Artifacts, key: str) -> SharedPlan:
    """The plan of the harvest `key`, its first 16 digits. Raises `UsageError` where there is none."""
    try:
        data = json.loads(artifacts.read(f"harvest-{key}/plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"harvest-{key}/plan.json is not in {artifacts}: all workers must share one folder") from None
    return SharedPlan(**data | {"units": tuple((kind, index, sign) for kind, index, sign in data["units"])})
