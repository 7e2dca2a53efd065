"""The command line. Commands are thin, and import what is heavy only when they run."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import click

from autointerp.errors import WITHHELD_EXIT_CODE, AutointerpError

P = ParamSpec("P")
RESULTS = click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder for runs, their ledger and their artifacts.",
)
SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the spec.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Harvest, then say what judging will cost. Calls no judge.")
QUIET = click.option("--quiet", is_flag=True, help="Show no progress.")


def _errors_in_one_line(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turn every expected error into one line on stderr and its exit code."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or 0
        except AutointerpError as error:
            click.echo(f"autointerp: {' '.join(str(error).split())}", err=True)
            code = error.exit_code
        except KeyboardInterrupt:
            click.echo("autointerp: stopped; everything done so far is kept: run the same command to go on", err=True)
            code = 130
            _leave_calls_in_flight(code)
        except Exception as error:
            if type(error).__module__ != "sae.errors":
                raise
            click.echo(f"autointerp: {' '.join(str(error).split())}", err=True)
            code = 2
        sys.exit(code)

    return wrapped


def _leave_calls_in_flight(code: int) -> None:
    """Exit at once where threads still wait for replies, as after a second Ctrl-C: the ledger knows of them."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="autointerp-eval", prog_name="autointerp")
def main() -> None:
    """How interpretable is a dictionary, against the model's own neurons, at every activation strength?

    Exit codes: 0 done; 2 the spec or an argument is wrong; 3 done, but the headline is withheld; 4 stopped by the budget;
    5 stopped by the provider. After 4 and 5, and after Ctrl-C, the same command goes on where it stopped.
    """


@main.command()
@click.argument("spec", type=click.Path(path_type=Path))
@SET
@DRY_RUN
@RESULTS
@QUIET
@_errors_in_one_line
def run(spec: Path, overrides: tuple[str, ...], dry_run: bool, results: Path, quiet: bool) -> int:
    """Evaluate the dictionary that SPEC (a TOML file) names, and write the report."""
    from autointerp.spec import load

    return _carry(load(spec, overrides), results, dry_run=dry_run, quiet=quiet)


@main.command()
@click.option("--judge", metavar="PROVIDER/MODEL", help="Who explains and scores instead of the embedded baseline.")
@click.option("--judge-url", metavar="URL", help="Where an OpenAI-compatible server listens.")
@click.option("--llm", is_flag=True, help="Use a small local language model as judge: a download of 1.1 GB.")
@SET
@DRY_RUN
@RESULTS
@QUIET
@_errors_in_one_line
def demo(
    judge: str | None,
    judge_url: str | None,
    llm: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    results: Path,
    quiet: bool,
) -> int:
    """Evaluate a real dictionary, trained here in minutes on SmolLM2-135M, end to end."""
    from autointerp import demo as demo_
    from autointerp import demo_judge
    from autointerp.progress import Progress

    with Progress(quiet=quiet) as progress, demo_judge.choose(judge, judge_url, llm, progress.tell) as chosen:
        if demo_.is_first():
            progress.note(
                "The first demo here downloads 150 MB, trains a dictionary and reads a corpus: ten minutes or so on two"
                " cores. Ctrl-C keeps what is done."
            )
        spec = demo_.prepare_spec(chosen.settings, (*chosen.overrides, *overrides), progress.tell)
        return _carry(spec, results, dry_run=dry_run, quiet=quiet, progress=progress)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the dictionary."
)
@SET
@QUIET
@_errors_in_one_line
def train(config: Path, out: Path, overrides: tuple[str, ...], quiet: bool) -> None:
    """Train a dictionary as CONFIG (a TOML file) says, and save it in SAELens' format. Resumes what is in --out."""
    from autointerp.progress import Progress
    from autointerp.training import load, train_from

    with Progress(quiet=quiet) as progress:
        report = train_from(load(config, overrides), out, progress.tell)
    click.echo(
        f"{out}: L0 {report.l0:.1f}, explained variance {report.explained_variance:.3f}, "
        f"dead {report.dead_fraction:.1%}, {report.tokens:,} tokens in {report.seconds:.0f} s"
    )


@main.command()
@click.argument("run_id", metavar="RUN", shell_complete=lambda ctx, param, text: _run_ids(text))
@RESULTS
@_errors_in_one_line
def report(run_id: str, results: Path) -> None:
    """Write the report of RUN again from the files in its folder."""
    from autointerp import report as report_
    from autointerp.errors import UsageError

    folder = results / run_id
    if not (folder / "summary.json").exists():
        raise UsageError(f"{folder} holds no summary.json: `autointerp runs` lists the runs there are")
    report_.write(folder)
    click.echo(folder / "report.html")


@main.command()
@RESULTS
@_errors_in_one_line
def runs(results: Path) -> None:
    """List the runs in the results folder, newest first."""
    from autointerp.listing import list_runs

    for line in list_runs(results):
        click.echo(line)


@main.command()
@click.argument("run_id", metavar="RUN", shell_complete=lambda ctx, param, text: _run_ids(text))
@RESULTS
@_errors_in_one_line
def status(run_id: str, results: Path) -> None:
    """Say how far RUN is: jobs by stage and state, unscored by reason, cost."""
    from autointerp.listing import describe_run

    for line in describe_run(results, run_id):
        click.echo(line)


@main.command()
@_errors_in_one_line
def rubrics() -> None:
    """List the rubrics that a spec can name, with their levels."""
    from autointerp import rubric

    for name in rubric.available():
        loaded = rubric.load(name)
        click.echo(f"{loaded.name} (version {loaded.version})")
        for level in loaded.levels:
            click.echo(f"  {level.grade}  {level.text}")


@main.command("spec")
@_errors_in_one_line
def spec_() -> None:
    """Print every key that a spec may hold, with its default."""
    from autointerp.template import template

    click.echo(template())


@main.command()
@RESULTS
@_errors_in_one_line
def doctor(results: Path) -> int:
    """Say what is installed, which keys are set, which device would be used, and what would fail."""
    from autointerp.doctor import examine

    checks = examine(results)
    for check in checks:
        mark = {True: "ok  ", False: "FAIL", None: "note"}[check.ok]
        click.echo(f"{mark}  {check.name:<22} {check.detail}" + (f"  -> {check.remedy}" if check.remedy else ""))
    return 2 if any(check.ok is False for check in checks) else 0


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL, to be sourced from its start-up file."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "autointerp", "_AUTOINTERP_COMPLETE").source())


def _carry(spec: Any, results: Path, *, dry_run: bool, quiet: bool, progress: Any = None) -> int:
    """Estimate or carry a run, print the verdict, and return the exit code."""
    from contextlib import nullcontext

    from autointerp import estimate, local
    from autointerp.ledger import Ledger
    from autointerp.progress import Progress
    from autointerp.report.index import write as write_index
    from autointerp.report.words import verdict

    with nullcontext(progress) if progress else Progress(quiet=quiet) as bars:
        run_ = local.prepare(spec, results, bars)
        ledger = Ledger.in_folder(results)
        forecast = estimate.forecast(run_, ledger)
        if dry_run:
            click.echo(forecast.describe())
            return 0
        if forecast.asks_llm:
            bars.note(forecast.describe())
        summary = local.carry(run_, ledger, bars, command=["autointerp", *sys.argv[1:]])
        write_index(results)
    headline = summary["headline"]
    click.echo(verdict(summary).sentence)
    click.echo(run_.folder / "report.html")
    return WITHHELD_EXIT_CODE if headline.get("withheld") else 0


def _run_ids(text: str) -> list[str]:
    return sorted(p.parent.name for p in Path("results").glob(f"{text}*/summary.json"))


if __name__ == "__main__":
    main()
