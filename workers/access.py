"""Refuses a Redis or PostgreSQL server that anybody can use.

Each check connects without a password or certificate. A server that accepts is refused unless it listens on loopback addresses
only. The server is asked for these addresses; if it does not answer, the address in the URL decides.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import psycopg
import redis
import sqlalchemy as sa

from autointerp.errors import UsageError
from autointerp.settings import PREFIX, Settings
from workers import broker

TIMEOUT_S = 5.0


def check_broker(settings: Settings) -> None:
    """Raise `UsageError` if anybody on another machine could use Redis."""
    url = urlsplit(settings.broker_url)
    authority = {"broker_ca": (settings.broker_tls or {}).get("ssl_ca_certs")}
    without_password = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
    with broker.connect(Settings(broker=without_password, **authority), timeout_s=TIMEOUT_S) as client:
        try:
            client.ping()
        except redis.RedisError:
            return
        try:
            addresses = str(client.config_get("bind")["bind"]).split()
            protected = client.config_get("protected-mode")["protected-mode"] == "yes"
        except (redis.RedisError, KeyError):
            addresses, protected = [url.hostname or ""], False
    if not protected and not _only_loopback(addresses):
        raise UsageError(
            f"Redis at {url.hostname} accepts connections without a password on {' '.join(addresses) or 'every address'}:"
            f" set `requirepass` in its configuration and put the password in {PREFIX}BROKER, or bind it to 127.0.0.1"
        )


def check_ledger(url: str) -> None:
    """Raise `UsageError` if anybody on another machine could use the ledger's PostgreSQL. SQLite and Unix sockets pass."""
    location = sa.make_url(url)
    host = str(location.host or location.query.get("host") or "")
    if location.get_backend_name() != "postgresql" or not host or host.startswith(("/", "@")):
        return
    # An empty password counts as given, so that libpq falls back on neither PGPASSWORD nor a password file nor a certificate.
    no_credentials = {"password": "", "passfile": "/nonexistent", "sslcert": "/nonexistent", "gssencmode": "disable"}
    try:
        with psycopg.connect(
            host=host,
            port=location.port or 5432,
            user=location.username,
            dbname=location.database,
            connect_timeout=int(TIMEOUT_S),
            **no_credentials,  # type: ignore[arg-type]
        ) as connection:
            row = connection.execute("SHOW listen_addresses").fetchone()
    except psycopg.Error:
        return
    addresses = str(row[0] if row else host).replace(",", " ").split()
    if not _only_loopback(addresses):
        raise UsageError(
            f"PostgreSQL at {host} accepts connections without a password on {' '.join(addresses)}: require"
            f" scram-sha-256 in its pg_hba.conf and put the password in {PREFIX}LEDGER, or set listen_addresses to localhost"
        )


def _only_loopback(addresses: list[str]) -> bool:
    return bool(addresses) and all(_is_loopback(address) for address in addresses)


def _is_loopback(address: str) -> bool:
    """Whether an address is a loopback IP or `localhost`; other names may resolve to anything. Redis marks optional ones by `-`."""
    address = address.removeprefix("-").strip("[]")
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
