"""`autointerp find`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autointerp.cli.common import NumberRange, one_line_errors
from autointerp.cli.studies.options import TEXTS, carry_out, lines, study_options
from autointerp.studies.given import Given


@click.command()
@click.option("--text", metavar="TEXT", help="Features that are most active in this text.")
@click.option("--at", metavar="PASSAGE", help="With --text: only at the tokens of this passage of it.")
@click.option(
    "--on", multiple=True, metavar="TEXT", help="Features that are active in all of these texts. May be repeated."
)
@click.option("--off", multiple=True, metavar="TEXT", help="With --on: and in none of these. May be repeated.")
@click.option(
    "--with", "with_file", type=TEXTS, help="Features that tell the texts of this file, one a line, from others."
)
@click.option("--without", "without_file", type=TEXTS, help="With --with: a file of the other texts.")
@click.option(
    "--prompt", metavar="TEXT", help="Features that lead from this prompt to the token of --target, by attribution."
)
@click.option("--target", metavar="TOKEN", help="With --prompt: the answer, mostly with a space before it.")
@click.option(
    "--against", metavar="TOKEN", help="With --prompt: a token whose logit is subtracted.  [default: the mean logit]"
)
@click.option("--like", metavar="FEATURE", help="Neighbours of a feature, such as 641 or NAME:641, by decoder cosine.")
@click.option("--words", metavar="WORDS", help="Features whose explanations have all these words.")
@click.option("--meaning", metavar="TEXT", help="Features whose explanations mean something like this.")
@click.option(
    "--new",
    multiple=True,
    metavar="FILE",
    help="Features that fire more or less often on this text than on the run's. May be repeated.",
)
@click.option("--tokens", type=click.IntRange(min=1), help="With --new: tokens read of each corpus.  [default: 100000]")
@click.option(
    "--fdr",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    help="With --new: expected share of false discoveries.  [default: 0.05]",
)
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the folds of --with, and of the documents of --new."
)
@study_options()
@one_line_errors()
def find(given: Given, with_file: Path | None, without_file: Path | None, **options: Any) -> int:
    """Find features by texts, neighbours or explanations, or because they fire differently on new text.

    \b
    autointerp find --from latest --text "The Golden Gate Bridge" --at "Bridge"
    autointerp find --from latest --on "She lied." --on "He hid the truth." --off "It rained."
    autointerp find --from latest --with insecure.txt --without secure.txt
    autointerp find --from latest --like 641
    autointerp find --from latest --meaning "famous landmarks"
    autointerp find --from latest --new chats.jsonl

    One of --text, --on, --with, --prompt, --like, --words, --meaning and --new chooses the way. Texts are read by the subject; --words and --meaning
    search the explanations of a run.
    """
    sets = {"with": lines(with_file), "without": lines(without_file)}
    return carry_out(given, "find", **options, **sets)
