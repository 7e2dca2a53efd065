"""Checkpoints of sketches that are being read: a reading that is killed loses at most `LOST_S`, or one batch if that takes longer.

A thread writes a checkpoint while reading continues, from copies of the arrays. A checkpoint is a head and parts. The head has all counts and the names of the parts; each part has the events sampled since the one
before it, far fewer than a sketch holds. The head is written last, so the parts that it names exist. Parts have random names, so two
workers that read one shard do not overwrite each other's.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
import torch

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.plan import Interrupted
from autointerp.hashing import content_hash
from autointerp.progress import OnProgress
from sae.corpus.corpus import Corpus
from sae.harvest import harvest
from sae.harvest.harvest import HarvestPlan, Reading, Shard, new_sketch
from sae.harvest.sketch import Sketch

T_co = TypeVar("T_co", covariant=True)

VERSION = 2
"""Increase it with every change of the files' content."""
LOST_S = 30.0
"""Longest reading that is lost, in seconds."""
INTERVAL_S = 25.0
"""Longest time from one checkpoint to the next, in seconds, unless one batch takes longer. It is less where writing takes long."""
SHORTEST_S = 10.0
"""Shortest time between checkpoints, however long writing takes."""

MakeSketch = Callable[[HarvestPlan, torch.device], Sketch]
"""Makes the empty sketch of a plan."""


class Checkpoint:
    """The checkpoint of one reading, a shard or a whole corpus, and its sketch. `title` names it in messages.

    `tokens` are those of the reading that the sketch has, and `seconds` the time that reading them took: those of an existing checkpoint
    below `prefix` with the same `identity` and version, or 0. `make` makes the sketch, if it is of a class of its own.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        prefix: str,
        title: str,
        identity: Sequence[object],
        reading: HarvestPlan,
        device: torch.device,
        on_progress: OnProgress,
        make: MakeSketch = new_sketch,
    ) -> None:
        self._artifacts, self._prefix, self.title = artifacts, prefix, title
        self._stamp = content_hash([VERSION, *identity, asdict(reading)])
        self._parts: list[str] = []
        self.tokens, self.seconds, self.sketch = 0, 0.0, make(reading, device)
        try:
            self._restore()
        except (ValueError, KeyError, EOFError, FileNotFoundError):
            self.sketch = make(reading, device)
            on_progress(f"{title}: its checkpoint is of another version or damaged: reading it all", 0, 0)

    def copied(self, tokens: int, seconds: float) -> Callable[[], None]:
        """Copy the sketch, which has these tokens, read in so many seconds. Returns what saves the copies, in any thread."""
        part = f"{self._prefix}-{uuid.uuid4().hex[:8]}.npy"
        self._parts = [*self._parts, part]
        events = self.sketch.unsaved()
        totals = {name: array.copy() for name, array in self.sketch.totals().items()}
        head = totals | {"stamp": self._stamp, "tokens": tokens, "seconds": seconds, "parts": self._parts}

        def save() -> None:
            self._artifacts.write(part, partial(_save, arrays=events))
            self._artifacts.write(self._head, partial(_save, arrays=head))

        return save

    def remove(self) -> None:
        """Remove all files of the checkpoint."""
        for name in self._artifacts.list(self._prefix):
            self._artifacts.remove(name)

    @property
    def _head(self) -> str:
        return f"{self._prefix}.npy"

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


@dataclass(frozen=True)
class BegunReading(Generic[T_co]):
    """A reading that continues from its checkpoint, and `store`, which keeps its sketch once all is read, given the seconds it took."""

    reading: Reading
    checkpoint: Checkpoint
    store: Callable[[float], T_co]


def read_pass(
    begun: Sequence[BegunReading[T_co]],
    corpus: Corpus,
    shard: Shard,
    progress: Callable[[int], None],
    stopping: Callable[[], bool] = lambda: False,
) -> list[T_co]:
    """Read a shard once for all readings, with checkpoints, and store each sketch. `progress` is called with the number of tokens done.

    Raises `Interrupted` between batches once `stopping` returns True, after a last checkpoint, and the errors of `read_shard`.
    """

    def batch_ended(done: int) -> None:
        if stopping():
            timer.write(done)
            timer.wait()
            raise Interrupted(begun[0].checkpoint.title)
        timer.batch_ended(done)
        progress(done)

    with Timer([each.checkpoint for each in begun]) as timer:
        harvest.read_shard([each.reading for each in begun], corpus, shard, batch_ended)
    stored = [each.store(timer.seconds(each.checkpoint)) for each in begun]
    for each in begun:
        each.checkpoint.remove()
    return stored


class Timer:
    """Writes the checkpoints of all readings of one pass when they are due, within a `with` block, at whose end all are written."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[float] | None = None
        self._writing_s = 0.0
        self._started = self._copied = self._batch_ended = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(wait=True)

    def seconds(self, checkpoint: Checkpoint) -> float:
        """Seconds spent on one checkpoint's reading, those of earlier processes and its share of this pass."""
        return checkpoint.seconds + (time.monotonic() - self._started) / len(self._checkpoints)

    def batch_ended(self, tokens: int) -> None:
        """Begin to write the checkpoints if another batch as long as this one would be too late. `tokens` of the reading are done."""
        now = time.monotonic()
        batch_s, self._batch_ended = now - self._batch_ended, now
        interval = min(INTERVAL_S, max(SHORTEST_S, LOST_S - 2 * self._writing_s))
        if now - self._copied + batch_s > interval:
            self.write(tokens)

    def write(self, tokens: int) -> None:
        """Begin to write the checkpoints of all readings that have no later one. Raises the errors of earlier writing."""
        for checkpoint in self._checkpoints:
            if checkpoint.tokens < tokens:
                self.wait()  # so that no more than one copy of a sketch is in memory
                save = checkpoint.copied(tokens, self.seconds(checkpoint))
                self._writing = self._thread.submit(_timed, save)
        self._copied = self._batch_ended = time.monotonic()

    def wait(self) -> None:
        """Wait until all is written that was begun. Raises the errors of writing."""
        if self._writing is not None:
            self._writing_s, self._writing = self._writing.result(), None


def _timed(save: Callable[[], None]) -> float:
    started = time.perf_counter()
    save()
    return time.perf_counter() - started


def _save(path: Path, arrays: Mapping[str, object]) -> None:
    """Write the names of the arrays and then each array, without the checksums of npz, which take as long as writing."""
    with path.open("wb") as out:
        for array in (list(arrays), *arrays.values()):
            np.save(out, np.asarray(array), allow_pickle=False)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        names = np.load(file, allow_pickle=False).tolist()
        return {name: np.load(file, allow_pickle=False) for name in names}
