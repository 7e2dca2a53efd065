"""Servers that anybody may use are refused. 198.51.100.7 stands for an address of the outside; no machine has it."""

from __future__ import annotations

import pytest
import redis
from support.services.servers import PostgresServer, RedisServer, postgres_server, redis_server

from autointerp.errors import UsageError
from autointerp.settings import Settings
from workers import broker
from workers.access import check_broker, check_ledger

OPEN = ("bind 127.0.0.1 -198.51.100.7", "protected-mode no")


def settings_for(server: RedisServer, url: str | None = None) -> Settings:
    return Settings(broker=url or server.url, broker_ca=server.ca)  # type: ignore[arg-type]


def test_an_open_redis_is_refused_in_one_line() -> None:
    with redis_server(config=OPEN) as server:
        for url in (server.url, server.url.replace("//", "//:needless@")):
            with pytest.raises(UsageError) as caught:
                check_broker(settings_for(server, url))
            line = str(caught.value)
            assert "accepts connections without a password on 127.0.0.1 -198.51.100.7" in line
            assert "requirepass" in line
            assert "\n" not in line
            assert "needless" not in line


@pytest.mark.parametrize(
    "config",
    [(), ("bind 127.0.0.1 -::1", "protected-mode no"), ("bind 127.0.0.1 -198.51.100.7", "protected-mode yes")],
    ids=["as shipped", "loopback", "protected"],
)
def test_a_redis_without_a_password_may_listen_on_loopback(config: tuple[str, ...]) -> None:
    with redis_server(config=config) as server:
        check_broker(settings_for(server))


def test_a_redis_that_hides_its_configuration_is_judged_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server(config=(*OPEN, 'rename-command CONFIG ""')) as server:
        check_broker(settings_for(server))
        named = settings_for(server, f"redis://elsewhere:{server.port}/0")
        real = broker.connect  # no name of the outside leads here, so the call is led here instead
        monkeypatch.setattr(broker, "connect", lambda *_, **more: real(settings_for(server), **more))
        with pytest.raises(UsageError, match="Redis at elsewhere accepts connections without a password"):
            check_broker(named)


def test_a_redis_with_a_password_may_listen_anywhere() -> None:
    with redis_server(password="secret", config=OPEN) as server:
        check_broker(settings_for(server))
        check_broker(settings_for(server, server.url.replace("secret", "wrong")))


def test_an_unreachable_redis_is_not_reported_as_open() -> None:
    with redis_server() as server:
        server.stop()
        check_broker(settings_for(server))


def test_redis_over_tls_needs_the_authority_and_the_servers_name() -> None:
    with redis_server(tls=True, password="secret", config=OPEN) as server:
        settings = settings_for(server)
        check_broker(settings)
        with broker.connect(settings) as client:
            assert client.ping()
        in_the_url = Settings(broker=f"{server.url}?ssl_ca_certs={server.ca}")  # type: ignore[arg-type]
        with broker.connect(in_the_url) as client:
            assert client.ping()
        with (
            broker.connect(Settings(broker=server.url)) as client,  # type: ignore[arg-type]
            pytest.raises(redis.ConnectionError, match="certificate verify failed"),
        ):
            client.ping()
        other = Settings(broker=server.url.replace("127.0.0.1", "127.0.0.2"), broker_ca=server.ca)  # type: ignore[arg-type]
        with broker.connect(other) as client, pytest.raises(redis.ConnectionError):
            client.ping()


def test_an_open_redis_behind_tls_is_refused() -> None:
    with (
        redis_server(tls=True, config=OPEN) as server,
        pytest.raises(UsageError, match="accepts connections without a password"),
    ):
        check_broker(settings_for(server))


def test_a_redis_that_asks_for_certificates_is_not_open() -> None:
    with redis_server(tls=True, config=(*OPEN, "tls-auth-clients yes")) as server:
        url = f"{server.url}?ssl_certfile={server.folder}/server.crt&ssl_keyfile={server.folder}/server.key"
        settings = settings_for(server, url)
        with broker.connect(settings) as client:
            assert client.ping()
        check_broker(settings)


def test_a_postgres_with_a_password_may_listen_anywhere(postgres_service: PostgresServer) -> None:
    check_ledger(postgres_service.url)
    check_ledger(postgres_service.url.replace(str(postgres_service.password), "wrong"))


def test_a_postgres_without_password_must_listen_on_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres_server(trust=True) as server:
        check_ledger(server.url)
    with postgres_server(trust=True, config=("listen_addresses=127.0.0.1,198.51.100.7",)) as server:
        monkeypatch.setenv("PGPASSWORD", "needless")
        for url in (server.url, server.url.replace("autointerp@", "autointerp:needless@")):
            with pytest.raises(UsageError) as caught:
                check_ledger(url)
            assert "on 127.0.0.1 198.51.100.7: require scram-sha-256" in str(caught.value)
            assert "needless" not in str(caught.value)


def test_a_password_from_the_environment_is_not_used_by_the_check(
    postgres_service: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", str(postgres_service.password))
    check_ledger(postgres_service.url.replace(f":{postgres_service.password}", ""))


@pytest.mark.parametrize(
    "url", ["sqlite:///results/ledger.sqlite", "postgresql+psycopg://u@/d", "postgresql+psycopg://u@/d?host=/run/pg"]
)
def test_files_and_sockets_pass(url: str) -> None:
    check_ledger(url)
