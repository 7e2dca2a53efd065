"""Comparisons that are being computed: one process at a time, with its progress, so that pages answer meanwhile."""

from __future__ import annotations

import atexit
import json
import subprocess
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Literal

from autointerp.explorer import worker_process

_MOST_WAITING = 8
_LONGEST_ERROR = 400
_WORK = "autointerp.explorer.comparison.compute"
Key = tuple[Path, Path]


@dataclass(frozen=True)
class Job:
    """A comparison that is asked for: what it is doing, how much of it is done, or why it failed."""

    state: Literal["waiting", "running", "failed"] = "waiting"
    phase: str = ""
    done: int = 0
    total: int = 0
    error: str = ""


class Jobs:
    """Comparisons by the folders of their indexes. A finished one is forgotten: its files are the result. Threads may share it."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Key, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._working = False
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.stop)

    def of(self, key: Key) -> Job | None:
        """The job of a comparison; None if none was asked for, or if it is finished."""
        with self._lock:
            return self._jobs.get(key)

    def ask(self, key: Key) -> bool:
        """Compute a comparison, unless it is waiting or running. False if too many wait."""
        with self._lock:
            known = self._jobs.get(key)
            if known and known.state != "failed":
                return True
            if sum(job.state == "waiting" for job in self._jobs.values()) >= _MOST_WAITING:
                return False
            self._jobs[key] = Job()
            self._jobs.move_to_end(key)
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, name="compares indexes", daemon=True).start()
            return True

    def stop(self) -> None:
        """End the process that is computing, if there is one."""
        process = self._process
        if process is not None:
            process.kill()

    def _work(self) -> None:
        while True:
            with self._lock:
                waiting = [key for key, job in self._jobs.items() if job.state == "waiting"]
                if not waiting:
                    self._working = False
                    return
                key = waiting[0]
                self._jobs[key] = Job("running", "starting")
            try:
                error = self._compute(key)
            except Exception as failure:  # such as a system without memory for a process
                error = f"the comparison could not be computed: {failure}"
            with self._lock:
                if error:
                    self._jobs[key] = Job("failed", error=error[:_LONGEST_ERROR])
                else:
                    del self._jobs[key]

    def _compute(self, key: Key) -> str:
        """Compute a comparison in a process. Returns the error, or an empty text."""
        error = ""
        with TemporaryFile() as complaints:
            with _process(key, complaints) as process:
                self._process = process
                assert process.stdout is not None
                for line in process.stdout:
                    found = json.loads(line)
                    error = found.get("error", "")
                    if not error:
                        with self._lock:
                            self._jobs[key] = replace(self._jobs[key], **found)
                code = process.wait()
            self._process = None
            if code and not error:
                error = f"the comparison stopped: {worker_process.ending(code, complaints)}"
        return error


@contextmanager
def _process(key: Key, complaints: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """A process that compares two indexes, and is ended with the block."""
    with worker_process.started(_WORK, *map(str, key), complaints=complaints) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
