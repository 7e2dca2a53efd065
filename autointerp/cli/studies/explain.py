"""`autointerp explain`."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import QUIET, RESULTS, YES, NumberRange, command_ledger, one_line_errors, run_argument
from autointerp.errors import UsageError
from autointerp.progress import Progress


@click.command()
@run_argument(required=False)
@click.option("--all", "everything", is_flag=True, help="Explain every feature; none is propagated to.")
@click.option(
    "--share",
    type=NumberRange(0, 1, min_open=True),
    metavar="X",
    help="Explain this share of the features.  [default: 0.01]",
)
@click.option("--units", type=click.IntRange(min=1), metavar="N", help="Explain this many features.")
@click.option("--propagate/--no-propagate", default=None, help="Give the other features the explanations of those.")
@click.option(
    "--min-probability", "least", type=NumberRange(0, 1), metavar="P",
    help="Least probability of a propagated explanation.  [default: that at which 90% are expected right]",
)  # fmt: skip
@click.option("--judge", metavar="PROVIDER/MODEL", help="The model that explains and judges in place of the run's.")
@click.option("--usd", type=NumberRange(min=0), help="Budget in dollars, a hard stop.")
@click.option("--dry-run", "dry", is_flag=True, help="Print what it will cost. Calls no judge.")
@YES
@RESULTS
@QUIET
@one_line_errors()
def explain(
    run_id: str | None,
    everything: bool,
    share: float | None,
    units: int | None,
    propagate: bool | None,
    least: float | None,
    judge: str | None,
    usd: float | None,
    dry: bool,
    agreed: bool,
    results: Path,
    quiet: bool,
) -> None:
    """Explain all features of RUN's index, or a share of them whose explanations the others get with a probability.

    \b
    autointerp explain latest --share 0.01 --dry-run
    autointerp explain latest --share 0.01 --usd 5
    autointerp explain latest --all --usd 100

    The run's judge is asked, in batches if the run uses them. The program chooses the features from which most others can take their
    explanation; features with one count as explained. Whether explanations are right for other features is judged for a few pairs, and from
    that follows the probability of each propagated one. Features for which none is probable enough stay unknown. RUN may also be the
    folder of a run's index.
    """
    if sum([everything, share is not None, units is not None]) > 1:
        raise UsageError("--all, --share and --units exclude each other: give one")
    if everything and propagate:
        raise UsageError("--all leaves no feature to propagate to: leave out --propagate, or give --share or --units")
    from autointerp.explorer import explain as inputs  # torch
    from autointerp.explorer.label_all import label_all, outcome

    folder, spec = inputs.index_and_spec(run_id, results, judge)
    request = label_all.Request(
        units=units,
        share=0.01 if share is None and units is None else share,
        everything=everything,
        propagate=not everything and propagate is not False,
        least_probability=least,
        usd=usd,
        agreed=agreed,
        dry=dry,
    )
    with Progress(quiet=quiet) as progress:
        found = label_all.label_all(folder, spec, command_ledger(results, make=True), request, progress)
    if found is None:
        return
    if found.curve:
        click.echo("\n".join(outcome.table(found.curve)) + "\n")
    click.echo(found.sentence())
