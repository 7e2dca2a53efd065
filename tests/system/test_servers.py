"""The servers that other tests stand on do what they say."""

from __future__ import annotations

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.services.servers import PostgresServer, RedisServer, postgres_server, redis_server


def test_redis_keeps_its_keys_over_a_kill_and_loses_them_when_asked_to(redis_service: RedisServer) -> None:
    with redis_service.client() as client:
        client.set("a", "1")
    redis_service.kill()
    with pytest.raises(redis.ConnectionError), redis_service.client() as client:
        client.ping()
    redis_service.start()
    redis_service.restart()
    with redis_service.client() as client:
        assert client.get("a") == b"1"
    redis_service.restart(empty=True)
    with redis_service.client() as client:
        assert client.get("a") is None
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_redis_requires_its_password(redis_service: RedisServer) -> None:
    with (
        redis.Redis(host="127.0.0.1", port=redis_service.port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_redis_speaks_tls_only_when_asked_to() -> None:
    with redis_server(tls=True, password="secret") as server:
        assert server.url.startswith("rediss://")
        with server.client() as client:
            client.set("a", "1")
            assert client.get("a") == b"1"
        with redis.Redis.from_url(server.url) as stranger, pytest.raises(redis.ConnectionError, match="certificate"):
            stranger.ping()


def test_postgres_keeps_rows_over_restart_and_kill_and_requires_its_password() -> None:
    with postgres_server() as server:
        where = server.url.replace("+psycopg", "")
        with psycopg.connect(where) as connection:
            connection.execute("CREATE TABLE t (a int)")
            connection.execute("INSERT INTO t VALUES (7)")
        server.restart()
        server.kill()
        server.start()
        with psycopg.connect(where) as connection:
            assert connection.execute("SELECT a FROM t").fetchall() == [(7,)]
            assert connection.pgconn.used_password
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(where.replace(str(server.password), "wrong"))


def test_databases_of_one_server_are_separate(postgres_service: PostgresServer) -> None:
    first, second = postgres_service.database(), postgres_service.database()
    with psycopg.connect(first.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE t (a int)")
    with psycopg.connect(second.replace("+psycopg", "")) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT a FROM t")
