"""`autointerp judges check`: measure a judge on a set of graded items before using it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from autointerp.cli.common import QUIET, RESULTS, SET, YES, NumberRange, one_line_errors
from autointerp.progress import Progress


@click.group("judges")
def judges() -> None:
    """Measure judges."""


@judges.command("check")
@click.argument("model", required=False)
@click.option("--base-url", metavar="URL", help="Address of an OpenAI-compatible server.")
@click.option("--llm", is_flag=True, help="Check the small local language model of `autointerp demo --llm`.")
@click.option(
    "--ask", type=click.Choice(["reason", "grade", "logprobs"]), default="reason", help="As `score.ask` in a spec."
)
@click.option("--per-call", type=click.IntRange(1, 50), default=1, help="Items in one question, as `score.per_call`.")
@click.option(
    "--shuffle",
    type=int,
    metavar="SEED",
    help="Ask all items again in another order, and count the grades that change.",
)
@click.option(
    "--items",
    type=click.Path(path_type=Path),
    help="A graded set of your own: .csv, .jsonl or .toml.  [default: the program's]",
)
@click.option("--max", "most", type=click.IntRange(min=1), help="Maximum number of items, balanced over grades.")
@click.option("--usd", type=NumberRange(min=0), help="Budget in dollars, a hard stop; raise it to continue.")
@YES
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@SET
@RESULTS
@QUIET
@one_line_errors()
def check(
    model: str | None,
    base_url: str | None,
    llm: bool,
    ask: Literal["reason", "grade", "logprobs"],
    per_call: int,
    shuffle: int | None,
    items: Path | None,
    most: int | None,
    usd: float | None,
    agreed: bool,
    as_json: bool,
    overrides: tuple[str, ...],
    results: Path,
    quiet: bool,
) -> None:
    """Let MODEL (such as anthropic/MODEL, or embedded) grade items whose right grade is known, and report its agreement.

    With the URL of an OpenAI-compatible server as MODEL, print what the server can do instead: five to nine small questions.

    The questions are those of a run. Answers are kept under judges/ in --results: the same command continues where it stopped, and
    asks nothing twice. `--llm`, or a --base-url that lists its models, needs no MODEL. --set takes the keys of a spec's [judge], such
    as judge.thinking=true.
    """
    from autointerp.judge_check import check_plan, figures, run, server_check

    if model and model.startswith(("http://", "https://")):
        with (
            Progress(quiet=quiet) as progress,
            check_plan.judge_settings(None, model, False, overrides, progress) as settings,
        ):
            rows = dict(server_check.check_server(settings))
        lines = [f"{name:<12} {text}" for name, text in rows.items()]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else "\n".join(lines))
        return
    with (
        Progress(quiet=quiet) as progress,
        check_plan.judge_settings(model, base_url, llm, overrides, progress) as settings,
    ):
        plan = check_plan.make_plan(
            settings, ask=ask, per_call=per_call, shuffle=shuffle, most=most, usd=usd, path=items, agreed=agreed
        )
        result = run.run_check(plan, results, progress)
    found = figures.findings(result)
    as_text = json.dumps(found, indent=1, ensure_ascii=False)
    path = run.path_of(result, results)
    path.write_text(as_text + "\n", encoding="utf-8")
    click.echo(as_text if as_json else f"{figures.table(found)}\n{path}")
