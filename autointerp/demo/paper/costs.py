"""The seconds that the parts of a long computation took, kept in a file: a part that is read from a cache keeps what it cost."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sae.files import write_text


class Costs:
    """Parts by name, each with `cpu_s`, user and system seconds of all threads, `wall_s`, the machine's `load` at its end (mean of 15
    minutes), and whether it is `finished`. An interrupted part goes on adding when it is continued; a finished one adds nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.parts: dict[str, dict[str, Any]] = {}
        if path.is_file():
            self.parts = json.loads(path.read_text(encoding="utf-8"))

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Within the block, the part is worked on."""
        before = self.parts.get(name, {"cpu_s": 0.0, "wall_s": 0.0, "finished": False})
        cpu, wall, finished = time.process_time(), time.monotonic(), False
        try:
            yield
            finished = True
        finally:
            if not before["finished"]:
                self.parts[name] = {
                    "cpu_s": round(before["cpu_s"] + time.process_time() - cpu, 1),
                    "wall_s": round(before["wall_s"] + time.monotonic() - wall, 1),
                    "load": round(os.getloadavg()[2], 1),
                    "finished": finished,
                }
                write_text(self._path, json.dumps(self.parts, indent=1) + "\n")
