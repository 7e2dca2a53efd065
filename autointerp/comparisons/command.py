"""`autointerp compare`: reads finished runs, compares them, writes the comparison and says what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autointerp.comparisons import needed_size, pages, prose
from autointerp.comparisons.comparison import Comparison, compare, compare_cells
from autointerp.comparisons.finished_run import read
from autointerp.comparisons.grid import Entry
from autointerp.comparisons.pairing import Side
from autointerp.dictionaries.saelens_names import resolved
from autointerp.errors import UsageError
from autointerp.report import index
from autointerp.spec import matrix
from autointerp.spec.matrix import Cell
from autointerp.spec.spec import load


@dataclass(frozen=True)
class CellOutcome:
    """A cell of a matrix with its finished run, or with the reason why it has none."""

    cell: Cell
    run_id: str
    reason: str = ""


def compare_runs(names: Sequence[str], results: Path, out: Path | None, confidence: float) -> Iterator[str]:
    """Compare runs, write the comparison to `out` (default: a folder in `results/comparisons`), and yield its lines for a terminal.

    A name with commas stands for runs over dictionaries that differ only in the seed of their training, and a spec file alone for the
    runs of its cells. Raises `UsageError`.
    """
    if len(names) == 1 and Path(names[0]).is_file():
        yield from compare_spec(Path(names[0]), results, out, confidence)
        return
    if len(names) < 2:
        raise UsageError(f"{names[0]} alone cannot be compared: name two runs or more, the one to compare with first")
    sides = [_side(name, results) for name in names]
    comparison = compare(sides, confidence=confidence)
    page = _write(comparison, [[run.run_id for run in side.runs] for side in sides], results, out)
    yield from prose.cautions(comparison)
    for pair in comparison.pairs:
        yield prose.verdict(pair)
        yield from (f"  {note}" for note in prose.notes(pair))
    yield str(page)


def compare_spec(path: Path, results: Path, out: Path | None, confidence: float) -> Iterator[str]:
    """Compare the runs in `results` of the cells of a spec file, as `compare_matrix` does. Raises `UsageError` if none is finished."""
    outcomes = [_outcome(cell, results) for cell in matrix.read(path)]
    if all(outcome.reason for outcome in outcomes):
        raise UsageError(f"no run of {path} in {results} is finished: `autointerp run {path}` makes them")
    yield from compare_matrix(outcomes, results, out, confidence)


def _outcome(cell: Cell, results: Path) -> CellOutcome:
    """A cell's run, which is the one with its spec."""
    spec = resolved(cell.spec).absolute().hash()
    for folder in sorted(path.parent for path in results.glob(f"{cell.spec.name}-*/summary.json")):
        if load(folder / "spec.toml").absolute().hash() == spec:
            return CellOutcome(cell, folder.name)
    return CellOutcome(cell, "", f"no finished run in {results}")


def compare_matrix(
    outcomes: Sequence[CellOutcome], results: Path, out: Path | None = None, confidence: float = 0.95
) -> Iterator[str]:
    """Compare the cells of a matrix, write the comparison as `compare_runs` does, and yield its lines for a terminal.

    The folder is named after all cells, so that a cell whose run ends later changes the same comparison. Raises `UsageError`.
    """
    comparison = compare_cells(
        [_entry(outcome, results) for outcome in outcomes],
        [outcome.cell.values for outcome in outcomes],
        confidence=confidence,
    )
    page = _write(comparison, [[outcome.cell.spec.absolute().hash()] for outcome in outcomes], results, out)
    yield from prose.cautions(comparison)
    yield from (prose.verdict(pair) for pair in comparison.pairs)
    yield str(page)


def _write(comparison: Comparison, ids: Sequence[Sequence[str]], results: Path, out: Path | None) -> Path:
    """Write a comparison and return its page. One in `results` is listed in the index."""
    folder = out or pages.folder_of(ids, results)
    pages.write(comparison, folder)
    if out is None:
        index.write(results)
    return folder / "comparison.html"


def _entry(outcome: CellOutcome, results: Path) -> Entry:
    cell = outcome.cell
    others = {key: value for key, value in cell.values.items() if key.split(".")[0] not in ("dictionary", "judge")}
    return Entry(
        dictionary=cell.along("dictionary") or cell.spec.dictionary.path,
        judge=cell.along("judge") or cell.spec.judge.model,
        other=", ".join(f"{key} = {value}" for key, value in others.items()),
        run=None if outcome.reason else read(outcome.run_id, results),
        reason=outcome.reason,
    )


def plan(difference: float, names: Sequence[str], results: Path, confidence: float) -> Iterator[str]:
    """How many units and exemplars a difference takes, by the spread of one finished run, or of the differences of two. Raises `UsageError`."""
    if len(names) > 2 or any("," in name for name in names):
        raise UsageError(f"--plan takes one run or two, and not {len(names)}: name runs like those that you plan")
    yield from needed_size.lines(difference, [read(name, results) for name in names], confidence)


def _side(name: str, results: Path) -> Side:
    runs = tuple(read(each, results) for each in name.split(",") if each)
    if not runs:
        raise UsageError(f"{name!r} names no run: join runs with commas, as in RUN,RUN")
    return Side(runs)
