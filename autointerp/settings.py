"""Settings of the service, from environment variables that begin with AUTOINTERP_.

They say where the service stores things and how it is reached; what to evaluate is in specs. Each process reads them once,
when it starts. Values that hold passwords are never shown.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from autointerp import redaction
from autointerp.errors import UsageError

PREFIX = "AUTOINTERP_"


class Settings(BaseSettings):
    """Locations of the service's parts. `Settings.from_env()` reads them and raises one-line errors."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    ledger: SecretStr | None = None
    """URL of the ledger's database; by default SQLite in the results folder. AUTOINTERP_LEDGER_FILE names a file that holds it."""

    broker: SecretStr | None = None
    """URL of Redis, `redis://` or `rediss://`; only workers need it. AUTOINTERP_BROKER_FILE names a file that holds it."""

    broker_ca: Path | None = None
    """Certificate (PEM) of the authority that signed the certificate of a `rediss://` server."""

    results: Path = Path("results")
    """Folder for runs and reports."""

    artifacts: str | None = None
    """Path or fsspec URL for harvests; by default `artifacts` in the results folder."""

    month_usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Spending limit of all runs together per calendar month (UTC), in dollars; by default no limit."""

    nightly: Path | None = None
    """TOML file that configures nightly scoring."""

    log: Literal["json", "text"] | None = None
    """Format of log lines; by default text on a terminal and JSON elsewhere."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged. Only `debug` may include prompts and replies."""

    @classmethod
    def from_env(cls) -> Self:
        """Read the environment. Raises `UsageError`."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
            message = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"{name}: {message}" if first["loc"] else message) from None

    @property
    def ledger_url(self) -> str:
        """URL of the ledger's database, for readers. Open the ledger by `given_ledger`: not every path can be written as a URL."""
        return self.given_ledger or f"sqlite:///{self.results / 'ledger.sqlite'}"

    @property
    def given_ledger(self) -> str | None:
        """URL of the ledger's database; None if it is in the results folder."""
        return self.ledger.get_secret_value() if self.ledger else None

    @property
    def broker_url(self) -> str:
        """Redis's URL without its TLS options, which are in `broker_tls`. Raises `UsageError` if none is set."""
        if self.broker is None:
            raise UsageError(
                f"{PREFIX}BROKER is not set: set it to the URL of Redis, such as redis://:PASSWORD@HOST:6379/0"
            )
        return urlunsplit(urlsplit(self.broker.get_secret_value())._replace(query=""))

    @property
    def broker_tls(self) -> dict[str, Any] | None:
        """TLS arguments for redis-py and kombu, or None for `redis://`. The server's certificate is always checked."""
        url = urlsplit(self.broker.get_secret_value() if self.broker else "")
        if url.scheme != "rediss":
            return None
        paths = {name: value for name, value in parse_qsl(url.query) if name in TLS_OPTIONS}
        authority = {"ssl_ca_certs": str(self.broker_ca)} if self.broker_ca else {}
        return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **authority, **paths}

    @property
    def artifacts_root(self) -> str:
        """Path or URL of the folder of harvests."""
        return self.artifacts or str(self.results / "artifacts")

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Read a URL that holds a password from the file that AUTOINTERP_..._FILE names, as for container secrets."""
        for name in ("ledger", "broker"):
            variable = f"{PREFIX}{name.upper()}"
            path = os.environ.get(f"{variable}_FILE")
            if not path or name in data:
                continue
            try:
                url = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                raise ValueError(
                    f"{variable}_FILE: {path} cannot be read ({reason}): set it to a file that holds the URL"
                ) from None
            redaction.learn(redaction.passwords_in(url))
            data = data | {name: url}
        return data

    @field_validator("broker")
    @classmethod
    def _is_a_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = urlsplit(value.get_secret_value())
            complete = url.scheme in ("redis", "rediss") and bool(url.hostname) and (url.port or 6379) > 0
        except ValueError:
            complete = False
        if not complete:
            raise ValueError(
                "is not a Redis URL: write redis://:PASSWORD@HOST:6379/0, or rediss:// for TLS, with special characters of the"
                " password as %XX"
            )
        unknown = {name for name, _ in parse_qsl(url.query, keep_blank_values=True)} - TLS_OPTIONS
        if unknown or (url.query and url.scheme == "redis"):
            raise ValueError(
                f"has the option {sorted(unknown or {url.query.partition('=')[0]})[0]}: only rediss:// takes options, and only"
                f" {', '.join(sorted(TLS_OPTIONS))}"
            )
        return value

    @field_validator("ledger")
    @classmethod
    def _is_a_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError(
                "is not a database URL: write postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, or sqlite:///PATH"
            )
        return value


TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""Options that a `rediss://` URL may have after its question mark: paths of certificates."""
