"""`autointerp cover`: which concepts of a list dictionaries have features for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autointerp.cli.common import NumberRange, one_line_errors
from autointerp.cli.studies.options import carry_out, study_options
from autointerp.studies.given import Given

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("lists", nargs=-1, metavar="[LIST]...")
@click.option(
    "--concepts", "files", type=_FILE, multiple=True, help="A TOML file with a list of your own. May be repeated."
)
@click.option(
    "--top",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="Most active features of a concept that are looked at.",
)
@click.option(
    "--others",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Other concepts of the list on which a specific feature may fire.",
)
@click.option(
    "--rate",
    type=NumberRange(0, 1),
    default=0.001,
    show_default=True,
    help="Share of the text's tokens on which a specific feature may fire.",
)
@click.option(
    "--tokens",
    type=click.IntRange(1),
    default=200_000,
    show_default=True,
    help="Tokens on which a feature has to fire to be alive.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws these tokens.")
@click.option("--rubric", type=_FILE, help="The judge's rubric.  [default: rubrics/completeness/presence.toml]")
@study_options(judge=True)
@one_line_errors()
def cover(given: Given, **settings: Any) -> int:
    """Count the concepts of lists for which dictionaries have features, against the concepts' frequency.

    \b
    autointerp cover elements boroughs --from latest

    LIST is animals, boroughs, elements or foods; without a LIST and --concepts, all four. A concept is found by activation if one of the
    features that are most active at its name is specific to it, and with --judge also if their explanations say so. The frequency is
    that of ` Name ` in the run's text, or in --corpus. With several dictionaries, one curve is drawn against frequency times alive features.
    """
    return carry_out(given, "cover", **settings)
