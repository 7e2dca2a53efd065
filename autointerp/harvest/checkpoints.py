"""Checkpoints of shards that are being read: a reading that is killed loses at most `INTERVAL_S`, or one batch if that takes longer.

A checkpoint is a head and parts. The head has all counts and the names of the parts; each part has the events sampled since the one
before it, far fewer than a sketch holds. The head is written last, so the parts that it names exist. Parts have random names, so two
workers that read one shard do not overwrite each other's.
"""

from __future__ import annotations

import time
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.plan import SharedPlan
from autointerp.hashing import content_hash
from autointerp.progress import OnProgress
from sae.harvest.harvest import HarvestPlan, new_sketch

VERSION = 1
"""Increase it with every change of the files' content."""
INTERVAL_S = 25.0
"""Longest time between two checkpoints, in seconds, unless one batch takes longer. With the time of writing, half a minute is lost."""


class Checkpoint:
    """The checkpoint of one shard of one harvest, and the shard's sketch.

    `tokens` are the shard's tokens that the sketch has, and `seconds` the time that reading them took: those of an existing checkpoint
    with the same inputs and version, or 0.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        plan: SharedPlan,
        number: int,
        reading: HarvestPlan,
        device: torch.device,
        on_progress: OnProgress,
    ) -> None:
        self._artifacts, self._prefix = artifacts, plan.checkpoint(number)
        cut = [plan.harvest_key, plan.norm_limit, plan.shard_tokens, plan.batch_tokens]
        self._stamp = content_hash([VERSION, *cut, asdict(reading)])
        self._parts: list[str] = []
        self.tokens, self.seconds, self.sketch = 0, 0.0, new_sketch(reading, device)
        try:
            self._restore()
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, FileNotFoundError):
            self.sketch = new_sketch(reading, device)
            on_progress(f"shard {number}: its checkpoint is of another version or damaged: reading it all", 0, 0)

    def write(self, tokens: int, seconds: float) -> None:
        """Save the sketch, which has these tokens of the shard, read in so many seconds."""
        part = f"{self._prefix}-{uuid.uuid4().hex[:8]}.npz"
        self._artifacts.write(part, partial(_save, arrays=self.sketch.unsaved()))
        self._parts.append(part)
        about = {"stamp": self._stamp, "tokens": tokens, "seconds": seconds, "parts": self._parts}
        self._artifacts.write(self._head, partial(_save, arrays=self.sketch.totals() | about))

    def remove(self) -> None:
        """Remove all files of the shard's checkpoint."""
        for name in self._artifacts.list(self._prefix):
            self._artifacts.remove(name)

    @property
    def _head(self) -> str:
        return f"{self._prefix}.npz"

    def _restore(self) -> None:
        if not self._artifacts.exists(self._head):
            return
        head = _arrays(self._artifacts.read(self._head))
        if str(head["stamp"]) != self._stamp:
            raise ValueError("other inputs or another version")
        parts = [str(name) for name in head["parts"]]
        samples = [_arrays(self._artifacts.read(name)) for name in parts]
        self.sketch.restore(head, samples)
        self._parts, self.tokens, self.seconds = parts, int(head["tokens"]), float(head["seconds"])


class Timer:
    """Writes the checkpoints of all readings of one pass when they are due."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self._started = self._written = self._batch_ended = time.monotonic()

    def seconds(self, checkpoint: Checkpoint) -> float:
        """Seconds spent on one checkpoint's reading, those of earlier processes and its share of this pass."""
        return checkpoint.seconds + (time.monotonic() - self._started) / len(self._checkpoints)

    def batch_ended(self, tokens: int) -> None:
        """Write the checkpoints if another batch as long as this one would be too late. `tokens` of the shard have been read."""
        now = time.monotonic()
        batch_s, self._batch_ended = now - self._batch_ended, now
        if now - self._written + batch_s > INTERVAL_S:
            self.write(tokens)

    def write(self, tokens: int) -> None:
        """Write the checkpoints of all readings that have no later one."""
        for checkpoint in self._checkpoints:
            if checkpoint.tokens < tokens:
                checkpoint.write(tokens, self.seconds(checkpoint))
        self._written = self._batch_ended = time.monotonic()


def _save(path: Path, arrays: Mapping[str, object]) -> None:
    with path.open("wb") as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
        return dict(saved)
