"""The workers of one host as processes: one for each GPU, one for judges, one for planning and reports, and beat if wanted."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from autointerp.errors import INTERRUPTED_EXIT_CODE, AutointerpError, UsageError
from autointerp.settings import PREFIX, Settings

KINDS = ("activations", "judge", "aggregate")
"""Workers by the work they do: run models; ask judges; plan, write reports and detect dead workers."""
CELERY = ("-m", "celery", "-A", "workers.app")
COUNT_GPUS = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_S = 0.1
_PR_SET_PDEATHSIG = 1
"""Linux's number of the request, from `prctl.h`."""
Say = Callable[[str], None]


class WorkerProcess(NamedTuple):
    """A process to start: its name, the arguments of `celery -A workers.app`, and the GPU that alone is visible to it."""

    name: str
    arguments: tuple[str, ...]
    gpu: str | None = None

    def __str__(self) -> str:
        visible = "" if self.gpu is None else f"CUDA_VISIBLE_DEVICES={self.gpu} "
        return f"{visible}celery -A workers.app {' '.join(self.arguments)}"


def worker_processes(
    gpus: Sequence[str], *, kinds: Sequence[str] = KINDS, beat: Path | None = None
) -> list[WorkerProcess]:
    """The processes of a host with these GPUs; without any, one worker runs models on the CPU. `beat`: beat's schedule file."""

    def worker(name: str, *options: str, gpu: str | None = None) -> WorkerProcess:
        return WorkerProcess(name, ("worker", *options, "-n", f"{name}@%h"), gpu)

    models = ("-Q", "activations", "--pool", "solo")
    on_gpus = [worker(f"activations{gpu}", *models, gpu=gpu) for gpu in gpus]
    of_kind = {
        "activations": on_gpus or [worker("activations", *models)],
        "judge": [worker("judge", "-Q", "judge", "--pool", "threads", "-c", "64")],
        "aggregate": [worker("aggregate", "-Q", "aggregate,control", "--pool", "threads", "-c", "4")],
    }
    processes = [process for kind in KINDS if kind in kinds for process in of_kind[kind]]
    if beat is not None:
        processes.append(WorkerProcess("beat", ("beat", "--schedule", str(beat), "--pidfile=")))
    return processes


def visible_gpus() -> list[str]:
    """The GPUs that torch finds, as values of CUDA_VISIBLE_DEVICES: those named there already, or else 0, 1, ...

    They are counted in a process of their own, because torch would stay in this one's memory. Raises `UsageError` without torch.
    """
    counted = subprocess.run([sys.executable, "-c", COUNT_GPUS], capture_output=True, text=True)
    if counted.returncode:
        reason = (counted.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(f"torch cannot be imported ({reason}): run `autointerp doctor`")
    n = int(counted.stdout.split()[-1])
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(i) for i in range(n)])[:n]


def check_redis(settings: Settings) -> None:
    """Raise `UsageError` if the URL of Redis is not set, or Redis does not answer."""
    url = urlsplit(settings.broker_url)
    options = dict(
        settings.broker_tls or {}, socket_connect_timeout=5.0, socket_timeout=5.0, retry=Retry(NoBackoff(), 0)
    )
    try:
        with redis.Redis.from_url(settings.broker_url, **options) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        raise UsageError(
            f"Redis at {url.hostname}:{url.port or 6379} does not answer ({' '.join(str(error).split())}): start it, or correct"
            f" {PREFIX}BROKER"
        ) from None


def run_until_stopped(processes: Sequence[WorkerProcess], environment: Mapping[str, str], say: Say) -> int:
    """Start the processes and wait until all have ended. Returns the exit code: 0, or 130 if they were killed.

    SIGINT, SIGTERM or SIGHUP stops all after their present work; SIGINT (Ctrl-C) while they stop kills them. If a process ends
    by itself, the others are stopped too, and `AutointerpError` is raised. None is started again. On Linux they also stop, after their
    present work, if this process is killed.
    """
    failure, stopping, killed = "", False, False
    running: dict[str, subprocess.Popen[bytes]] = {}
    with _signals() as received:
        try:
            for process in processes:
                running[process.name] = _start(process, environment)
                say(f"{process.name:<14} pid {running[process.name].pid:<8} {process}")
            while running:
                time.sleep(POLL_S)
                for name, code in _ended(running):
                    if not stopping:
                        stopping = True
                        failure = f"{name} ended by itself, {_how(code)}: its last lines above say why"
                        say(
                            f"{name} has ended: stopping the others after their present work; Ctrl-C stops them at once"
                        )
                        _signal_all(running, signal.SIGTERM)
                while received:
                    number = received.pop(0)
                    if not stopping:
                        stopping = True
                        say(
                            "stopping after the present work; Ctrl-C again stops at once, and unfinished work is done again"
                        )
                        _signal_all(running, signal.SIGTERM)
                    elif number == signal.SIGINT:
                        killed = True
                        _signal_all(running, signal.SIGKILL)
        finally:
            _signal_all(running, signal.SIGKILL)
    if failure:
        raise AutointerpError(f"{failure}; all were stopped: correct it, and start them again")
    return INTERRUPTED_EXIT_CODE if killed else 0


def _start(process: WorkerProcess, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal reaches this process alone, which decides what the others get.
    visible = {} if process.gpu is None else {"CUDA_VISIBLE_DEVICES": process.gpu}
    return subprocess.Popen(
        [sys.executable, *CELERY, *process.arguments],
        env={**environment, **visible},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_ending_with(os.getpid()),
    )


def _ending_with(parent: int) -> Callable[[], None] | None:
    """For a new process: let Linux send it SIGTERM when its parent ends in any way, `kill -9` included. None on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec there is no safe place to load a library

    def set_up() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before
            os.kill(os.getpid(), signal.SIGTERM)

    return set_up


def _ended(running: dict[str, subprocess.Popen[bytes]]) -> Iterator[tuple[str, int]]:
    """Name and exit code of each process that has ended, which is removed."""
    for name, process in list(running.items()):
        if (code := process.poll()) is not None:
            del running[name]
            yield name, code


def _signal_all(running: Mapping[str, subprocess.Popen[bytes]], number: signal.Signals) -> None:
    """Signal the processes; SIGKILL also their children."""
    for process in running.values():
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Within the block, the signals that ask to stop are collected in the list, in their order."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda got, _: received.append(got)) for number in STOPPING}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"with exit code {code}"
