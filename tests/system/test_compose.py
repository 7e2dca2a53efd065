"""docker-compose.yml, Dockerfile and .env.example fit each other and the program; no engine is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.services.compose_file import FILE, commands_of, load
from support.services.servers import free_port

from autointerp.monitoring.worker_processes import worker_processes

ROOT = FILE.parent
FILLED = {"REDIS_PASSWORD": "one", "POSTGRES_PASSWORD": "two", "FLOWER_BASIC_AUTH": "three:four"}
SERVICES = load(FILLED)["services"]


def test_the_compose_file_has_every_part_of_the_service() -> None:
    assert set(SERVICES) == {
        "redis",
        "postgres",
        "migrate",
        "gpu-worker",
        "gpu-ids-worker",
        "cpu-worker",
        "judge-worker",
        "aggregate-worker",
        "beat",
        "flower",
        "metrics",
        "results",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_pinned_unprivileged_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", service["image"]), "a tag with a version"
    user = service["user"].partition(":")[0]
    assert user.isdigit()
    assert user != "0"
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    if name == "migrate":
        assert service["restart"] == "no"
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]
        assert service["stop_grace_period"]
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_databases_have_no_published_ports() -> None:
    assert load(FILLED)["networks"]["inside"]["internal"] is True
    for name in ("redis", "postgres"):
        assert SERVICES[name]["networks"] == ["inside"]
        assert "ports" not in SERVICES[name]


@pytest.mark.parametrize("missing", FILLED)
def test_no_service_starts_without_its_passwords(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        load({name: value for name, value in FILLED.items() if name != missing})


def test_the_compose_file_contains_no_secret() -> None:
    other = load({"REDIS_PASSWORD": "r3", "POSTGRES_PASSWORD": "p3", "FLOWER_BASIC_AUTH": "f:3"})["services"]
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|AUTH$|KEY|TOKEN|BROKER|LEDGER", variable):
                assert value == "" or value != other[name]["environment"][variable], f"{name}: {variable} is literal"
    assert not re.search(r"one|two|three", json.dumps([s.get("command") for s in SERVICES.values()]))


def test_every_variable_is_in_the_example_and_the_other_way_round() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", FILE.read_text()))
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used == set(example)
    assert {name for name, value in example.items() if value} == {"RESULTS", "INPUTS"}


def test_each_setting_that_is_given_exists() -> None:
    from autointerp.settings import Settings

    known = {f"AUTOINTERP_{name.upper()}" for name in Settings.model_fields} | {"AUTOINTERP_CACHE"}
    for command in commands_of(FILLED).values():
        assert {name for name in command.environment if name.startswith("AUTOINTERP_")} <= known
        url = command.environment["AUTOINTERP_BROKER"]
        assert Settings(broker=url).broker_url == "redis://:one@redis:6379/0"  # type: ignore[arg-type]


def own_modules(words: list[str]) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-A", "-m") and "." in words[i + 1]]


@pytest.mark.parametrize("name", commands_of(FILLED))
def test_the_command_of_each_service_exists(name: str) -> None:
    words = commands_of(FILLED)[name].words
    assert (Path(sys.executable).parent / words[0]).exists()
    for module in own_modules(words):
        assert importlib.util.find_spec(module) is not None
    if words[0] == "autointerp":
        from autointerp.cli.main import main

        assert CliRunner().invoke(main, [*words[1:], "--help"]).exit_code == 0
    if "worker" in words:
        assert set(words[words.index("-Q") + 1].split(",")) <= {"activations", "judge", "aggregate", "control"}


def test_every_queue_is_served_once_in_each_profile() -> None:
    served: dict[str, list[str]] = {}
    for name, command in commands_of(FILLED).items():
        kinds = command.words[3:] if command.words[:3] == ["autointerp", "workers", "start"] else []
        started = [process.arguments for process in worker_processes([], kinds=kinds)]
        for words in [command.words, *started]:
            if "worker" in words:
                for queue in words[words.index("-Q") + 1].split(","):
                    served.setdefault(queue, []).append(name)
    assert served == {
        "activations": ["gpu-worker", "gpu-ids-worker", "cpu-worker"],
        "judge": ["judge-worker"],
        "aggregate": ["aggregate-worker"],
        "control": ["aggregate-worker"],
    }
    for profile in ("gpu", "gpu-ids", "cpu"):
        assert SERVICES[f"{profile}-worker"]["profiles"] == [profile]


@pytest.mark.parametrize(
    ("variables", "count", "ids"),
    [
        ({}, "1", "0"),
        ({"GPU_COUNT": "4", "GPU_IDS": "1,3"}, "4", "1,3"),
        ({"GPU_COUNT": "all", "GPU_IDS": "GPU-5a"}, "all", "GPU-5a"),
    ],
)
def test_gpus_are_reserved_by_number_or_by_id(variables: dict[str, str], count: str, ids: str) -> None:
    services = load(FILLED | variables)["services"]

    def reserved(name: str) -> dict[str, Any]:
        [device] = services[name]["deploy"]["resources"]["reservations"]["devices"]
        return {key: value for key, value in device.items() if key not in ("driver", "capabilities")}

    assert reserved("gpu-worker") == {"count": count}
    assert reserved("gpu-ids-worker") == {"device_ids": [ids]}, "Docker takes a count or ids, not both"
    for name in ("gpu-worker", "gpu-ids-worker"):
        assert services[name]["command"] == "autointerp workers start activations"
    assert [name for name, service in services.items() if "deploy" in service] == ["gpu-worker", "gpu-ids-worker"]


def test_redis_starts_as_its_command_says(tmp_path: Path) -> None:
    """The very words, but for port and folder."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    shell, flag, script = SERVICES["redis"]["command"]
    port = free_port()
    script = script.replace("--dir /data", f"--dir {tmp_path} --port {port} --bind 127.0.0.1")
    with subprocess.Popen([shell, flag, script], env=os.environ | {"REDIS_PASSWORD": "secret"}) as process:
        try:
            client = redis.Redis(host="127.0.0.1", port=port, password="secret")
            deadline = time.monotonic() + 30
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
            assert {name: client.config_get(name)[name] for name in wanted} == wanted
            assert "secret" not in Path(f"/proc/{process.pid}/cmdline").read_text()
            client.close()
            with (
                redis.Redis(host="127.0.0.1", port=port, retry=Retry(NoBackoff(), 0)) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
        finally:
            process.terminate()


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    programs: list[list[str]] = [["docker", "compose"], ["docker-compose"]]
    works = [
        p
        for p in programs
        if shutil.which(p[0]) and not subprocess.run([*p, "version"], capture_output=True).returncode
    ]
    if not works:
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in FILLED.items()))
    command = [*works[0], "--env-file", str(tmp_path / ".env"), "-f", str(FILE), "config", "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def dockerfile() -> list[str]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_is_pinned_unprivileged_and_keeps_packages_when_source_changes() -> None:
    lines = dockerfile()
    bases = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
    assert 'ENTRYPOINT ["tini", "--"]' in lines
    installs = [n for n, line in enumerate(lines) if "pip install" in line]
    sources = [n for n, line in enumerate(lines) if re.match(r"COPY (autointerp|sae|workers)\b", line)]
    assert max(installs[:2]) < min(sources) < installs[2]
    assert "--no-deps" in lines[installs[2]]


def test_everything_the_image_copies_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in dockerfile() if re.match(r"COPY (?!--)", line) for word in line.split()[1:-1]}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_packages_of_the_image_are_read_from_the_project() -> None:
    (code,) = re.findall(r"python -c '([^']+)'", (ROOT / "Dockerfile").read_text())
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) < set(said.splitlines())
    assert any(line.startswith("flower") for line in said.splitlines())
