"""Evaluates a spec in this process (`autointerp run`), and compares its settings before (`autointerp plan`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autointerp.calls import consent
from autointerp.costs import options, options_table, run_forecast
from autointerp.dictionaries.saelens_names import resolved
from autointerp.harvest import control_units
from autointerp.judges import prices
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.monitoring import run_watch
from autointerp.pipeline import local, spec_changes
from autointerp.pipeline.prepare import prepare
from autointerp.places import open_folder
from autointerp.progress import Progress
from autointerp.report.index import write as write_index
from autointerp.report.prose import closing, lead, verdict
from autointerp.spec.spec import Spec, load


def evaluate(
    spec: Spec,
    results: Path,
    progress: Progress,
    open_ledger: Callable[[], Ledger],
    *,
    dry_run: bool,
    command: Sequence[str],
    agreed: bool = False,
) -> tuple[str, int]:
    """Harvest, ask the judge, write the report and print its verdict; with `dry_run` stop at the forecast.

    Returns the run's id and the exit code. A run without a budget needs consent to its cost: see `consent.require`.
    """
    run = prepare(spec, results, progress, earlier_ledger(results, open_ledger))
    corpus = run.harvest_metadata["corpus"]
    if statement := corpus.get("bos_statement"):
        progress.note(statement)
    if any(corpus.get("contents", {}).values()):
        progress.note(f"corpus: {corpus['contents_statement']}")
    if why := control_units.planted_shortfall(spec, len(run.known_explanations)):
        progress.note(why)
    for kind, why in run.left_out.items():
        progress.note(f"controls.{kind} is left out: {why}")
    ledger = open_ledger()
    if changes := spec_changes.since_last(ledger, run):
        progress.note(f"{run.run_id} {changes}")
    forecast = run_forecast.forecast(run, ledger)
    if dry_run:
        progress.end()
        progress.say(forecast.describe())
        return run.run_id, 0
    if forecast.asks_llm:
        progress.note(forecast.describe())
        consent.require(forecast.usd, run.spec.budget.usd, progress, agreed=agreed)
    summary = local.execute_run(run, ledger, progress, command=command, agreed=agreed)
    write_index(results)
    progress.end()
    if first := lead(summary):
        progress.say(first)
    progress.say(verdict(summary).sentence)
    doubts = {doubt for settings in run.spec.judges if (doubt := prices.price_doubt(settings))}
    progress.say_path(f"{closing(summary, doubts)}:", run.folder / "report.html")
    with ledger.read() as tx:
        row = runs.get(tx, run.run_id)
    assert row is not None, run.run_id
    return run.run_id, run_watch.exit_code(row["state"], row["exit_code"])


def earlier_ledger(results: Path, open_ledger: Callable[[], Ledger]) -> Ledger | None:
    """The ledger, if anything was written to the results before; None for a new folder, in which a failed run leaves no ledger."""
    return open_ledger() if results.is_dir() and any(results.iterdir()) else None


def compare_options(
    path: Path, overrides: Sequence[str], results: Path, *, harvest: bool, quiet: bool
) -> Iterator[str]:
    """A table of cost and precision under several settings, line by line; with `harvest` its counts are exact."""
    spec = resolved(load(path, overrides))
    if harvest:
        open_folder(results)
    with Progress(quiet=quiet) as progress:
        run = prepare(spec, results, progress) if harvest else None
    yield from options_table.lines(options.plan_of(spec, results, run))
