"""Forks Celery processes from one that has imported everything, so that a killed worker is back at once.

Each is a real process with a log, a process group and, if wanted, a wall clock of its own: `Clock.jump` moves the time that it
reads, and only that; its monotonic clock goes on, as on a machine whose clock is set.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from support.locations import ROOT, TESTS

SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static int64_t none;
static volatile int64_t *ahead = &none;
void follow(const char *path) {
    int file = open(path, O_RDONLY);
    ahead = mmap(0, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    close(file);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *ahead;
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""
"""libfaketime 0.9.10 lets `time.sleep` fail where the monotonic clock is left alone, so the few lines are our own."""


PRELOADED = (
    *(
        "anthropic",
        "pandas",
        "psycopg",
        "scipy.stats",
        "structlog",
        "torch",
        "transformers.models.llama.modeling_llama",
    ),
    *("celery.apps.beat", "celery.apps.worker", "celery.bin.celery", "celery.concurrency.prefork"),
    *("celery.concurrency.solo", "celery.concurrency.thread", "celery.worker.consumer", "kombu.transport.redis"),
    *("autointerp.calls.batch_results", "autointerp.calls.caller", "autointerp.harvest.merge"),
    *("autointerp.harvest.shards", "autointerp.judges.providers.anthropic", "autointerp.judges.limits.redis_limiter"),
    *("autointerp.nightly.night", "autointerp.nightly.night_summary", "autointerp.nightly.runners"),
    *("autointerp.pipeline.finish", "autointerp.pipeline.submit", "autointerp.questions.handlers"),
    *("autointerp.questions.subject_tasks", "sae.harvest.exemplars", "sae.harvest.harvest"),
)
"""What workers import, except `workers` itself: it reads settings, and its processes share memory from its import on."""


class Clock:
    """A host's wall clock: so many seconds ahead of the true one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)

    def set(self, seconds: int) -> None:
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))


def clock_library(folder: Path) -> Path | None:
    """A library to preload, whose `follow` takes a clock's path; None without a C compiler."""
    compiler, library = shutil.which("cc"), folder / "clock.so"
    if compiler is None:
        return None
    command = [compiler, "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=SHIM.encode(), check=True, capture_output=True)
    return library


class ForkServer:
    """The process that forks; `close` ends it and all that it forked."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fork-server-")
        library = clock_library(Path(self._folder.name))
        paths = os.pathsep.join((str(TESTS), str(ROOT)))
        given = dict(environment) | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        if library:
            given["LD_PRELOAD"] = given["FORK_SERVER_CLOCK"] = str(library)
        self.has_clocks = library is not None
        command = [sys.executable, __file__]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=given, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self._ask("ready")

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, clock: Clock | None = None
    ) -> ForkedProcess:
        """Start `celery ARGUMENTS`."""
        where = str(clock.path) if clock and self.has_clocks else None
        return ForkedProcess(self, self._ask("start", list(arguments), dict(environment), str(log), where))

    def poll(self, pid: int) -> int | None:
        """Exit status of a forked process as `Popen.poll` gives it."""
        return self._ask("poll", pid)  # type: ignore[no-any-return]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()  # type: ignore[union-attr]
        self._folder.cleanup()

    def _ask(self, *words: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@cache
def shared_server() -> ForkServer:
    """One for all tests of this process; what one of them set for its service stays with that."""
    made = ForkServer({name: value for name, value in os.environ.items() if not name.startswith("AUTOINTERP_")})
    atexit.register(made.close)
    return made


class ForkedProcess:
    """A forked process, as far as it is like a `Popen`."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server, self.pid = server, pid

    def poll(self) -> int | None:
        return self._server.poll(self.pid)


def main() -> None:
    """Serve requests, a JSON array a line, until the asker is gone."""
    for name in PRELOADED:
        importlib.import_module(name)
    ended: dict[int, int] = {}
    alive: set[int] = set()
    answers = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        what, *given = json.loads(line)
        answer: Any = None
        if what == "start":
            answer = os.fork()
            if not answer:
                answers.close()
                _become(*given)
            alive.add(answer)
        elif what == "poll":
            [pid] = given
            if pid in alive:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    alive.discard(pid)
                    ended[pid] = os.waitstatus_to_exitcode(status)
            answer = ended.get(pid)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    for pid in alive:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _become(arguments: list[str], environment: dict[str, str], log: str, clock: str | None) -> None:
    from celery.bin.celery import main as celery_main

    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it does not outlive the fork server
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environment)
    if clock:
        ctypes.CDLL(os.environ["FORK_SERVER_CLOCK"]).follow(clock.encode())
    sys.argv = ["celery", *arguments]
    try:
        celery_main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    else:
        code = 0
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
