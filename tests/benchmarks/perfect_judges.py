"""Perfect judges on the demo's model: what simulation, fuzzing and detection give to one that knows every counted activation.

Each figure has to be 1.00 for features and neurons alike: a judge that is right about all that is counted loses nothing by tokens that
are not. At those the simulator says the opposite of what an earlier version stored, the strongest activation.

Run with `python tests/benchmarks/perfect_judges.py [--tokens N] [--units N]`; it downloads the demo's model once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from autointerp.demo.spec import prepare_spec  # noqa: E402
from autointerp.pipeline.prepare import prepare  # noqa: E402
from autointerp.progress import Progress, quiet  # noqa: E402
from autointerp.records import COMPARED, Exemplar, Explanation, ExplanationKey, Outcome  # noqa: E402
from autointerp.run import Run  # noqa: E402
from autointerp.scorers.base import Case  # noqa: E402
from autointerp.scorers.cases import Cases  # noqa: E402
from autointerp.scorers.detection import Detection  # noqa: E402
from autointerp.scorers.fuzzing import Fuzzing  # noqa: E402
from autointerp.scorers.simulation import PER_CALL, TOP, Simulation  # noqa: E402
from autointerp.scorers.yes_no_items import Item, groups  # noqa: E402
from autointerp.spec.judge_sections import Judge  # noqa: E402


class Row(NamedTuple):
    """One figure of one unit."""

    kind: str
    figure: str
    value: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--units", type=int, default=64, help="features, and neurons")
    given = parser.parse_args()
    overrides = (
        "name=perfect", f"corpus.max_tokens={given.tokens}", f"units.features={given.units}", f"units.neurons={given.units}",
        "score.also=['simulation', 'fuzzing', 'detection']", "dictionary.check=false", "studies.tokens=0",
    )  # fmt: skip
    spec = prepare_spec(Judge(), overrides, quiet)
    with tempfile.TemporaryDirectory() as folder, Progress(quiet=True) as progress:
        rows = pd.DataFrame(list(figures(prepare(spec, Path(folder), progress))))
    table = rows.groupby(["figure", "kind"], sort=False)["value"].agg(["count", "mean", "min"])
    print(table.to_string(float_format=lambda value: f"{value:.4f}"))


def figures(run: Run) -> Iterator[Row]:
    """The figures of perfect judges, for every alive unit."""
    explained = {
        (key := ExplanationKey(unit_id)): Explanation(key, Outcome.SCORED, "known", "", None) for unit_id in run.units
    }
    cases = Cases(run, explained)
    for unit in run.units.values():
        if unit.kind in COMPARED and unit.status == "alive":
            case = cases.of(unit.unit_id)
            yield Row(unit.kind, "simulation pearson", _simulated(case))
            fuzzing, detection = Fuzzing().items(case), Detection().items(case)
            scores = Fuzzing().score(case, [_answers(case, fuzzing)])
            yield Row(unit.kind, "fuzzing balanced_accuracy", scores.values["balanced_accuracy"])
            yield Row(unit.kind, "fuzzing marks_alone", scores.values["marks_alone"])
            found = Detection().score(case, [_answers(case, detection)])
            yield Row(unit.kind, "detection balanced_accuracy", found.values["balanced_accuracy"])


def _simulated(case: Case) -> float | None:
    windows = Simulation().windows(case)

    def strength(window: Exemplar, i: int) -> int:
        return TOP if i in window.uncounted else round(TOP * window.token_activations[i] / case.unit.max_activation)

    asked = [windows[i : i + PER_CALL] for i in range(0, len(windows), PER_CALL)]
    answers = [[strength(w, i) for w in group for i in range(len(w.tokens))] for group in asked]
    return Simulation().score(case, [answers]).values["pearson"]


def _answers(case: Case, items: list[Item]) -> list[list[bool]]:
    """Whether the unit is active at all marks of each item, or anywhere if it has none, by the counted activations alone."""
    by_tokens = {window.tokens: window for window in (*case.active, *case.silent)}

    def answer(item: Item) -> bool:
        window = by_tokens[item.window.tokens]
        active = {i for i, a in enumerate(window.token_activations) if a > 0 and i not in window.uncounted}
        return active.issuperset(item.window.marks) if item.window.marks else bool(active)

    return [[answer(item) for item in group] for group in groups(items)]


if __name__ == "__main__":
    main()
