"""`autointerp scorers rank`: which figure can be trusted to tell right explanations from wrong ones?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from autointerp.cli.common import one_line_errors
from autointerp.league import ranking, table


@click.command("rank")
@click.option(
    "--worlds",
    type=click.IntRange(min=2),
    default=ranking.WORLDS,
    show_default=True,
    help="Number of planted worlds; an interval is over worlds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the further figures of every evaluation.")
@click.option(
    "--docs", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Write the tables into this page."
)
@one_line_errors()
def rank(worlds: int, as_json: bool, docs: Path | None) -> None:
    """Rank the evaluations by how well they tell right explanations from wrong ones.

    In planted worlds every explanation is known to be right, too broad, too narrow, a sibling's, a twin's, an absorbed parent's or
    another unit's. Printed is the AUROC of each figure, right against each kind of wrong, by three judges: one that knows which words
    an explanation covers, one that errs, and the embedded one. Needs neither a key nor a network.
    """
    league = ranking.rank(worlds)
    text = table.markdown(league, worlds)
    if docs:
        table.write_section(docs, text)
    click.echo(json.dumps(table.rows(league), indent=1) if as_json else text)
