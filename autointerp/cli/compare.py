"""`autointerp compare`: finished runs against each other."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import RESULTS, NumberRange, finished_run, one_line_errors, run_argument


@click.command()
@run_argument(nargs=-1)
@click.option(
    "--plan", "difference", type=float, metavar="GRADES", help="Say how large runs must be to see this difference."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to.  [default: in results/comparisons]",
)
@click.option(
    "--confidence",
    type=NumberRange(0.5, 0.999),
    default=0.95,
    show_default=True,
    help="Confidence of the intervals, for all pairs together.",
)
@RESULTS
@one_line_errors()
def compare(
    run_ids: tuple[str, ...], difference: float | None, out: Path | None, confidence: float, results: Path
) -> None:
    """Say whether finished runs are better or worse than the first RUN, or that it cannot be told.

    Runs over the same units are paired by unit and exemplar, other runs by the texts that they share. A RUN is an id, the beginning of one, `latest` or a folder. Runs
    over dictionaries that differ only in the seed of their training are joined by commas, as in RUN,RUN. Three runs or more are compared
    in all pairs that differ in one thing. A spec file with a [matrix] in place of RUNs stands for the runs of its cells.

    With --plan, one RUN tells how many features and judgements a difference between two dictionaries takes; two that grade the same
    exemplars tell it for judges, explainers or prompts that differ like theirs. No judge is asked.
    """
    from autointerp.comparisons import command

    run_ids = tuple(
        ",".join(name if Path(name).is_dir() else finished_run(name, results) for name in side.split(",") if name)
        for side in run_ids
    )
    said = (
        command.compare_runs(run_ids, results, out, confidence)
        if difference is None
        else command.plan(difference, run_ids, results, confidence)
    )
    for line in said:
        click.echo(line)
