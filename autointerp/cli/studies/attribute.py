"""`autointerp attribute`."""

from __future__ import annotations

import click

from autointerp.cli.common import NumberRange, one_line_errors
from autointerp.cli.studies.options import carry_out, study_options
from autointerp.studies.given import Given


@click.command()
@click.argument("prompt")
@click.option(
    "--target",
    required=True,
    metavar="TOKEN",
    help="The token whose logit is explained, mostly with a space before it.",
)
@click.option("--against", metavar="TOKEN", help="A token whose logit is subtracted.  [default: the mean logit]")
@click.option(
    "--ablations",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    help="Pairs of a feature and a position that are ablated in each dictionary.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    help="Features of each dictionary in the graph, at most.",
)
@click.option(
    "--share",
    type=NumberRange(0, 1),
    default=0.01,
    show_default=True,
    help="Smallest share of the contributions to a node that an edge of the graph has.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the random groups that the graph is compared with.")
@study_options()
@one_line_errors()
def attribute(
    given: Given, prompt: str, target: str, against: str | None, ablations: int, nodes: int, share: float, seed: int
) -> int:
    """Say which features, at which tokens of a prompt, carry a difference of logits.

    Gradient times activation of every feature at every position, ablation of the strongest, and a graph from layer to layer if there
    are several dictionaries.

    \b
    autointerp attribute 'John says, "I want to be alone right now." John feels' \\
        --target " sad" --against " happy" --from latest
    """
    return carry_out(
        given,
        "attribute",
        prompt=prompt,
        target=target,
        against=against,
        ablations=ablations,
        nodes=nodes,
        share=share,
        seed=seed,
    )
