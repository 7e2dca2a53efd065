"""`autointerp categories`."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import NumberRange, one_line_errors
from autointerp.cli.studies.options import carry_out, study_options
from autointerp.studies.given import Given


@click.command()
@click.option(
    "--category", "chosen", multiple=True, metavar="NAME", help="Only this category. May be repeated.  [default: all]"
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A TOML file of your categories in place of the built-in ones.",
)
@click.option(
    "--fdr", type=NumberRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
    help="Expected share of features called found that are not, in each category.",
)  # fmt: skip
@study_options()
@one_line_errors()
def categories(given: Given, chosen: tuple[str, ...], file: Path | None, fdr: float) -> int:
    """Find features that respond to safety and other categories, and measure how general features are.

    \b
    autointerp categories --from latest
    autointerp categories --from latest --category bias --category self

    Every feature is compared on probe texts of a category and on matched controls. Generality is the share of a dictionary's
    firing that is kept when the same content is in another language, or in code and in prose. Finding a feature is not finding the
    behaviour.
    """
    return carry_out(given, "categories", file=str(file) if file else None, chosen=chosen, fdr=fdr)
