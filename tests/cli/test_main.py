"""The command line as a user meets it: instant help, one-line errors, exit codes, completion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from autointerp.cli import lazy_group
from autointerp.cli.main import main

HEAVY = ("torch", "transformers", "anthropic", "openai", "pandas", "sqlalchemy", "pydantic", "scipy", "rich", "celery")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from autointerp.cli.main import main; main(['--help'], standalone_mode=False);"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [
        name for name in main.list_commands(click.Context(main)) if not any(line.split()[:1] == [name] for line in said)
    ] == []
    assert said[-1] == "[]"


def test_ctrl_c_while_a_command_is_imported_ends_it_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(module: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lazy_group, "import_module", interrupted)
    result = CliRunner().invoke(main, ["runs"])
    assert result.exit_code == 130
    assert result.stderr == "autointerp: stopped before anything was done\n"


def test_the_help_of_no_command_imports_what_the_command_needs() -> None:
    modules = sorted({place.module for commands in main.sections.values() for place in commands.values()})
    code = (
        f"import sys, importlib; [importlib.import_module(m) for m in {modules!r} if not m.endswith('.status')];"
        f"print([m for m in {HEAVY!r} if m != 'rich' and m in sys.modules]); import autointerp.cli.status;"
        "print([m for m in ('torch', 'pandas', 'scipy', 'anthropic', 'openai', 'celery') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n[]\n"


def test_commands_that_only_look_import_no_tables() -> None:
    code = (
        "import sys; import autointerp.cli.status, autointerp.pipeline.submit;"
        "print([m for m in ('torch', 'pandas', 'scipy.stats') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"


def test_every_command_has_help() -> None:
    for name in main.list_commands(click.Context(main)):
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.toml"], ["nowhere.toml does not exist", "autointerp spec"]),
        (["status", "nothing"], ["results holds no ledger"]),
        (["open"], ["no latest run yet", "autointerp run SPEC"]),
        (["logs", "nothing"], ["results holds no ledger"]),
        (["report", "nothing"], ["summary.json", "autointerp runs"]),
        (["train", "nowhere.toml", "--out", "x"], ["nowhere.toml does not exist"]),
        (["demo", "--judge", "nonsense", "--dry-run"], ["nonsense", "anthropic/MODEL"]),
        (["demo", "--judge", "anthropic/x", "--judge-url", "http://127.0.0.1:1/v1"], ["--judge-url", "anthropic/x"]),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_2(
    arguments: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert [word for word in words if word not in result.stderr] == []
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("word", ["runs", "status", "logs", "workers"])
def test_a_folder_without_runs_is_no_error(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [word])
    assert (result.exit_code, result.stderr) == (0, "")
    said = "no workers: start this host's with" if word == "workers" else "no runs yet in results: start one with"
    assert result.stdout.startswith(said)
    assert not (tmp_path / "results").exists()


def test_rubrics_and_spec_print_names_and_defaults() -> None:
    listed = CliRunner().invoke(main, ["rubrics"]).output
    assert "specificity" in listed
    assert "3  The feature cleanly identifies the activating text." in listed
    assert "[judge]" in CliRunner().invoke(main, ["spec"]).output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_AUTOINTERP_COMPLETE" in result.output
