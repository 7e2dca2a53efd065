"""Settings of the service, from environment variables that begin with AUTOINTERP_.

What to evaluate stands in specs; here stands only where the service keeps things and how it is reached. Each process reads
them once, when it starts. Values that hold passwords are never shown.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from autointerp.errors import UsageError

PREFIX = "AUTOINTERP_"


class Settings(BaseSettings):
    """Where the service's parts are. `Settings.from_env()` reads them and fails in one line."""

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
    """Folder of runs and reports."""

    artifacts: str | None = None
    """Path or fsspec URL under which harvests lie; by default `artifacts` in the results folder."""

    month_usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What all runs together may spend in a calendar month (UTC); by default no limit."""

    nightly: Path | None = None
    """TOML file that says what is scored every night."""

    log: Literal["json", "text"] | None = None
    """How log lines look; by default text on a terminal and JSON elsewhere."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged. Only `debug` may hold prompts and replies."""

    @classmethod
    def from_env(cls) -> Self:
        """Read the environment. Raises `UsageError`."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
            said = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"{name if first['loc'] else 'settings'}: {said}" if first["loc"] else said) from None

    @property
    def ledger_url(self) -> str:
        return self.ledger.get_secret_value() if self.ledger else f"sqlite:///{self.results / 'ledger.sqlite'}"

    @property
    def broker_url(self) -> str:
        """Redis's URL without its TLS options, which are in `broker_tls`. Raises `UsageError` where none is set."""
        if self.broker is None:
            raise UsageError(f"{PREFIX}BROKER is not set: give the URL of Redis, such as redis://:PASSWORD@HOST:6379/0")
        return urlunsplit(urlsplit(self.broker.get_secret_value())._replace(query=""))

    @property
    def broker_tls(self) -> dict[str, Any] | None:
        """redis-py's and kombu's arguments for TLS, or None for `redis://`. The server's certificate is always checked."""
        url = urlsplit(self.broker.get_secret_value() if self.broker else "")
        if url.scheme != "rediss":
            return None
        paths = {name: value for name, value in parse_qsl(url.query) if name in TLS_OPTIONS}
        authority = {"ssl_ca_certs": str(self.broker_ca)} if self.broker_ca else {}
        return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **authority, **paths}

    @property
    def artifacts_root(self) -> str:
        return self.artifacts or str(self.results / "artifacts")

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Take a URL that holds a password from the file that AUTOINTERP_..._FILE names, as container secrets are given."""
        for name in ("ledger", "broker"):
            variable = f"{PREFIX}{name.upper()}"
            path = os.environ.get(f"{variable}_FILE")
            if not path or name in data:
                continue
            try:
                data = data | {name: Path(path).read_text(encoding="utf-8").strip()}
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                raise ValueError(
                    f"{variable}_FILE: {path} cannot be read ({reason}): name a file that holds the URL"
                ) from None
        return data

    @field_validator("broker")
    @classmethod
    def _speaks_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = urlsplit(value.get_secret_value())
            complete = url.scheme in ("redis", "rediss") and bool(url.hostname) and (url.port or 6379) > 0
        except ValueError:
            complete = False
        if not complete:
            raise ValueError(
                "is not a URL of Redis: write redis://:PASSWORD@HOST:6379/0, or rediss:// for TLS, with the password's special"
                " characters as %XX"
            )
        unknown = {name for name, _ in parse_qsl(url.query, keep_blank_values=True)} - TLS_OPTIONS
        if unknown or (url.query and url.scheme == "redis"):
            raise ValueError(
                f"has the option {sorted(unknown or {url.query.partition('=')[0]})[0]}: only rediss:// takes options, and only {', '.join(sorted(TLS_OPTIONS))}"
            )
        return value

    @field_validator("ledger")
    @classmethod
    def _is_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError(
                "is not a URL of a ledger: write postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, or sqlite:///PATH"
            )
        return value


TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""What a `rediss://` URL may say after its question mark: paths of certificates."""
