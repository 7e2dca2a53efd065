"""What the commands of studies share: the options that name their inputs, and how a study is carried out and printed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from autointerp.cli.common import QUIET, RESULTS, SET, YES, NumberRange, finished_run
from autointerp.errors import UsageError
from autointerp.progress import Progress
from autointerp.studies.given import Given

_PIPE_COLUMNS = 200
"""Columns of a table's lines where there is no terminal."""
TEXTS = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A file of texts, one a line, which `lines` reads."""
_INPUTS = (
    click.option(
        "--from", "runs", multiple=True, metavar="RUN",
        help="A finished run, or a spec file: its subject, dictionary, text and explanations. May be repeated.",
    ),
    click.option("--subject", metavar="MODEL", help="A hub id, folder or .gguf file, if no run names it."),
    click.option("--dictionary", "dictionaries", multiple=True, metavar="PATH", help="A further dictionary of the subject. May be repeated."),
    click.option("--corpus", multiple=True, metavar="FILE", help="Text in place of the run's. May be repeated."),
    click.option("--hook-point", metavar="NAME", help="Hook point of each --dictionary, if its files do not state it."),
    click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write to.  [default: in the run's folder]"),
    click.option("--json", "as_json", is_flag=True, help="Print the contents of study.json."),
    RESULTS,
    QUIET,
)  # fmt: skip
_JUDGE = (
    click.option("--judge", metavar="PROVIDER/MODEL", help="The LLM that judges. Without one, nothing is judged."),
    click.option("--usd", type=NumberRange(min=0), help="Budget in dollars, a hard stop."),
    YES,
    click.option("--dry-run", is_flag=True, help="Compute what needs no judge, and print what judging will cost."),
    SET,
)  # fmt: skip


def study_options(*, judge: bool = False) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Add the shared options to a command, which gets their values as `given`; with `judge`, also those of a judge."""

    def decorate(command: Callable[..., int | None]) -> Callable[..., int | None]:
        names = Given.__dataclass_fields__

        @wraps(command)
        def wrapped(**options: Any) -> int | None:
            given = Given(**{name: options.pop(name) for name in names if name in options})
            return command(given=given, **options)

        for option in reversed(_INPUTS + (_JUDGE if judge else ())):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def lines(path: Path | None) -> tuple[str, ...]:
    """The lines of a file that are not blank; none without a file. Raises `UsageError` if it has none or is not UTF-8."""
    if path is None:
        return ()
    try:
        found = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8: save it as UTF-8") from None
    if not found:
        raise UsageError(f"{path} is empty: write one text a line")
    return found


def carry_out(given: Given, name: str, **settings: Any) -> int:
    """Carry out the study `name` with its settings, and print the finding and the path of its page."""
    finding(given, name, **settings)
    return 0


def finding(given: Given, name: str, **settings: Any) -> dict[str, Any]:
    """The contents of `study.json` after `carry_out`; empty after a dry run."""
    from autointerp.studies import command  # torch

    runs = tuple(run if run.endswith(".toml") else finished_run(run, given.results) for run in given.runs)
    with Progress(quiet=given.quiet) as progress:
        outcome = command.carry_out(replace(given, runs=runs), name, settings, progress)
    if outcome is None:
        return {}
    if given.as_json:
        click.echo(json.dumps(outcome.values, indent=1, ensure_ascii=False))
        return outcome.values
    for line in outcome.lines():
        progress.say_sentence(line)
    if rows := "\n".join(outcome.first_table(shutil.get_terminal_size((_PIPE_COLUMNS, 0)).columns)):
        click.echo(f"\n{rows}\n")
    progress.say_path("Tables and figures:", outcome.page)
    return outcome.values
