"""Real servers for tests: Redis and PostgreSQL as processes of their own on 127.0.0.1.

    with redis_server(password="secret") as redis, postgres_server() as postgres:
        redis.url, postgres.url, postgres.database()

or the fixtures `redis_service` (one a test) and `postgres_service` (one a session: take `.database()`). Where a server is not
installed the test skips and says so; under CI=true it fails.
"""

from __future__ import annotations

import glob
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

S = TypeVar("S", bound="Server")

START_S = 60.0
"""How long a server may take to answer; a limit for a hung one, not a measurement."""


def skip_without(what: str) -> NoReturn:
    """Skip, or fail where everything must be there."""
    line = f"{what} is not installed: `./dev test` installs it where it may"
    if os.environ.get("CI") == "true":
        pytest.fail(line)
    pytest.skip(line)


def free_port() -> int:
    """A free port below those that outgoing connections take, so that it is still free after a restart."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Server:
    """A server process: the command, where its data lie, and the life in between."""

    port: int
    folder: Path
    command: list[str]
    answers: Callable[[], bool]
    as_user: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    gentle = signal.SIGTERM

    def start(self) -> None:
        """Start and wait until it answers. One that ends at once, as while its last life's children linger, is tried again."""
        deadline = time.monotonic() + START_S
        log = self.folder / "server.log"
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                with log.open("ab") as out:
                    self.process = subprocess.Popen(
                        self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **self.as_user
                    )
            if self.answers():
                return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"{self.command[0]} does not answer:\n{log.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(self.gentle)

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL)

    def _end(self, by: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(by)
            try:
                self.process.wait(timeout=START_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@dataclass
class RedisServer(Server):
    password: str | None = None
    ca: Path | None = None
    """Certificate to trust, where it speaks TLS."""

    @property
    def url(self) -> str:
        who = f":{self.password}@" if self.password else ""
        return f"{'rediss' if self.ca else 'redis'}://{who}127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        """A redis-py client; over TLS it shows a certificate. Close it, or use it in a `with`."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        files = {"ssl_ca_certs": "ca.crt", "ssl_certfile": "server.crt", "ssl_keyfile": "server.key"} if self.ca else {}
        return redis.Redis.from_url(
            self.url, retry=Retry(NoBackoff(), 1), **{name: str(self.folder / file) for name, file in files.items()}
        )

    def restart(self, empty: bool = False, by: signal.Signals = signal.SIGTERM) -> None:
        """Stop and start with what it held (its append-only file), or with nothing."""
        self._end(by)
        if empty:
            shutil.rmtree(self.folder / "data")
            (self.folder / "data").mkdir()
        self.start()


@contextmanager
def redis_server(
    port: int | None = None, *, password: str | None = None, tls: bool = False, config: Sequence[str] = ()
) -> Iterator[RedisServer]:
    """A Redis with an append-only file. `config`: further lines of redis.conf, such as "maxmemory 10mb"."""
    program = shutil.which("redis-server") or skip_without("redis-server")
    with tempfile.TemporaryDirectory(prefix="autointerp-redis-") as name:
        folder, port = Path(name), port or free_port()
        (folder / "data").mkdir()
        lines = ["bind 127.0.0.1", "save ''", "appendonly yes", f"dir {folder / 'data'}", "maxmemory-policy noeviction"]
        lines += [f"requirepass {password}"] if password else []
        if tls:
            write_certificates(folder)
            lines += [
                "port 0",
                f"tls-port {port}",
                "tls-auth-clients optional",
                f"tls-ca-cert-file {folder / 'ca.crt'}",
            ]
            lines += [f"tls-cert-file {folder / 'server.crt'}", f"tls-key-file {folder / 'server.key'}"]
        else:
            lines += [f"port {port}"]
        (folder / "redis.conf").write_text("\n".join([*lines, *config]) + "\n")

        def answers() -> bool:
            import redis

            with suppress(redis.RedisError, OSError), server.client() as client:
                return bool(client.ping())
            return False

        command = [program, str(folder / "redis.conf")]
        server = RedisServer(port, folder, command, answers, password=password, ca=folder / "ca.crt" if tls else None)
        yield from _while_it_runs(server)


def write_certificates(folder: Path) -> None:
    """Write ca.crt and, signed by it, server.crt with server.key for 127.0.0.1 and localhost; valid for a day."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import IPv4Address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def certificate(
        subject: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, ca: bool
    ) -> bytes:
        now = datetime.now(UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
        signs = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(signs, critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.crt").write_bytes(certificate("test authority", authority, authority, True))
    (folder / "server.crt").write_bytes(certificate("localhost", key, authority, False))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(private)


@dataclass
class PostgresServer(Server):
    password: str | None = None
    migrated: str = ""
    """Name of the first ledger's database."""

    gentle = signal.SIGINT
    """Fast shutdown: connections are cut, what was committed is kept."""

    @property
    def url(self) -> str:
        return self.url_of("autointerp")

    def url_of(self, database: str) -> str:
        who = f"autointerp:{self.password}" if self.password else "autointerp"
        return f"postgresql+psycopg://{who}@127.0.0.1:{self.port}/{database}"

    def database(self, options: str = "") -> str:
        """URL of a new database, empty unless options of `CREATE DATABASE` say otherwise."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}{options}")
        return self.url_of(name)

    def ledger(self) -> str:
        """URL of a new ledger: a copy of this server's first one, which the migrations made."""
        from autointerp.ledger.database import Ledger

        if not self.migrated:
            first = self.database()
            Ledger.open(first).close()
            self.migrated = first.rpartition("/")[2]
        return self.database(f" TEMPLATE {self.migrated}")

    def execute(self, statement: str) -> None:
        import psycopg

        url = self.url_of("postgres").replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)

    def restart(self) -> None:
        self.stop()
        self.start()


@contextmanager
def postgres_server(
    port: int | None = None, *, trust: bool = False, config: Sequence[str] = ()
) -> Iterator[PostgresServer]:
    """A PostgreSQL with user and database `autointerp`; a password is asked for unless `trust`.

    `config`: settings such as "max_connections=20". It refuses to run as root, so there it runs as the user postgres.
    """
    folders = [Path(path).parent for path in sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)]
    folders += [Path(os.path.realpath(found)).parent for found in [shutil.which("initdb")] if found]
    programs = folders[0] if folders else skip_without("postgresql")
    with tempfile.TemporaryDirectory(prefix="autointerp-postgres-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), port or free_port()
        as_user = _unprivileged(folder)
        password = None if trust else secrets.token_urlsafe(12)
        (folder / "password").write_text(password or "unused")
        make = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "autointerp", "--no-sync", "--locale=C"]
        make += ["--encoding=UTF8", f"--auth={'trust' if trust else 'scram-sha-256'}", "--pwfile", f"{folder}/password"]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **as_user)
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=32MB"]
        settings += ["max_connections=200", "log_min_messages=fatal", *config]
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += [word for setting in settings for word in ("-c", setting)]

        def answers() -> bool:
            import psycopg

            with suppress(psycopg.OperationalError):
                server.execute("SELECT 1")
                return True
            return False

        server = PostgresServer(port, folder, command, answers, as_user | {"cwd": folder}, password=password)
        for stage in _while_it_runs(server):
            server.execute("CREATE DATABASE autointerp")
            yield stage


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Arguments for `Popen` so that the process is not root's; the folder becomes that user's."""
    if os.geteuid() != 0:
        return {}
    import pwd

    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        skip_without("postgresql (its user postgres)")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _while_it_runs(server: S) -> Iterator[S]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_service() -> Iterator[RedisServer]:
    """A Redis of this test's own, with a password."""
    with redis_server(password=secrets.token_urlsafe(12)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_service() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests that read and write: each takes a `.database()`. Who restarts it starts one of their own."""
    with postgres_server() as server:
        yield server
