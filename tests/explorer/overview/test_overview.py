"""The state of runs as the pages show it: stages, cost, commands, workers, nights and the month."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from support import explorer_calls
from support.explorer_calls import RUN
from support.results import labels as labelled

from autointerp.errors import UsageError
from autointerp.explorer.overview import service
from autointerp.explorer.overview.kept import Kept
from autointerp.explorer.overview.one_run import RunStates
from autointerp.ledger import events, nights, runs, workers
from autointerp.ledger.database import Ledger
from autointerp.ledger.nights import DictionaryVersion
from autointerp.ledger.schema import budgets, jobs

N = 30
KEY = "sk-ant-api03-abcdefghijklmnop"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.in_folder(tmp_path)
    yield opened
    opened.close()


def commands(states: RunStates) -> list[str]:
    return [each["command"].split(" --results")[0] for each in states.of(RUN)["commands"]]


def test_a_running_run_shows_its_stages_and_what_is_left(ledger: Ledger, tmp_path: Path) -> None:
    explorer_calls.make(ledger, N, state="running")
    explorer_calls.add_pending(ledger, 10)
    states = RunStates(tmp_path, lambda: ledger)
    state = states.of(RUN)
    assert state["live"]
    stages = {stage["name"]: stage for stage in state["stages"]}
    assert list(stages) == ["explain", "score"]
    assert (stages["score"]["done"], stages["score"]["pending"]) == (N, 10)
    assert stages["score"]["in_words"].startswith("30 of 40 jobs done, 10 pending")
    explorer_calls.finish_one(ledger)
    assert {stage["name"]: stage for stage in states.of(RUN)["stages"]}["score"]["pending"] == 9
    assert commands(states) == [f"autointerp status {RUN} --watch"]


def test_cost_is_shown_beside_budget_and_forecast(ledger: Ledger, tmp_path: Path) -> None:
    explorer_calls.make(ledger, N)
    state = RunStates(tmp_path, lambda: ledger).of(RUN)
    assert state["cost"]["spent_usd"] == pytest.approx(N * 0.0005)
    assert state["cost"]["budget_usd"] == 5.0
    assert state["cost"]["forecast_usd"] > 0
    [usage] = state["usage"]
    assert (usage["kind"], usage["calls"], usage["cache_read_tokens"]) == ("grade", N, 1_800 * N)
    assert state["unscored"] == sorted(state["unscored"], key=lambda each: -each["n"])
    assert sum(each["n"] for each in state["unscored"]) == N // 5
    assert {each["model"] for each in state["judges"]} == {"anthropic/claude-haiku-4-5"}


@pytest.mark.parametrize(
    ("state", "carrier", "expected"),
    [
        ("running", "fleet", [f"status {RUN} --watch", f"cancel {RUN}"]),
        ("stopped", "fleet", [f"resume {RUN}", f"retry --failed {RUN}"]),
        ("stopped", "local", [f"resume {RUN}", "run SPEC.toml", f"retry --failed {RUN}"]),
        ("done", "local", [f"retry --failed {RUN}"]),
    ],
)
def test_the_commands_fit_the_state(
    ledger: Ledger, tmp_path: Path, state: str, carrier: str, expected: list[str]
) -> None:
    explorer_calls.make(ledger, N, state=state)
    with ledger.write() as tx:
        tx.execute(sa.update(runs.runs).values(carrier=carrier))
    assert commands(RunStates(tmp_path, lambda: ledger)) == [f"autointerp {each}" for each in expected]


def test_errors_and_events_hold_no_keys(ledger: Ledger, tmp_path: Path) -> None:
    [key, *_] = explorer_calls.make(ledger, N, state="running")
    with ledger.write() as tx:
        runs.set_state(tx, RUN, "stopped", f"401 with {KEY}")
        tx.execute(sa.update(jobs).where(jobs.c.job_key == key).values(state="failed", last_error=f"refused {KEY}"))
        events.add(tx, RUN, f"stopped: {KEY}", level="error")
    states = RunStates(tmp_path, lambda: ledger)
    shown = json.dumps([states.of(RUN), states.events(RUN, 0)])
    assert "401 with" in shown
    assert KEY not in shown


def test_events_come_after_those_that_are_known(ledger: Ledger, tmp_path: Path) -> None:
    explorer_calls.make(ledger, N)
    states = RunStates(tmp_path, lambda: ledger)
    [first] = states.events(RUN, 0)
    assert states.events(RUN, first["event_id"]) == []
    with ledger.write() as tx:
        events.add(tx, RUN, "done")
    assert [each["text"] for each in states.events(RUN, first["event_id"])] == ["done"]


def test_a_run_without_a_ledger_is_known_by_its_summary(tmp_path: Path) -> None:
    labelled.make(tmp_path).close()
    state = RunStates(tmp_path, lambda: None).of(labelled.RUN)
    assert state["state"] == "done"
    assert state["verdict"]["sentence"]
    assert state["verdict"]["trust"]["label"]
    assert "ledger does not know" in state["missing"]
    assert "summary.json" in [each["name"] for each in state["files"]]
    with pytest.raises(UsageError, match="no run nowhere"):
        RunStates(tmp_path, lambda: None).of("nowhere")


def test_workers_are_those_with_a_recent_heartbeat(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as tx:
        for name in ("alive", "silent", "gone"):
            workers.register(tx, name, queues="judge", version="1")
        tx.execute(
            sa.update(workers.workers).where(workers.workers.c.worker_id == "silent").values(beat_at=time.time() - 600)
        )
        workers.mark_dead(tx, "gone")
    assert [each["worker_id"] for each in service.read(ledger, tmp_path)["workers"]] == ["alive"]


def test_the_month_is_that_of_its_budget_or_of_its_runs(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer_calls.make(ledger, N)
    month = time.strftime("%Y-%m", time.gmtime())
    assert service.read(ledger, tmp_path)["month"] == {
        "month": month,
        "usd": pytest.approx(N * 0.0005),
        "limit_usd": None,
    }
    with ledger.write() as tx:
        tx.execute(
            sa.insert(budgets), [{"scope": f"month {month}", "spent_usd": 2.0, "reserved_usd": 0.5, "lost_usd": 0.0}]
        )
    monkeypatch.setenv("AUTOINTERP_MONTH_USD", "40")
    assert service.read(ledger, tmp_path)["month"] == {"month": month, "usd": 2.5, "limit_usd": 40.0}


def test_a_night_shows_what_it_does_and_what_waits(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.read(ledger, tmp_path)["night"] is None
    with ledger.write() as tx:
        nights.begin(tx, "2026-11-29", 10.0)
        for name, state in (("a", nights.QUEUED), ("b", nights.WAITING)):
            version = DictionaryVersion(
                name, name, name, f"sparse/{name}", state, night="2026-11-29" if state == nights.QUEUED else ""
            )
            nights.add(tx, version)
    night = service.read(ledger, tmp_path)["night"]
    assert (night["running"]["date"], night["running"]["usd"], night["running"]["n_queued"]) == ("2026-11-29", 10.0, 1)
    assert [each["path"] for each in night["waiting"]] == ["sparse/b"]
    (tmp_path / "night.toml").write_text("[night]\nstart = '25:00'")
    monkeypatch.setenv("AUTOINTERP_NIGHTLY", str(tmp_path / "night.toml"))
    night = service.read(ledger, tmp_path)["night"]
    assert night["plan"] is None
    assert "night.toml" in night["problem"]
    (tmp_path / "night.toml").write_text("[night]\nstart = '02:30'\nusd = 4.0")
    assert service.read(ledger, tmp_path)["night"]["plan"] == {
        "start": "02:30",
        "deadline": None,
        "usd": 4.0,
        "order": "change",
    }


def test_a_slow_value_is_kept_for_ten_times_as_long_as_it_took() -> None:
    now, reads = [0.0], []

    def read() -> int:
        now[0] += 2.0  # the value takes two seconds
        reads.append(now[0])
        return len(reads)

    kept = Kept(clock=lambda: now[0])
    assert kept.get("a", read) == 1
    now[0] += 19.0
    assert kept.get("a", read) == 1
    now[0] += 2.0
    assert kept.get("a", read) == 2
    assert kept.get("a", read, stamp="other") == 3
    now[0] += 1e6
    assert kept.get("a", read, stamp="other") == 3  # a stamp says by itself whether the value is still true
