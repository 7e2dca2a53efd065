from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from autointerp.ledger.revisions import revisions
from autointerp.monitoring import doctor

SECRET = "sk-ant-api03-not-a-real-key"


def test_every_check_is_listed_and_no_key_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in doctor.KEYS:
        monkeypatch.setenv(name, SECRET)
    checks = doctor.examine(tmp_path / "results")
    assert [c.name for c in checks] == [
        "python", "packages", "device", "keys", "hub", "memory", "cache", "cache disk", "results", "results disk", "ledger", "browser",
    ]  # fmt: skip
    assert SECRET not in repr(checks)
    assert all(c.remedy for c in checks if c.ok is False)
    assert not (tmp_path / "results").exists(), "looking must not leave anything behind"


def test_keys_are_named_when_set_and_blank_ones_count_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", "  ")
    check = doctor.check_keys()
    assert check.ok is True
    assert check.detail.startswith("set: ANTHROPIC_API_KEY; not set: ANTHROPIC_AUTH_TOKEN (")
    assert "OPENAI_API_KEY (openai/MODEL)" in check.detail
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert doctor.check_keys().ok is None


def test_a_missing_or_old_package_fails_and_an_untested_one_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"numpy": "2.4.6", "pandas": "3.1.1", "torch": "2.13.0+cpu"}

    def version(name: str) -> str:
        if name not in installed:
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    required = ["numpy>=2", "pandas<4,>=3", "torch>=2.6", 'pytest>=9; extra == "dev"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: required)
    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    tested = {"numpy": {"2.4.6", "2.5.5"}, "pandas": {"3.1.1"}, "torch": {"2.13.0"}}
    monkeypatch.setattr(doctor, "tested_versions", lambda: tested)
    assert doctor.check_packages().ok is True, doctor.check_packages().detail
    installed["pandas"] = "3.2.0"
    assert doctor.check_packages().detail == "not the tested versions: pandas 3.2.0 (tested: 3.1.1)"
    installed["pandas"] = "2.9"
    del installed["numpy"]
    check = doctor.check_packages()
    assert (check.ok, check.detail) == (False, "numpy is missing; pandas 2.9 is not <4,>=3")
    assert check.remedy == "run `make demo`"
    monkeypatch.setattr(doctor, "tested_versions", dict)  # as in a wheel
    assert doctor.check_packages().remedy == "run `pip install --upgrade autointerp-eval`"


def test_the_lock_pins_every_requirement_and_names_no_address() -> None:
    import tomllib

    from packaging.requirements import Requirement

    root = Path(doctor.__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["name"] == doctor.DISTRIBUTION
    pinned = doctor.tested_versions()
    extras = project["optional-dependencies"]
    lines = [line for name in ("anthropic", "openai", "service", "llm", "dev") for line in extras[name]]
    for line in project["dependencies"] + [line for line in lines if not line.startswith(doctor.DISTRIBUTION)]:
        requirement = Requirement(line)
        versions = pinned[requirement.name.lower()]
        assert all(requirement.specifier.contains(v) for v in versions), f"{line}: {versions}: run `make lock`"
    text = (root / "constraints.txt").read_text()
    assert "/" not in text
    assert "@" not in text


@pytest.mark.parametrize(("value", "ok"), [("1", None), ("TRUE", None), ("0", True), ("", True)])
def test_offline_mode_is_reported(value: str, ok: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert doctor.check_hub().ok is ok


def test_a_folder_without_write_access_is_reported(tmp_path: Path) -> None:
    assert doctor.write_problem(tmp_path) == ""
    assert "cannot be written" in doctor.write_problem(tmp_path / "absent")
    assert doctor.check_results(tmp_path / "not" / "yet" / "there").ok is True
    assert doctor.check_results(Path("/proc/autointerp")).ok is False


def test_the_size_of_the_cache_is_reported(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    with (tmp_path / "deep" / "weights").open("wb") as file:
        file.truncate(doctor.GIB // 2)
    assert doctor.check_cache(tmp_path) == doctor.Check("cache", True, f"{tmp_path}, 0.50 GiB")


def test_the_ledger_is_readable_of_a_known_schema_or_refused(tmp_path: Path) -> None:
    from autointerp.ledger.database import Ledger

    assert doctor.check_ledger(tmp_path).ok is True
    Ledger.in_folder(tmp_path).close()
    newest = revisions()[-1]
    assert doctor.check_ledger(tmp_path) == doctor.Check("ledger", True, f"{tmp_path}/ledger.sqlite, schema {newest}")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'future'")
    connection.close()
    check = doctor.check_ledger(tmp_path)
    assert (check.ok, check.remedy) == (False, "upgrade autointerp")
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    assert "cannot be read" in doctor.check_ledger(tmp_path).detail


def test_the_module_loads_without_heavy_packages() -> None:
    heavy = ("torch", "transformers", "anthropic", "openai", "pandas", "sqlalchemy", "alembic", "numpy")
    code = f"import sys, autointerp.monitoring.doctor; sys.exit(','.join(m for m in {heavy} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
