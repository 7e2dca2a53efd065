"""The service's commands: what they say of the ledger, what they change there, and how they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from support.locations import ROOT
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer
from support.services.servers import PostgresServer, free_port, postgres_server

from autointerp.cli.ledger_location import LedgerLocation
from autointerp.cli.main import main
from autointerp.costs import bounds
from autointerp.ledger import calls, events, jobs, judgements, runs, workers
from autointerp.ledger.database import Ledger, schema_of
from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import calls as calls_
from autointerp.ledger.schema import jobs as jobs_
from autointerp.ledger.schema import workers as workers_
from autointerp.messages import MarkedText, Prompt, ScoreMaterial
from autointerp.monitoring.run_status import short_duration
from autointerp.monitoring.run_watch import RateMeter
from autointerp.questions import planned_jobs
from autointerp.records import Arm, ExplanationKey, Judgement, Outcome

FEW = {"feature_ids": list(range(4)), "neuron_ids": [f"{i}+" for i in range(4)]}
Command = Callable[..., Result]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=80)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line over an empty results folder, with a Redis that is down."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOINTERP_BROKER", f"redis://127.0.0.1:{free_port()}/0")
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that the command line finds, of either kind."""
    url = f"sqlite:///{tmp_path / 'results' / 'ledger.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_service").ledger()
        monkeypatch.setenv("AUTOINTERP_LEDGER", url)
    opened = Ledger.open(url)
    yield opened
    opened.close()


def a_run(
    ledger: Ledger,
    run_id: str = "planted-1",
    *,
    state: str = "running",
    reason: str = "",
    exit_code: int = 0,
    spec: str = "",
) -> str:
    with ledger.write() as tx:
        runs.register(
            tx, run_id=run_id, name="planted", spec_hash="", spec=spec or "name = 'old'", carrier="fleet", night="2026-11-21"
        )  # fmt: skip
        runs.set_state(tx, run_id, state, reason, exit_code)
    return run_id


def an_answer(ledger: Ledger, run_id: str, number: int, *, ago_s: float) -> None:
    """A call that began and was answered `ago_s` seconds ago."""
    prompt = Prompt("system", "user", {}, 16, ScoreMaterial("cats", MarkedText(("cat",), 0)))
    opening = calls.NewCall(run_id, f"job-{number}", f"key-{number}", "anthropic/x", 0.0)
    with ledger.write() as tx:
        call_id = calls.begin(tx, opening, prompt)
        values = {"state": calls.SCORED, "started_at": time.time() - ago_s}
        tx.execute(sa.update(calls_).where(calls_.c.call_id == call_id).values(**values))


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_submit_queues_each_spec_once_and_skips_invalid_ones(
    world: planted.World, command: Command, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(world.spec(units=FEW).model_copy(update={"name": name}).to_toml())
    (tmp_path / "wrong.toml").write_text("name = 'wrong'\nunknown = 1\n")
    planned = lines(command("submit", "a.toml", "--dry-run", "--quiet"))
    assert not (tmp_path / "results").exists()

    said = command("submit", "a.toml", "wrong.toml", "gone.toml", "b.toml", "a.toml", "--quiet")
    assert said.exit_code == 2
    assert [line.split()[1] for line in said.stdout.splitlines()] == ["new", "new", "queued"]
    assert planned == [said.stdout.split()[0]]
    wrong = said.stderr.splitlines()
    assert [line.split(": ")[:3] for line in wrong] == [
        ["autointerp", "wrong.toml", "not submitted"],
        ["autointerp", "gone.toml", "not submitted"],
    ]
    with Ledger.in_folder(tmp_path / "results").read() as tx:
        assert {row["name"]: (row["state"], row["carrier"]) for row in runs.all_runs(tx)} == {
            "a": ("queued", "fleet"), "b": ("queued", "fleet"),
        }  # fmt: skip
    assert "no worker is running" in command("submit", "a.toml").stderr


def test_cancel_and_resume_change_the_state_of_a_run(
    world: planted.World, command: Command, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text(world.spec(units=FEW).to_toml())
    run_id = lines(command("submit", "a.toml", "--quiet"))[0].split()[0]
    said = command("cancel", "nobody", run_id)
    assert (said.exit_code, said.stdout) == (2, f"{run_id}  cancelled\n")
    assert said.stderr.startswith("autointerp: no run nobody in the ledger")
    assert len(said.stderr.splitlines()) == 1
    assert command("cancel", run_id).exit_code == 2
    assert lines(command("resume", run_id)) == [f"{run_id}  resumed"]
    assert command("resume", run_id).exit_code == 2
    assert lines(command("submit", "a.toml", "--quiet")) == [f"{run_id}  queued"]
    told = lines(command("logs", run_id))
    assert [line.split("  ")[-1].strip() for line in told] == ["submitted", "cancelled by hand", "resumed"]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (info|warning) ", line) for line in told)
    with ledger.write() as tx:
        runs.set_state(tx, run_id, "done")
    assert lines(command("submit", "a.toml", "--quiet")) == [f"{run_id}  done"]
    assert "retry --failed" in command("resume", run_id).stderr


def test_retry_requires_failed_and_queues_failed_questions(command: Command, ledger: Ledger) -> None:
    run_id = a_run(ledger, state="withheld")
    with ledger.write() as tx:
        planned = [Job(f"job-{n}", "score", "feature-1", f"e-{n}", "main", 0, "feature-1", n) for n in range(3)]
        jobs.plan(tx, run_id, [*planned, planned_jobs.stage_job("merge"), planned_jobs.stage_job("finish")])
        tx.execute(sa.update(jobs_).values(state="done"))
        for job, outcome in zip(planned, (Outcome.SCORED, Outcome.REFUSAL, Outcome.PROVIDER_ERROR), strict=True):
            judgement = Judgement(job.exemplar_id, "feature-1", Arm.MAIN, 0, outcome, None, "", None)
            judgements.add_judgement(tx, run_id, job.job_key, ExplanationKey("feature-1"), judgement)
    assert command("retry", run_id).exit_code == 2
    assert lines(command("retry", "--failed", run_id)) == [f"{run_id}  1 failed jobs queued"]
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
        assert row is not None
        assert row["state"] == "queued"
        assert jobs.counts(tx, run_id)["score"] == {"done": 2, "pending": 1}
    assert "wait until it ends" in command("retry", "--failed", run_id).stderr
    with ledger.write() as tx:
        runs.set_state(tx, run_id, "cancelled")
        jobs.finish(tx, run_id, "job-2")
    assert lines(command("retry", "--failed", run_id)) == [f"{run_id}  nothing failed"]


def test_status_shows_the_progress_of_a_run(
    world: planted.World, command: Command, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = world.spec(units=FEW, judge={"model": "openai-compatible/qwen", "base_url": "http://127.0.0.1:1/v1"})
    run_id = a_run(ledger, spec=spec.to_toml())
    states = ["done"] * 10 + ["pending"] * 5 + ["leased"] * 2 + ["waiting"] * 2 + ["batched"] + ["failed"]
    with ledger.write() as tx:
        jobs.plan(tx, run_id, [Job(f"job-{n}", "score", f"feature-{n}", place=n) for n in range(len(states))])
        for n, state in enumerate(states):
            values = {
                "state": state,
                "not_before": time.time() + 10 * n,
                "last_error": "boom" if state == "failed" else "",
            }
            tx.execute(sa.update(jobs_).where(jobs_.c.job_key == f"job-{n}").values(**values))
        jobs.plan(tx, run_id, [planned_jobs.stage_job("prepare")])
        jobs.finish(tx, run_id, planned_jobs.stage_job("prepare").job_key)
        for n, outcome in enumerate([Outcome.SCORED, Outcome.REFUSAL, Outcome.REFUSAL, Outcome.GAVE_UP]):
            judgement = Judgement(f"e-{n}", f"feature-{n}", Arm.MAIN, 0, outcome, None, "", None)
            judgements.add_judgement(tx, run_id, f"job-{n}", ExplanationKey(f"feature-{n}"), judgement)
    for n in range(10):
        an_answer(ledger, run_id, n, ago_s=20.0 - n)
    monkeypatch.setenv("AUTOINTERP_MONTH_USD", "70")

    said = json.loads("\n".join(lines(command("status", run_id, "--json"))))
    score = said["stages"]["score"]
    assert [score[state] for state in ("jobs", "done", "pending", "leased", "waiting", "batched", "failed")] == [
        21, 10, 5, 2, 2, 1, 1,
    ]  # fmt: skip
    assert 0.0 < score["per_second"] <= 0.5  # ten answers since 20 s ago
    assert score["seconds_left"] == pytest.approx(10 / score["per_second"])
    assert said["unscored"] == {"refusal": 2, "gave_up": 1}
    assert said["errors"] == {"boom": 1}
    assert said["cost"]["unpriced"] == ["openai-compatible/qwen"]

    text = command("status", run_id).stdout
    until = time.strftime("%H:%M", time.localtime(score["waiting_until"]))
    assert f"2 waiting until {until}" in text or "2 waiting until 2" in text
    for words in (
        "10 of 21 jobs done, 2 leased, 1 batched,", "5 pending, 1 failed,", "prepare    1 job done", "1 gave_up, 2 refusal", "1 x boom",
        "the price of openai-compatible/qwen is unknown", "night      $0.00 (2026-11-21)", "month      $0.00 of $70.00",
        "10 answered", "no live workers in the last 60 s: start one to continue",
    ):  # fmt: skip
        assert words in text, words
    assert [line.split()[:2] for line in lines(command("status"))] == [[run_id, "running"]]
    assert "score 11 of 21" in command("status").stdout
    assert command("status", "nobody").exit_code == 2


def test_the_rate_is_the_average_if_no_calls_were_measured(command: Command, ledger: Ledger) -> None:
    run_id = a_run(ledger)
    with ledger.write() as tx:
        jobs.plan(tx, run_id, [planned_jobs.stage_job("harvest", n) for n in range(8)])
        tx.execute(sa.update(jobs_).where(jobs_.c.place < 4).values(state="done"))
        tx.execute(sa.text("UPDATE runs SET stage_s = :s"), {"s": json.dumps({"@harvest": time.time() - 400})})
    harvest = json.loads(command("status", run_id, "--json").stdout)["stages"]["harvest"]
    assert harvest["per_second"] == pytest.approx(0.01, rel=0.2)
    assert harvest["seconds_left"] == pytest.approx(400, rel=0.2)


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [
        ("done", "", 0),
        ("done", "studies.find: no such passage", 1),
        ("withheld", "too much is unscored", 3),
        ("withheld", "too much is unscored; studies.find: no such passage", 1),
        ("stopped", "anthropic/x: the key was refused", 5),
        ("stopped", "KeyboardInterrupt", 130),
        ("failed", "no such dictionary", 1),
        ("cancelled", "cancelled by hand", 130),
    ],
)
def test_watch_exits_with_the_code_of_the_run(
    state: str, reason: str, code: int, command: Command, tmp_path: Path
) -> None:
    run_id = a_run(
        Ledger.in_folder(tmp_path / "results"),
        state=state,
        reason=reason,
        exit_code=code if state == "stopped" or "studies." in reason else 0,
    )
    said = command("status", run_id, "--watch")
    assert said.exit_code == code
    assert said.stdout.splitlines()[0] == f"{run_id}: {state}" + (f" ({reason})" if reason else "")


def watcher(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autointerp", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment, cwd=ROOT,
    )  # fmt: skip


def test_watch_survives_a_restart_of_the_database() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        ledger = stack.enter_context(closing(Ledger.open(server.url)))
        run_id = a_run(ledger)
        watching = watcher("status", run_id, "--watch", AUTOINTERP_LEDGER=server.url)
        assert watching.stdout is not None
        assert watching.stdout.readline() == f"{run_id}: running, $0.00\n"
        server.restart()
        ledger.engine.dispose()
        with ledger.write() as tx:
            runs.set_state(tx, run_id, "withheld", "too little")
        out, err = watching.communicate(timeout=60)
        assert (watching.returncode, err) == (3, "")
        assert out.startswith(f"{run_id}: withheld (too little)\n")


def test_ctrl_c_stops_watching_but_not_the_run(tmp_path: Path) -> None:
    run_id = a_run(Ledger.in_folder(tmp_path))
    for words in (["status", run_id, "--watch"], ["logs", run_id, "--follow"]):
        with Ledger.in_folder(tmp_path).write() as tx:
            events.add(tx, run_id, "begun")
        watching = watcher(*words, "--results", str(tmp_path))
        assert watching.stdout is not None
        assert watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=60)
        assert (watching.returncode, err) == (130, "autointerp: stopped watching; the runs continue\n")


def test_logs_follow_ends_with_the_run(command: Command, ledger: Ledger) -> None:
    run_id = a_run(ledger, state="stopped")
    with ledger.write() as tx:
        events.add(tx, run_id, "stopped: the key\nwas refused", level="error", worker="host-1-ab")
        events.add(tx, "", "worker host-2-cd is gone", level="warning")
    assert lines(command("logs", run_id, "--follow"))[0].endswith("error    stopped: the key was refused  [host-1-ab]")
    assert "host-2-cd is gone" in lines(command("logs"))[0]
    assert command("logs", "nobody").exit_code == 2


def test_workers_are_listed_with_their_last_heartbeat(command: Command, ledger: Ledger) -> None:
    with ledger.write() as tx:
        for name in ("first", "second"):
            workers.register(tx, name, queues="judge", version="1")
        tx.execute(sa.update(workers_).where(workers_.c.worker_id == "first").values(beat_at=time.time() - 7200))
        workers.mark_dead(tx, "second")
    (only,) = lines(command("workers"))
    assert only.split()[:2] == ["first", "live"]
    assert f"pid {os.getpid()}" in only
    assert only.endswith("last heartbeat 2 h 0 min ago")
    assert {line.split()[1] for line in lines(command("workers", "--all"))} == {"live", "gone"}


def test_migrate_creates_a_ledger_with_the_newest_schema(
    command: Command, postgres_service: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.script import ScriptDirectory

    from autointerp.ledger.revisions import MIGRATIONS

    url = postgres_service.database()
    monkeypatch.setenv("AUTOINTERP_LEDGER", url)
    (said,) = lines(command("migrate"))
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert said.endswith(f"schema {head}")
    assert str(postgres_service.password) not in said
    with closing(Ledger.open(url)) as ledger:
        assert schema_of(ledger.engine) == head


@pytest.mark.parametrize(
    ("environment", "words", "said"),
    [
        ({"AUTOINTERP_LEDGER": "postgresql+psycopg://me:secret@127.0.0.1:1/x"}, ["status"], "me:***@127.0.0.1:1"),
        ({"AUTOINTERP_LEDGER": "postgresql+psycopg://me:secret@[::1/x"}, ["status"], "cannot be opened"),
        ({"AUTOINTERP_LEDGER": "postgresql+psycopg://127.0.0.1:1/x?password=secret"}, ["migrate"], "password=***"),
        ({"AUTOINTERP_LEDGER": "mysql://me:secret@host/x"}, ["workers"], "AUTOINTERP_LEDGER"),
        ({"AUTOINTERP_LEDGER": "sqlite:///nowhere.sqlite"}, ["logs", "x"], "there is no nowhere.sqlite"),
        ({"AUTOINTERP_RESULTS": "elsewhere"}, ["resume", "x"], "elsewhere holds no ledger"),
        ({}, ["cancel", "x"], "results holds no ledger"),
        ({}, ["nightly"], "--once"),
        ({}, ["nightly", "--once"], "AUTOINTERP_NIGHTLY"),
        ({}, ["nightly", "x.toml", "--once", "--date", "today"], "x.toml"),
        ({}, ["status", "x", "--watch", "--json"], "--watch and --json"),
    ],
)
def test_errors_of_service_commands_are_one_line_and_exit_2(
    environment: dict[str, str], words: list[str], said: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = command(*words)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert said in result.stderr
    assert "secret" not in result.output


def test_shell_completion_offers_run_ids(tmp_path: Path) -> None:
    environment = os.environ | {
        "_AUTOINTERP_COMPLETE": "bash_complete",
        "COMP_CWORD": "2",
        "AUTOINTERP_RESULTS": str(tmp_path),
    }
    code = "from autointerp.cli.main import main; main(prog_name='autointerp')"

    def completed() -> str:
        asked = environment | {"COMP_WORDS": "autointerp cancel pl"}
        return subprocess.run(
            [sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=True
        ).stdout

    assert completed().strip() == ""
    ledger = Ledger.in_folder(tmp_path)
    a_run(ledger, "planted-1")
    a_run(ledger, "other-2")
    assert completed() == "plain,planted-1\n"


@given(
    st.lists(st.tuples(st.floats(0.5, 20), st.integers(0, 50)), min_size=1, max_size=30),
)
def test_a_measured_rate_lies_between_the_slowest_and_the_fastest(steps: list[tuple[float, int]]) -> None:
    pace, at, done = RateMeter(), 0.0, 0
    found = pace.add(at, {"score": {"done": done}})
    assert found == {}
    for seconds, more in steps:
        at, done = at + seconds, done + more
        found = pace.add(at, {"score": {"done": done, "pending": 5}})
    rates = [more / seconds for seconds, more in steps]
    assert min(rates) - 1e-9 <= found.get("score", 0.0) <= max(rates) + 1e-9


def test_a_stage_is_timed_from_when_it_was_planned() -> None:
    pace = RateMeter()
    pace.add(0.0, {"explain": {"done": 3}})
    pace.add(50.0, {"explain": {"done": 3}, "score": {"done": 1, "pending": 9}})
    assert pace.add(55.0, {"explain": {"done": 3}, "score": {"done": 6, "pending": 4}}) == {"score": 1.0}


@given(st.floats(0, 1e7))
def test_durations_are_rounded_to_two_percent(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    words = short_duration(seconds).split()
    told = sum(int(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert told == pytest.approx(seconds, rel=0.02, abs=31)
    assert len(words) <= 4


@pytest.mark.slow
def test_a_run_costs_at_most_the_bounds_that_submit_prints(
    world: planted.World,
    command: Command,
    postgres_service: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTOINTERP_LEDGER", postgres_service.database())
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    with ProviderServer(think_apart) as server:
        spec = world.spec(units=FEW, judge=planted_runs.judge(planted_runs.MODELS[0], server))
        (tmp_path / "spec.toml").write_text(spec.to_toml())
        foretold = command("submit", "spec.toml", "--dry-run", "--quiet").stdout
        command("run", "spec.toml", "--set", "budget.usd=0.002", "--quiet")
        (stopped,) = [line for line in lines(command("status")) if "stopped" in line]
        run_id, reason = stopped.split()[0], stopped.split("  ")[-1]
        assert foretold.splitlines()[0] == run_id
        assert reason.strip().startswith("budget.usd ")
        assert command("status", run_id, "--watch").exit_code == 4
        assert command("run", "spec.toml", "--quiet").exit_code in (0, 3)
        books = list(server.books)
    explain, score = bounds.bounds(spec)
    assert len(books) <= explain.calls + score.calls
    assert explain.most_usd is not None
    assert score.most_usd is not None
    assert planted_runs.bill(planted_runs.MODELS[0], books) <= explain.most_usd + score.most_usd
    assert f"at most {score.calls:,} calls to {planted_runs.MODELS[0]}" in foretold
    assert "no budget.usd is set" in foretold
    assert not (tmp_path / "results" / "ledger.sqlite").exists()
    assert run_id in command("runs").stdout


def test_nightly_previews_a_night_and_submits_it(
    world: planted.World, command: Command, tmp_path: Path, ledger: Ledger
) -> None:
    import tomllib

    import tomli_w

    for path in world.dictionary.iterdir():
        os.utime(path, (time.time() - 3600,) * 2)
    template: dict[str, Any] = tomllib.loads(world.spec(units=FEW).to_toml())
    del template["dictionary"]["path"]
    config = {"sources": [{"folder": str(world.dictionary)}], "spec": template}
    (tmp_path / "nightly.toml").write_text(tomli_w.dumps(config))
    assert lines(command("nightly", "nightly.toml", "--dry-run"))[0].startswith(f"to score: {world.dictionary}")
    said = command("nightly", "nightly.toml", "--submit", "--date", "2026-11-20")
    assert said.exit_code == 0, said.output
    with ledger.read() as tx:
        (row,) = runs.all_runs(tx)
    assert (row["state"], row["carrier"], row["night"]) == ("queued", "fleet", "2026-11-20")
    assert f"{row['run_id']}  new" in said.stderr


def test_runs_and_status_name_the_judge_the_subject_and_the_dictionary(
    world: planted.World, command: Command, ledger: Ledger
) -> None:
    spec = world.spec(units=FEW, judge={"model": "anthropic/claude-haiku-4-5"})
    a_run(ledger, "first-1", spec=spec.to_toml())
    a_run(ledger, "second-2", state="stopped", reason="the key was refused")  # of a version whose spec lacks the names
    for words in (["runs"], ["status"]):
        newest, first = sorted(lines(command(*words)), reverse=True)
        assert first.split()[:2] == ["first-1", "running"]
        for name in ("claude-haiku-4-5", world.subject.name, f"{world.dictionary.parent.name}/{world.dictionary.name}"):
            assert name in first
        assert newest.endswith("the key was refused")
    described = lines(command("status", "fir"))
    assert described[0] == "first-1: running"
    assert described[1:4] == [
        "  judge      anthropic/claude-haiku-4-5", f"  subject    {world.subject}", f"  dictionary {world.dictionary}",
    ]  # fmt: skip
    assert json.loads(command("status", "latest", "--json").stdout)["run_id"] == "second-2"


def test_commands_take_the_beginning_of_an_id_and_latest(command: Command, ledger: Ledger) -> None:
    for run_id in ("first-12", "first-13", "second-2"):
        a_run(ledger, run_id)
    assert lines(command("cancel", "latest", "first-12")) == ["second-2  cancelled", "first-12  cancelled"]
    assert lines(command("resume", "sec")) == ["second-2  resumed"]
    assert lines(command("logs", "sec"))[-1].endswith("resumed")
    refused = command("cancel", "first")
    assert refused.exit_code == 2
    assert "first is the beginning of 2 run ids (first-13, first-12)" in refused.stderr


def test_several_runs_are_found_in_a_ledger_that_is_opened_once(
    command: Command, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id in ("first-12", "second-2"):
        a_run(ledger, run_id)
    opened, open_ = list[Path](), LedgerLocation.open
    monkeypatch.setattr(LedgerLocation, "open", lambda self: opened.append(self.results) or open_(self))
    assert len(lines(command("cancel", "first", "second"))) == 2
    assert len(opened) == 1


def test_open_shows_the_latest_report_in_a_browser(command: Command, tmp_path: Path) -> None:
    for name in ("old-1", "new-2"):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text("{}")
        (folder / "report.html").write_text("<p>report</p>")
        os.utime(folder / "summary.json", (1000 if name == "old-1" else 2000,) * 2)
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/opened\n")
    browser.chmod(0o755)
    for words in (["open"], ["open", "old"]):
        environment = os.environ | {"BROWSER": str(browser)}
        subprocess.run([sys.executable, "-m", "autointerp", *words], env=environment, cwd=tmp_path, check=True)
    opened = (tmp_path / "opened").read_text().split()
    assert opened == [(tmp_path / "results" / name / "report.html").as_uri() for name in ("new-2", "old-1")]
