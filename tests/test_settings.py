from __future__ import annotations

from pathlib import Path

import pytest

from autointerp.errors import UsageError
from autointerp.settings import PREFIX, Settings


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    import os

    for name in [n for n in os.environ if n.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_without_settings_everything_is_in_results(env: pytest.MonkeyPatch) -> None:
    settings = Settings.from_env()
    assert settings.ledger_url == "sqlite:///results/ledger.sqlite"
    assert settings.artifacts_root == "results/artifacts"
    assert settings.month_usd is None
    assert settings.broker_tls is None
    with pytest.raises(UsageError, match=r"^AUTOINTERP_BROKER is not set: "):
        _ = settings.broker_url


def test_every_setting_is_read(env: pytest.MonkeyPatch) -> None:
    values = {
        "LEDGER": "postgresql+psycopg://u:p@h/d",
        "BROKER": "rediss://:p@h:6380/1?ssl_certfile=/c.crt",
        "BROKER_CA": "/ca.pem",
        "RESULTS": "/srv/results",
        "ARTIFACTS": "s3://bucket/artifacts",
        "MONTH_USD": "250",
        "NIGHTLY": "/srv/nightly.toml",
        "LOG": "text",
        "LOG_LEVEL": "debug",
    }
    assert {name.lower() for name in values} == set(Settings.model_fields)
    for name, value in values.items():
        env.setenv(PREFIX + name, value)
    settings = Settings.from_env()
    assert settings.ledger_url == "postgresql+psycopg://u:p@h/d"
    assert settings.broker_url == "rediss://:p@h:6380/1"
    assert settings.broker_tls == {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": "/ca.pem",
        "ssl_certfile": "/c.crt",
    }
    assert settings.artifacts_root == "s3://bucket/artifacts"
    assert (settings.results, settings.month_usd, settings.nightly) == (
        Path("/srv/results"),
        250.0,
        Path("/srv/nightly.toml"),
    )
    assert (settings.log, settings.log_level) == ("text", "debug")


def test_an_empty_variable_counts_as_unset(env: pytest.MonkeyPatch) -> None:
    env.setenv("AUTOINTERP_LEDGER", "")
    env.setenv("AUTOINTERP_MONTH_USD", "")
    assert Settings.from_env() == Settings()
    assert Settings.from_env().month_usd is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MONTH_USD", "lots", "AUTOINTERP_MONTH_USD: "),
        ("MONTH_USD", "0", "AUTOINTERP_MONTH_USD: "),
        ("MONTH_USD", "nan", "AUTOINTERP_MONTH_USD: "),
        ("LOG", "xml", "AUTOINTERP_LOG: Input should be 'json' or 'text'"),
        ("BROKER", "amqp://hidden@h", "AUTOINTERP_BROKER: is not a Redis URL"),
        ("BROKER", "hidden", "AUTOINTERP_BROKER: is not a Redis URL"),
        ("BROKER", "redis://:hidden@h:many", "AUTOINTERP_BROKER: is not a Redis URL"),
        ("BROKER", "redis://:hidden@h?ssl_ca_certs=/x", "AUTOINTERP_BROKER: has the option ssl_ca_certs"),
        ("BROKER", "rediss://:hidden@h?ssl_cert_reqs=none", "AUTOINTERP_BROKER: has the option ssl_cert_reqs"),
        ("LEDGER", "postgres://u:hidden@h/d", "AUTOINTERP_LEDGER: is not a database URL"),
    ],
)
def test_a_wrong_value_is_one_line_without_its_secret(
    env: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    env.setenv(PREFIX + name, value)
    with pytest.raises(UsageError) as caught:
        Settings.from_env()
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "url"), [("LEDGER", "postgresql+psycopg://u:p@h/d"), ("BROKER", "redis://:p@h:6379/0")]
)
def test_a_url_may_be_read_from_a_file(env: pytest.MonkeyPatch, tmp_path: Path, name: str, url: str) -> None:
    (tmp_path / "secret").write_text(url + "\n")
    env.setenv(f"{PREFIX}{name}_FILE", str(tmp_path / "secret"))
    settings = Settings.from_env()
    assert (settings.ledger_url if name == "LEDGER" else settings.broker_url) == url


def test_a_missing_secret_file_is_named(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env.setenv("AUTOINTERP_BROKER_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"^AUTOINTERP_BROKER_FILE: .*none cannot be read \(No such file"):
        Settings.from_env()


def test_passwords_are_not_shown(env: pytest.MonkeyPatch) -> None:
    env.setenv("AUTOINTERP_BROKER", "redis://:hidden@h")
    env.setenv("AUTOINTERP_LEDGER", "postgresql+psycopg://u:hidden@h/d")
    assert "hidden" not in f"{Settings.from_env()!r}{Settings.from_env()}"
