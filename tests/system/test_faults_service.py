"""Odd replies, unusable replies and hostile messages at a fleet: every run ends as in one process, and no key is left anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import s3fs
import sqlalchemy as sa
from moto.server import ThreadedMotoServer
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.protocols import Json, read_request
from support.providers.server import Entry, ProviderServer
from support.services import fleet as fleet_
from support.services.fleet import QUICK_APP, Fleet
from support.services.servers import PostgresServer

from autointerp.calls.breaker import FIRST_REPLIES, MOST_ASKED
from autointerp.ledger import calls, jobs, runs
from autointerp.ledger.schema import calls as call_rows
from autointerp.ledger.schema import metadata
from autointerp.pipeline.submit import resume, submit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BUCKET = "shared"
CANARY = "plain-canary-of-no-known-look"
MODEL = planted_runs.MODELS[2]
FEW: dict[str, Any] = {
    "units": {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]},
    "score": {"per_bin": 2},
    "controls": {"shuffled": 2, "base_rate": 2},
    "studies": {"tokens": 0},
    "report": {"resamples": 200},
}
JUDGES = ("judge-1", "judge-2", "judge-3")
NESTED = b'{"a":' * 100_000

Change = Callable[[Json], None]


def usage(**counts: Any) -> Change:
    return lambda body: body["usage"].update(counts)


def served(model: str) -> Change:
    return lambda body: body.update(model=model)


def in_parts(body: Json) -> None:
    message = body["choices"][0]["message"]
    message["content"] = [{"type": "text", "text": message["content"]}]


ODD: dict[str, Change] = {
    "long model": served("m" * 300),
    "model with a NUL": served("qwen\0"),
    "model with half a character": served("qwen \ud83d"),
    "no model": lambda body: body.pop("model"),
    "long id": lambda body: None,
    "many tokens": usage(prompt_tokens=3_000_000_000),
    "tokens beyond 64 bits": usage(prompt_tokens=2**70, completion_tokens=2**70),
    "negative usage": usage(prompt_tokens=-5),
    "NaN usage": usage(completion_tokens=float("nan")),
    "infinite usage": usage(prompt_tokens=float("inf")),
    "usage as text": usage(prompt_tokens="many"),
    "no usage": lambda body: body.pop("usage"),
    "content in parts": in_parts,
}
PASSING = ("drip", "inflated", "not_json", "drop_body")
KINDS = (*ODD, *PASSING)


class OddServer(ProviderServer):
    """Answers each question rightly, and the first time it is asked in one of the odd ways, in turn."""

    refused = ""
    """The hash of the question that always gets 429: the first one that asks for an explanation."""

    def __init__(self) -> None:
        super().__init__(answer, self._fault, slow_s=20.0, retry_after_s=0.1)

    def _fault(self, number: int, body_hash: str, attempt: int) -> str | None:
        return None if attempt else KINDS[number % len(KINDS)]

    def enter(self, protocol: str, body: Json) -> Entry:
        entry = super().enter(protocol, body)
        schema = read_request(protocol, body)[2]
        if not self.refused and "explanation" in schema.get("properties", {}):
            self.refused = entry.body_hash
        if entry.body_hash == self.refused:
            entry.fault = "429"
        return entry

    def reply(self, protocol: str, body: Json, entry: Entry) -> Json:
        reply = super().reply(protocol, body, entry)
        ODD.get(str(entry.fault), lambda body: None)(reply)
        return reply

    def request_id(self, entry: Entry) -> str:
        return f"req_{entry.number}" * (1 if entry.fault != "long id" else 60)


def answer(system: str, user: str, schema: Json) -> Json:
    """The right answer with the key in each text; the items of every third group are numbered from 0, however often it is asked."""
    right = think_apart(system, user, schema)
    if "$defs" in schema and sha256(user.partition("\nAn earlier")[0].encode()).digest()[0] % 3 == 0:
        right = {str(int(number) - 1): value for number, value in right.items()}
    return with_key(right)


def with_key(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_key(inner) for name, inner in value.items()}
    return f"{value} {CANARY}" if isinstance(value, str) else value


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, postgres_service: PostgresServer) -> Iterator[Fleet]:
    """Workers over Redis with TLS and a password, and artifacts on S3, whose secret is the provider's key."""
    folder = tmp_path_factory.mktemp("fleet")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = dict.fromkeys(planted_runs.KEYS, CANARY)
    storage = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AUTOINTERP_ARTIFACTS": f"s3://{BUCKET}/fleet",
    }
    with (
        pytest.MonkeyPatch.context() as patch,
        fleet_.running(folder, postgres_service, app=QUICK_APP, forked=True, tls=True, **keys, **storage) as service,
    ):
        for name, value in storage.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
        for name in planted_runs.KEYS:
            patch.setenv(name, CANARY)
        service.start("activations", *fleet_.ACTIVATIONS)
        service.start("aggregate", *fleet_.AGGREGATE)
        service.start("beat", *fleet_.BEAT)
        for name in JUDGES:
            service.start(name, "worker", "-Q", "judge", "--pool", "threads", "-c", "16")
        yield service
    server.stop()


def test_a_fleet_scores_every_item_rightly_whatever_the_replies_hold_and_leaves_no_key(
    world: planted.World, fleet: Fleet
) -> None:
    with OddServer() as server:
        judge = planted_runs.judge(MODEL, server, timeout_s=3.0, concurrency=16)
        spec = world.spec(**{**FEW, "score": {"per_bin": 2, "per_call": 4}}, judge=judge, budget={"usd": 5.0})
        run_id = submit(fleet.ledger, spec, fleet.results).run_id
        with fleet.redis.client() as client:
            for _ in range(3):
                client.publish("/0.celery.pidbox", NESTED)
        fleet.wait([run_id], patience_s=180)
        kinds = {entry.fault for entry in server.books}
    assert set(KINDS) <= kinds, "each kind was sent"
    with fleet.ledger.read() as tx:
        row = runs.get(tx, run_id)
        states = dict(tx.execute(sa.select(call_rows.c.state, sa.func.count()).group_by(call_rows.c.state)).all())
        unfinished = {state for of_stage in jobs.counts(tx, run_id).values() for state in of_stage} - {"done"}
    assert row is not None
    assert row["state"] in ("done", "withheld")
    assert calls.OPEN not in states
    assert unfinished == set()
    assert row["reserved_usd"] == pytest.approx(0.0, abs=1e-9)
    assert 0 < row["spent_usd"] + row["lost_usd"] <= 5.0
    tables = planted_runs.tables(fleet.results / run_id)
    [failed] = tables["units"].loc[tables["units"]["explanation_outcome"] != "scored", "unit_id"]
    rows = tables["judgements"]
    assert set(rows.loc[rows["explanation_unit_id"] == failed, "outcome"]) <= {"no_explanation"}
    rows = tables["judgements"] = rows[rows["explanation_unit_id"] != failed]
    assert set(rows["outcome"]) == {"scored"}
    assert wrong_grades(tables) == []
    leaves_no_key(fleet)
    logs = fleet.logs(most=10_000_000)
    assert "Traceback" not in logs
    assert not re.search(r"INSERT INTO|UPDATE calls|SELECT ", logs)


def wrong_grades(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Keys of the exemplars whose grade is another than the planted one."""
    explanations = tables["units"].set_index("unit_id")["explanation"]
    windows = tables["exemplars"].set_index("exemplar_id")
    wrong = []
    for row in tables["judgements"].itertuples():
        window = windows.loc[row.exemplar_id]
        word = window["tokens"][window["mark"]].strip()
        if planted.grade(explanations[row.explanation_unit_id], word) != row.score:
            wrong.append(f"{row.exemplar_id} {row.arm}")
    return wrong


def leaves_no_key(fleet: Fleet) -> None:
    """Assert that the key is in no table of the ledger, value of Redis, log or result, and the passwords of both servers neither."""
    secrets = (CANARY, str(fleet.redis.password), str(fleet.postgres.password))
    with fleet.ledger.read() as tx:
        for table in metadata.sorted_tables:
            rows = "\n".join(map(repr, tx.execute(sa.select(table)).all()))
            assert not any(secret in rows for secret in secrets), table.name
            assert table.name != "judgements" or "***" in rows, "it was echoed"
    for path in filter(Path.is_file, [*fleet.folder.rglob("*"), *(fleet.redis.folder / "data").rglob("*")]):
        assert not any(secret.encode() in path.read_bytes() for secret in secrets), path
        if path.suffix == ".parquet":
            assert CANARY not in pd.read_parquet(path).to_csv(), path


def unusable(fleet: Fleet, run_id: str) -> int:
    """The number of replies that a stop withdrew."""
    withdrawn = sa.and_(call_rows.c.run_id == run_id, call_rows.c.reason.startswith("withdrawn"))
    with fleet.ledger.read() as tx:
        return int(tx.execute(sa.select(sa.func.count()).where(withdrawn)).scalar_one())


def test_a_fleet_stops_at_the_first_unusable_replies_and_asks_anew_what_failed_for_their_cause(
    world: planted.World, fleet: Fleet
) -> None:
    """The server is lost while it explains: some explanations fail, and no reply to a question about scores can be used."""
    lost = True

    def say(system: str, user: str, schema: Json) -> Json:
        if lost and "explanation" not in schema["properties"]:
            return {"nothing": "here"}
        return think_apart(system, user, schema)

    def fault(number: int, body_hash: str, attempt: int) -> str | None:
        return "400" if lost and number < 3 else None

    with ProviderServer(say, fault, delay_s=0.1) as server:
        judge = planted_runs.judge(MODEL, server, concurrency=48)
        run_id = submit(fleet.ledger, world.spec(**FEW, judge=judge), fleet.results).run_id
        assert fleet.wait([run_id]) == {run_id: "stopped"}
        with fleet.ledger.read() as tx:
            row = runs.get(tx, run_id)
        fleet.wait([run_id], until=lambda counts: "leased" not in counts[run_id]["score"])
        assert row is not None
        assert "to score questions can be used" in row["reason"]
        assert FIRST_REPLIES <= unusable(fleet, run_id) <= MOST_ASKED
        lost = False
        resume(fleet.ledger, run_id, fleet.results)
        assert fleet.wait([run_id])[run_id] in ("done", "withheld"), fleet.logs()
    tables = planted_runs.tables(fleet.results / run_id)
    assert set(tables["units"]["explanation_outcome"]) == {"scored"}
    assert set(tables["judgements"]["outcome"]) == {"scored"}
    assert wrong_grades(tables) == []
