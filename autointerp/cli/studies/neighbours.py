"""`autointerp neighbours`."""

from __future__ import annotations

import click

from autointerp.cli.common import one_line_errors
from autointerp.cli.studies.options import carry_out, study_options
from autointerp.errors import UsageError
from autointerp.studies.given import Given


@click.command()
@click.option(
    "--unit",
    "units",
    multiple=True,
    metavar="UNIT",
    help="List the neighbours of this feature only, and label them on the map. May be repeated.",
)
@click.option(
    "-k", "--nearest", type=click.IntRange(1, 1000), default=10, show_default=True, help="Neighbours of each feature."
)
@click.option(
    "--map",
    "map_",
    type=click.Choice(["pca", "umap", "none"]),
    default="pca",
    show_default=True,
    help="How the map is laid out; umap needs umap-learn.",
)
@click.option(
    "--groups",
    metavar="N,N",
    help="Groups on each level, the most first, such as 60,8; 0 for none.  [default: by the number of features]",
)
@click.option(
    "--minimum", type=click.IntRange(min=3), default=5, show_default=True, help="Features of a group at least."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of what is drawn at random.")
@study_options(judge=True)
@one_line_errors()
def neighbours(
    given: Given, units: tuple[str, ...], nearest: int, map_: str, groups: str | None, minimum: int, seed: int
) -> int:
    """List which features write in like directions, map them, and name the groups that they form.

    \b
    autointerp neighbours --from latest
    autointerp neighbours --from latest --unit feature-641 --map umap

    Features are compared by the cosine of their decoder rows, over all features of all dictionaries given. Explained features are grouped
    in a hierarchy; without --judge, groups are called by the words that set their explanations apart. Names are tested on members that
    they were made without.
    """
    settings = {"units": units, "nearest": nearest, "map": map_, "minimum": minimum, "seed": seed}
    return carry_out(given, "neighbours", groups=_sizes(groups), **settings)


def _sizes(text: str | None) -> tuple[int, ...]:
    """Numbers of groups, the most first. Raises `UsageError`."""
    parts = [part.strip() for part in text.split(",")] if text else []
    sizes = tuple(int(part) for part in parts if part.isdecimal() and len(part) < 8)
    if len(sizes) < len(parts) or list(sizes) != sorted(sizes, reverse=True) or (len(sizes) > 1 and 0 in sizes):
        raise UsageError(f"--groups {text!r}: write numbers of groups, the most first, such as 60,8, or 0 for none")
    return sizes
