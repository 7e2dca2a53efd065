"""Which processes `autointerp workers start` starts, and what it says is missing before it starts any."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.services.compose_file import commands_of
from support.services.servers import RedisServer, free_port

from autointerp.cli.main import main
from autointerp.errors import UsageError
from autointerp.monitoring.worker_processes import check_redis, visible_gpus, worker_processes
from autointerp.settings import Settings

STARTS_SLEEPERS = """
import os
from autointerp.monitoring import worker_processes
worker_processes.CELERY = ("-c", "import time; time.sleep(600)")
sleepers = [worker_processes.WorkerProcess(name, ()) for name in ("first", "second")]
worker_processes.run_until_stopped(sleepers, os.environ, lambda line: print(line, flush=True))
"""
FILLED = {"REDIS_PASSWORD": "one", "POSTGRES_PASSWORD": "two", "FLOWER_BASIC_AUTH": "three:four"}


def test_the_workers_of_a_host_without_gpus_are_those_of_the_compose_file() -> None:
    composed = {name: " ".join(command.words) for name, command in commands_of(FILLED).items()}
    expected = [composed[name] for name in ("cpu-worker", "judge-worker", "aggregate-worker", "beat")]
    started = worker_processes([], beat=Path("/var/lib/autointerp/beat"))
    assert [str(process) for process in started] == expected
    assert len(worker_processes([])) == 3


def test_each_gpu_gets_one_activations_worker_with_a_name_of_its_own_that_sees_no_other_gpu() -> None:
    started = [process for process in worker_processes(["2", "GPU-5a"]) if "activations" in process.arguments]
    assert [(process.name, process.gpu) for process in started] == [
        ("activations2", "2"),
        ("activationsGPU-5a", "GPU-5a"),
    ]
    assert str(started[0]).startswith("CUDA_VISIBLE_DEVICES=2 celery -A workers.app worker -Q activations --pool solo")
    assert [process.arguments[-1] for process in started] == ["activations2@%h", "activationsGPU-5a@%h"]


@pytest.mark.parametrize(
    ("torch", "visible", "expected"),
    [
        (0, None, []),
        (2, None, ["0", "1"]),
        (2, "3,GPU-5a", ["3", "GPU-5a"]),
        (1, "3,9", ["3"]),  # torch stops at the first GPU that does not exist
        (0, "", []),
    ],
)
def test_the_gpus_are_those_that_torch_sees_under_the_names_it_was_given(
    torch: int, visible: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(
        f"class cuda:\n    is_available = staticmethod(lambda: {torch > 0})\n    device_count = staticmethod(lambda: {torch})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == expected


def test_a_torch_that_cannot_be_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so is missing')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"torch cannot be imported \(ImportError: libcudart.so is missing\)"):
        visible_gpus()


def test_a_redis_that_answers_passes_and_one_with_another_password_is_named(redis_service: RedisServer) -> None:
    check_redis(Settings(broker=redis_service.url))  # type: ignore[arg-type]
    wrong = redis_service.url.replace("redis://", "redis://:not-this-one@")
    with pytest.raises(UsageError, match=f"Redis at 127.0.0.1:{redis_service.port} does not answer") as caught:
        check_redis(Settings(broker=wrong))  # type: ignore[arg-type]
    assert "not-this-one" not in str(caught.value)


@pytest.mark.parametrize(
    ("broker", "ledger", "missing"),
    [
        (None, None, "AUTOINTERP_BROKER is not set"),
        ("redis://127.0.0.1:PORT/0", None, "does not answer"),
        ("up", "postgresql+psycopg://me:secret@127.0.0.1:PORT/x", "ledger postgresql+psycopg://me:***@"),
        (
            "up",
            "sqlite:////proc/nowhere/ledger.sqlite",
            "ledger sqlite:////proc/nowhere/ledger.sqlite cannot be opened",
        ),
    ],
)
def test_what_is_missing_is_one_line_before_anything_starts(
    broker: str | None,
    ledger: str | None,
    missing: str,
    redis_service: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("BROKER", redis_service.url if broker == "up" else broker), ("LEDGER", ledger)):
        if value is not None:
            monkeypatch.setenv(f"AUTOINTERP_{name}", value.replace("PORT", str(free_port())))
    result = CliRunner().invoke(main, ["workers", "start", "--beat"])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert missing in line
    assert "secret" not in line
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--all", "--results=elsewhere"])
def test_an_option_before_start_is_refused_and_not_ignored(option: str) -> None:
    result = CliRunner().invoke(main, ["workers", option, "start"])
    assert result.exit_code == 2
    assert "options of `start` are written after it" in result.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems tell no process of its parent's end")
def test_workers_end_with_a_command_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS_SLEEPERS], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        pids = [int(command.stdout.readline().split()[2]) for _ in range(2)]
        assert all(map(is_running, pids))
        command.kill()
    deadline = time.monotonic() + 30.0
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "they outlive the command"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
