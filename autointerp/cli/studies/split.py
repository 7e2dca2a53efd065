"""`autointerp split`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autointerp.cli.common import NumberRange, one_line_errors
from autointerp.cli.studies.options import TEXTS, carry_out, lines, study_options
from autointerp.studies.given import Given


@click.command()
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    help="Tokens of the corpus that are read.",
)
@click.option(
    "--cosine",
    type=NumberRange(0, 1),
    default=0.7,
    show_default=True,
    help="Smallest decoder cosine of a feature with the one in another dictionary in which it is found again.",
)
@click.option(
    "--child-cosine",
    type=NumberRange(0, 1),
    default=0.4,
    show_default=True,
    help="Smallest decoder cosine of a child with its parent.",
)
@click.option(
    "--asked",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Questions to the judge about absorbed tokens, at most.",
)
@click.option(
    "--witness-texts",
    nargs=2,
    type=TEXTS,
    metavar="FILE FILE",
    help="Texts that end in a token of a concept, and texts that do not, one a line: a linear probe of them is a further witness of"
    " absorption.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the sample of tokens.")
@study_options(judge=True)
@one_line_errors()
def split(given: Given, witness_texts: tuple[Path, Path] | None, **settings: Any) -> int:
    """Say how features split, which are found again, and what absorbs them.

    Compares two or more dictionaries of one place in one model, of several sizes or seeds. All read the same tokens in one pass.

    \b
    autointerp split --from latest --dictionary wider/ --dictionary other-seed/
    """
    positive, negative = map(lines, witness_texts or (None, None))
    return carry_out(given, "split", positive=positive, negative=negative, **settings)
