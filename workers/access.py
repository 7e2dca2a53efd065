"""Refuses to work with a Redis or a PostgreSQL that anybody may use.

Each check knocks as a stranger would, without password or certificate. A server that answers is refused unless it can be
reached from its own machine only: it is asked itself, and where it will not say, its address decides.
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

KNOCK_S = 5.0


def check_broker(settings: Settings) -> None:
    """Raise `UsageError` where strangers on other machines could use Redis."""
    url = urlsplit(settings.broker_url)
    authority = {"broker_ca": (settings.broker_tls or {}).get("ssl_ca_certs")}
    bare = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
    stranger = Settings(broker=bare, **authority)
    with broker.connect(stranger, timeout_s=KNOCK_S) as client:
        try:
            client.ping()
        except redis.RedisError:
            return
        try:
            bound = str(client.config_get("bind")["bind"]).split()
            guarded = client.config_get("protected-mode")["protected-mode"] == "yes"
        except (redis.RedisError, KeyError):
            bound, guarded = [url.hostname or ""], False
    if not guarded and not _only_loopback(bound):
        raise UsageError(
            f"Redis at {url.hostname} lets anybody in without a password and listens on {' '.join(bound) or 'every address'}:"
            f" set `requirepass` there and the password in {PREFIX}BROKER, or bind it to 127.0.0.1"
        )


def check_ledger(url: str) -> None:
    """Raise `UsageError` where strangers on other machines could use the ledger's PostgreSQL. SQLite is a file, and passes."""
    location = sa.make_url(url)
    host = str(location.host or location.query.get("host") or "")
    if location.get_backend_name() != "postgresql" or not host or host.startswith(("/", "@")):
        return
    # An empty password is one that is given: neither PGPASSWORD nor a password file nor a certificate steps in for it.
    nobody = {"password": "", "passfile": "/nonexistent", "sslcert": "/nonexistent", "gssencmode": "disable"}
    try:
        with psycopg.connect(
            host=host,
            port=location.port or 5432,
            user=location.username,
            dbname=location.database,
            connect_timeout=int(KNOCK_S),
            **nobody,  # type: ignore[arg-type]
        ) as connection:
            row = connection.execute("SHOW listen_addresses").fetchone()
    except psycopg.Error:
        return
    listens = str(row[0] if row else host).replace(",", " ").split()
    if not _only_loopback(listens):
        raise UsageError(
            f"PostgreSQL at {host} lets anybody in without a password and listens on {' '.join(listens)}: ask for"
            f" scram-sha-256 in its pg_hba.conf and put the password in {PREFIX}LEDGER, or set listen_addresses to localhost"
        )


def _only_loopback(addresses: list[str]) -> bool:
    return bool(addresses) and all(_is_loopback(address) for address in addresses)


def _is_loopback(address: str) -> bool:
    """A name other than localhost is not: what it means is decided elsewhere. Redis marks addresses that may be missing by `-`."""
    address = address.removeprefix("-").strip("[]")
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
