"""`autointerp spec`, `rubrics`, `scorers`, `doctor` and `completion`: what the program offers, and what this machine has."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from autointerp.cli.common import RESULTS, complain, one_line_errors
from autointerp.cli.lazy_group import LazyCommand, LazyGroup
from autointerp.errors import UsageError


@click.command()
@one_line_errors()
def rubrics() -> None:
    """List the rubrics that a spec can name, with their levels."""
    from autointerp.spec import rubric

    for name in rubric.available():
        loaded = rubric.load(name)
        click.echo(f"{loaded.name} (version {loaded.version})")
        for level in loaded.levels:
            click.echo(f"  {level.grade}  {level.text}")


@click.command()
@one_line_errors()
def spec() -> None:
    """Print every key that a spec may hold, with its default."""
    from autointerp.spec.template import template

    click.echo(template())


_RANK = LazyCommand(
    "autointerp.cli.rank_scorers",
    "rank",
    "Rank the evaluations by how well they tell right explanations from wrong ones.",
)


@click.group(cls=LazyGroup, sections={"Commands": {"rank": _RANK}}, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def scorers(context: click.Context, as_json: bool) -> None:
    """List the other evaluations (`score.also`): what each asks, of which model, and where it is defined."""
    if context.invoked_subcommand is not None:
        return
    from autointerp.scorers import registry

    offered = []
    for name in registry.names():
        try:
            offered.append(registry.scorer(name))
        except UsageError as error:  # one broken package must not hide the others
            complain(error)
    if as_json:
        facts = [
            {
                "name": scorer.name,
                "source": scorer.source,
                "needs_explanation": scorer.needs_explanation,
                "steps": list(scorer.steps),
                "chance": scorer.chance,
                "figures": dict(scorer.figures),
            }
            for scorer in offered
        ]
        click.echo(json.dumps(facts, indent=1))
        return
    models = {"ask": "judge", "run": "subject"}
    for scorer in offered:
        asked = ", then ".join(models[step] for step in scorer.steps) or "no model"
        needs = "" if scorer.needs_explanation else "; needs no explanation"
        click.echo(f"{scorer.name}  ({scorer.source})")
        click.echo(f"  asks {asked}{needs}")
        for figure, meaning in scorer.figures.items():
            click.echo(f"  {figure}: {meaning}")


@click.command()
@RESULTS
@one_line_errors()
def doctor(results: Path) -> int:
    """Check what is installed, which keys are set, which device would be used, and what would fail."""
    from autointerp.monitoring.doctor import examine

    checks = examine(results)
    for check in checks:
        mark = {True: "ok  ", False: "FAIL", None: "note"}[check.ok]
        click.echo(f"{mark}  {check.name:<22} {check.detail}" + (f"  -> {check.remedy}" if check.remedy else ""))
    return 2 if any(check.ok is False for check in checks) else 0


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL, to be sourced from its start-up file."""
    kind = get_completion_class(shell)
    assert kind is not None
    program = click.get_current_context().find_root().command
    click.echo(kind(program, {}, "autointerp", "_AUTOINTERP_COMPLETE").source())
