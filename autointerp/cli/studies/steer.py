"""`autointerp steer`: what a model says while chosen units are set to chosen activations, and case files that check it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autointerp.cli.common import one_line_errors
from autointerp.cli.studies.options import TEXTS, carry_out, finding, lines, study_options
from autointerp.errors import UsageError
from autointerp.studies.given import Given


@click.command()
@click.option(
    "--unit",
    "units",
    multiple=True,
    metavar="UNIT",
    help="A feature or neuron: [NAME:]UNIT[=FACTOR][@POSITIONS]. May be repeated; all are set at once.",
)
@click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="A prompt. May be repeated.")
@click.option("--prompts", "prompt_file", type=TEXTS, help="A file with one prompt a line.")
@click.option(
    "--factors",
    default="-2,-0.5,0.5,2,5",
    show_default=True,
    help="Multiples of the units' maxima, usually from -10 to 10.",
)
@click.option("--add", "added", is_flag=True, help="Add to the activations instead of setting them.")
@click.option("--chat", is_flag=True, help="Send each prompt as a user's message, in the subject's chat template.")
@click.option(
    "--tokens", type=click.IntRange(1, 2048), default=32, show_default=True, help="Tokens of each continuation."
)
@click.option(
    "--seed", type=click.IntRange(0), help="Draw tokens with this seed.  [default: take the most likely token]"
)
@click.option(
    "--positive", type=TEXTS, help="Texts with a concept, one a line, for the few-shot and the probe's direction."
)
@click.option("--negative", type=TEXTS, help="Texts without the concept, one a line.")
@click.option(
    "--expect",
    "expected",
    metavar="TEXT",
    default="",
    help="What steering should bring, for the judge.  [default: the units' explanations]",
)
@click.option("--rubric", type=TEXTS, help="Scales of the judge.  [default: rubrics/steering/continuations.toml]")
@click.option("--cases", type=TEXTS, help="A TOML file of cases to check instead; exit code 1 if one fails.")
@study_options(judge=True)
@one_line_errors()
def steer(
    given: Given,
    units: tuple[str, ...],
    prompts: tuple[str, ...],
    prompt_file: Path | None,
    factors: str,
    positive: Path | None,
    negative: Path | None,
    rubric: Path | None,
    cases: Path | None,
    **settings: Any,
) -> int:
    """Continue prompts while features or neurons are set to multiples of their maxima.

    \b
    autointerp steer --from latest --unit 641 --prompt "The best way to" --prompt "My name is"

    Every factor stands beside the unsteered text and a random direction of the same norm; with --positive and --negative also beside
    a few-shot direction and a linear probe's. The tables hold all continuations, the tokens that rose, and the perplexity of the
    unsteered text under each factor. POSITIONS are all (the default), prompt, last, new, or numbers such as 2-5.

    A unit's maximum is taken from its run, or measured over the corpus, or over the prompts, in this order of preference.
    """
    if cases:
        if units or prompts or prompt_file:
            raise UsageError("--cases names its own units and prompts: leave --unit, --prompt and --prompts out")
        checked = finding(given, "steer-cases", file=cases, rubric=rubric)
        return 1 if checked and checked["values"]["failed"] else 0
    if bool(positive) != bool(negative):
        raise UsageError("--positive and --negative come together: give both, or neither")
    settings |= {"positive": lines(positive), "negative": lines(negative), "rubric": rubric}
    return carry_out(
        given, "steer", units=units, prompts=prompts + lines(prompt_file), factors=_factors(factors), **settings
    )


def _factors(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(
            f"--factors {text!r} are not numbers: write them with commas, such as --factors=-5,5"
        ) from None
