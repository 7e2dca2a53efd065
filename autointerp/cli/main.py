"""The command line. Commands are thin, and import what is heavy only when they run."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from autointerp.cli import service
from autointerp.cli.common import QUIET, RESULTS, SET, one_line_errors, run_argument, the_ledger
from autointerp.cli.dictionaries import dictionaries
from autointerp.cli.inspect_dictionary import inspect
from autointerp.cli.judges import judges
from autointerp.cli.label import label
from autointerp.cli.plan import plan
from autointerp.cli.scorers import scorers_command
from autointerp.errors import WITHHELD_EXIT_CODE

DRY_RUN = click.option("--dry-run", is_flag=True, help="Harvest, then say what judging will cost. Calls no judge.")


class Commands(click.Group):
    """Lists the commands of one machine and those of the service apart."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with_workers = {command.name for command in service.COMMANDS}
        for title, names in (
            ("On this machine", [name for name in self.commands if name not in with_workers]),
            ("With workers", [name for name in self.commands if name in with_workers]),
        ):
            limit = formatter.width - 6 - max(map(len, self.commands))
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit)) for name in names])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="autointerp-eval", prog_name="autointerp")
def main() -> None:
    """How interpretable is a dictionary, against the model's own neurons, at every activation strength?

    Exit codes: 0 done; 2 the spec or an argument is wrong; 3 done, but the headline is withheld; 4 stopped by the budget;
    5 stopped by the provider. After 4 and 5, and after Ctrl-C, the same command goes on where it stopped.
    """


@main.command()
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path))
@SET
@DRY_RUN
@RESULTS
@QUIET
@one_line_errors()
def run(specs: tuple[Path, ...], overrides: tuple[str, ...], dry_run: bool, results: Path, quiet: bool) -> int:
    """Evaluate the dictionary that each SPEC (a TOML file) names, and write the reports.

    Dictionaries that read the same subject and corpus are harvested in one pass.
    """
    from autointerp.pipeline import local
    from autointerp.progress import Progress
    from autointerp.spec.spec import load

    loaded = [load(spec, overrides) for spec in specs]
    if len(loaded) > 1:
        with Progress(quiet=quiet) as progress:
            local.harvest_together(loaded, results, progress)
    return max([_carry(spec, results, dry_run=dry_run, quiet=quiet) for spec in loaded])


@main.command()
@click.option("--judge", metavar="PROVIDER/MODEL", help="Who explains and scores instead of the embedded baseline.")
@click.option("--judge-url", metavar="URL", help="Where an OpenAI-compatible server listens.")
@click.option("--llm", is_flag=True, help="Use a small local language model as judge: a download of 1.1 GB.")
@SET
@DRY_RUN
@RESULTS
@QUIET
@one_line_errors()
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
    from autointerp.demo import judge as demo_judge
    from autointerp.demo import spec as demo_
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
@click.option("--sweep", is_flag=True, help="Train the grid of the table [sweep], and fit the scaling laws.")
@click.option("--dry-run", is_flag=True, help="Say what it will cost, from a probe of seconds. Trains nothing.")
@SET
@QUIET
@one_line_errors()
def train(config: Path, out: Path, sweep: bool, dry_run: bool, overrides: tuple[str, ...], quiet: bool) -> None:
    """Train the dictionaries of CONFIG (a TOML file), and save them in SAELens' format. Resumes what is in --out."""
    from autointerp.dictionaries import scaling_report, training_file
    from autointerp.progress import Progress

    file = training_file.load(config, overrides)
    with Progress(quiet=quiet) as progress:
        if dry_run:
            said = [scaling_report.cost(training_file.cost_of(file, progress.tell, sweep=sweep))]
        elif sweep:
            cells, laws = training_file.sweep_from(file, out, progress.tell)
            scaling_report.write(out, cells, laws, f"Scaling of {file.config().architecture} at {file.hook_point}")
            said = [*scaling_report.sentences(laws), str(out / "sweep.svg")]
        else:
            said = [
                f"{folder}: L0 {report.l0:.1f}, explained variance {report.explained_variance:.3f}, "
                f"dead {report.dead_fraction:.1%}, {report.tokens:,} tokens in {report.seconds:.0f} s"
                for folder, report in training_file.train_from(file, out, progress.tell).items()
            ]
    click.echo("\n".join(said))


@main.command()
@run_argument()
@RESULTS
@one_line_errors()
def report(run_id: str, results: Path) -> None:
    """Write the report of RUN again, with the labels that people gave since; without its ledger, from the files in its folder."""
    from autointerp import report as report_
    from autointerp.errors import UsageError
    from autointerp.harvest.artifacts import Artifacts
    from autointerp.pipeline import stages
    from autointerp.settings import Settings

    folder = results / run_id
    if not (folder / "summary.json").exists():
        raise UsageError(f"{folder} holds no summary.json: `autointerp runs` lists the runs there are")
    root = Settings.from_env().artifacts or str(results / "artifacts")
    remade = False
    with suppress(UsageError):  # a folder that was copied here has no ledger
        remade = stages.remake(the_ledger(results), run_id, results, Artifacts(root))
    if not remade:
        report_.write(folder)
    click.echo(folder / "report.html")


@main.command()
@RESULTS
@one_line_errors()
def runs(results: Path) -> None:
    """List the runs in the ledger, newest first."""
    from autointerp.monitoring.run_list import list_runs

    for line in list_runs(the_ledger(results), results):
        click.echo(line)


@main.command()
@one_line_errors()
def rubrics() -> None:
    """List the rubrics that a spec can name, with their levels."""
    from autointerp.spec import rubric

    for name in rubric.available():
        loaded = rubric.load(name)
        click.echo(f"{loaded.name} (version {loaded.version})")
        for level in loaded.levels:
            click.echo(f"  {level.grade}  {level.text}")


@main.command("spec")
@one_line_errors()
def spec_() -> None:
    """Print every key that a spec may hold, with its default."""
    from autointerp.spec.template import template

    click.echo(template())


@main.command()
@RESULTS
@one_line_errors()
def doctor(results: Path) -> int:
    """Say what is installed, which keys are set, which device would be used, and what would fail."""
    from autointerp.monitoring.doctor import examine

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

    from autointerp.costs import run_forecast
    from autointerp.pipeline import local
    from autointerp.progress import Progress
    from autointerp.report.index import write as write_index
    from autointerp.report.prose import verdict

    with nullcontext(progress) if progress else Progress(quiet=quiet) as bars:
        run_ = local.prepare(spec, results, bars)
        ledger = the_ledger(results, make=True)
        forecast = run_forecast.forecast(run_, ledger)
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


for _command in (plan, inspect, judges, label, scorers_command, dictionaries, *service.COMMANDS):
    main.add_command(_command)


if __name__ == "__main__":
    main()
