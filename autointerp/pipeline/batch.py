"""Evaluates several specs in this process, one after another: those of several files, or the cells of a matrix (`autointerp run`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from autointerp import report
from autointerp.calls import consent
from autointerp.comparisons.command import CellOutcome, compare_matrix
from autointerp.costs import run_forecast
from autointerp.costs.run_forecast import Forecast
from autointerp.dictionaries.saelens_names import resolved
from autointerp.errors import EXPECTED, exit_code_of
from autointerp.formatting import dollars, plural
from autointerp.ledger.database import Ledger
from autointerp.pipeline.evaluate import earlier_ledger, evaluate
from autointerp.pipeline.prepare import harvest_together, prepare
from autointerp.places import open_folder
from autointerp.progress import Progress
from autointerp.spec import matrix
from autointerp.spec.matrix import Cell

Run = Callable[[Cell], tuple[str, int]]
"""Carries the run of a cell, and returns its id and its exit code."""


def evaluate_files(
    paths: Sequence[Path],
    overrides: Sequence[str],
    results: Path,
    open_ledger: Callable[[], Ledger],
    *,
    compare: bool,
    dry_run: bool,
    quiet: bool,
    command: Sequence[str],
    agreed: bool = False,
) -> int:
    """Evaluate the specs in these files and return the largest exit code. Those that read one corpus are harvested in one pass.

    The cells of a matrix, and specs that `compare` asks to compare, are one batch: its cost is said first, a run that fails leaves the
    others, and a comparison of all of them ends it. `agreed`: consent to the cost is given.
    """
    read = [cell for path in paths for cell in matrix.read(path, overrides)]
    cells = [replace(cell, spec=resolved(cell.spec)) for cell in read]
    open_folder(results)
    if len(cells) > 1:
        with Progress(quiet=quiet) as progress:
            harvest_together([cell.spec for cell in cells], results, progress, earlier_ledger(results, open_ledger))
    in_batch = compare or any(cell.values for cell in cells)

    def run(cell: Cell) -> tuple[str, int]:
        with Progress(quiet=quiet) as progress:
            return evaluate(
                cell.spec, results, progress, open_ledger, dry_run=dry_run, command=command, agreed=agreed or in_batch
            )

    if not in_batch:
        return max(run(cell)[1] for cell in cells)
    batch = Batch(cells, results, open_ledger)
    with Progress(quiet=quiet) as progress:
        batch.forecast(progress)
        progress.end()
        for line in batch.costs():
            progress.say(line)
        if not dry_run:
            consent.require(batch.usd_without_budget, None, progress, agreed=agreed)
    if not dry_run:
        batch.run(run, quiet=quiet)
        with Progress(quiet=quiet) as progress:
            for line in batch.compare():
                progress.say(line)
    return batch.exit_code


class Batch:
    """The runs of several cells, each with its own folder, and the cells that failed."""

    def __init__(self, cells: Sequence[Cell], results: Path, open_ledger: Callable[[], Ledger]) -> None:
        self.cells, self.results, self._open_ledger = cells, results, open_ledger
        self.forecasts: dict[int, Forecast] = {}
        """By the number of the cell."""
        self.run_ids: dict[int, str] = {}
        """Finished runs."""
        self.failed: dict[int, str] = {}
        """Reasons."""
        self._run_codes, self._error_codes = [0], list[int]()

    @property
    def exit_code(self) -> int:
        """The largest exit code of a cell that failed, or of the runs if none did."""
        return max(self._error_codes or self._run_codes)

    def forecast(self, progress: Progress) -> None:
        """Harvest each cell, or reuse its harvest, and forecast its cost. Asks no judge."""
        ledger = self._open_ledger()
        asked: set[str] = set()
        for number, cell in enumerate(self.cells):
            try:
                run = prepare(cell.spec, self.results, progress, ledger)
                self.forecasts[number] = run_forecast.forecast(run, ledger, asked)
            except EXPECTED as error:
                self._fail(number, error)

    @property
    def usd_without_budget(self) -> float | None:
        """Expected dollars of the runs that have no budget; None if a price is unknown."""
        usd = [self.forecasts[n].usd for n in self.forecasts if self.cells[n].spec.budget.usd is None]
        return None if None in usd else sum(cost or 0.0 for cost in usd)

    def costs(self) -> Iterator[str]:
        """The cost of each cell and of all together, in lines for the terminal."""
        for number, cell in enumerate(self.cells):
            forecast = self.forecasts.get(number)
            cost = f"failed: {self.failed[number]}" if forecast is None else forecast.in_a_line()
            yield f"{forecast.run_id if forecast else '-'}  {cell.label}: {cost}"
        known = list(self.forecasts.values())
        notes = dict.fromkeys(note for forecast in known for note in forecast.notes)
        yield from (f"  {note}" for note in notes)
        if any(cell.along("judge") and cell.spec.explainer is None for cell in self.cells):
            yield "  each judge grades its own explanations: set [explainer] to have all grade the same ones"
        usd = [forecast.usd for forecast in known]
        total = "cost unknown" if None in usd else f"about {dollars(sum(cost or 0.0 for cost in usd))}"
        calls = sum(forecast.llm_calls for forecast in known)
        yield f"in all {plural(len(self.cells), 'run')}, {plural(calls, 'call')} to LLMs, {total}"

    def run(self, run: Run, *, quiet: bool) -> None:
        """Carry the runs one after another. An error of one leaves the others."""
        for number in self.forecasts:
            try:
                self.run_ids[number], code = run(self.cells[number])
                self._run_codes.append(code)
            except EXPECTED as error:
                self._fail(number, error)
                with Progress(quiet=quiet) as progress:
                    progress.say(f"{self.cells[number].label}: failed: {self.failed[number]}")

    def compare(self) -> Iterator[str]:
        """Write the comparison of all cells and the links to it, and yield its lines; nothing if no cell has a result."""
        if not self.run_ids:
            return
        yield from compare_matrix(
            [CellOutcome(c, self.run_ids.get(n, ""), self.failed.get(n, "")) for n, c in enumerate(self.cells)],
            self.results,
        )
        for run_id in self.run_ids.values():
            report.write(self.results / run_id)

    def _fail(self, number: int, error: Exception) -> None:
        self.failed[number] = " ".join(str(error).split())
        self._error_codes.append(exit_code_of(error))
