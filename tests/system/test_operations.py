"""docs/operations.md names the settings, metrics and commands that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from support.locations import ROOT
from support.services.compose_file import commands_of, load
from support.services.servers import RedisServer

from autointerp.settings import PREFIX, Settings
from workers.prometheus import ServiceCollector

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
FILLED = {"REDIS_PASSWORD": "one", "POSTGRES_PASSWORD": "two", "FLOWER_BASIC_AUTH": "three:four"}


def test_the_table_of_settings_is_complete() -> None:
    rows = re.findall(r"^\| `AUTOINTERP_(\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [name.upper() for name in Settings.model_fields]
    assert set(re.findall(rf"{PREFIX}(\w+)", PAGE)) == {*rows, "LEDGER_FILE", "BROKER_FILE"}


@pytest.fixture
def metrics(redis_service: RedisServer, tmp_path: Path) -> list[Metric]:
    collector = ServiceCollector(Settings(results=tmp_path, broker=redis_service.url))  # type: ignore[arg-type]
    found = list(collector.collect())
    assert collector._ledger is not None
    collector._ledger.close()
    return found


def test_alerts_name_metrics_that_exist_and_all_metrics_are_named(metrics: list[Metric]) -> None:
    names = {metric.name + ("_total" if metric.type == "counter" else "") for metric in metrics}
    assert set(re.findall(r"\bautointerp_[a-z_]+", PAGE)) == names


def test_alerts_use_labels_that_exist(metrics: list[Metric]) -> None:
    labels = {metric.name: set(getattr(metric, "_labelnames", ())) for metric in metrics}
    for name, given in re.findall(r"\b(autointerp_[a-z_]+)\{([^}]*)\}", PAGE):
        assert set(re.findall(r"(\w+)=", given)) <= labels[name], name


def test_workers_start_with_the_commands_of_the_containers() -> None:
    told = set(re.findall(r"^celery -A workers\.app worker .+$", PAGE, re.MULTILINE))
    assert told == {" ".join(command.words) for command in commands_of(FILLED).values() if "worker" in command.words}


def test_metrics_pages_listen_on_the_documented_ports() -> None:
    ports = {
        port.rpartition(":")[0] for service in load(FILLED)["services"].values() for port in service.get("ports", [])
    }
    assert ports == set(re.findall(r"http://(127\.0\.0\.1:\d+)", PAGE))
