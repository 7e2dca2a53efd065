"""`autointerp steer --cases`: runs the cases of a file, and says which pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from autointerp.errors import UsageError
from autointerp.formatting import plural
from autointerp.studies.finding import Finding, Listing
from autointerp.studies.steering.cases import SteeringCase, load_cases
from autointerp.studies.steering.grading import Continued, Grades, grade
from autointerp.studies.steering.measurement import RANDOM, Manner, make_arms, prompt_ids
from autointerp.studies.steering.rubric import SteeringRubric, load_rubric
from autointerp.studies.steering.units import opened_units
from autointerp.studies.workbench import Workbench
from sae.studies.intervention import Row
from sae.studies.steered_texts import continuations
from sae.subject.token_text import token_texts

CLEAR = 2
"""Grade on target from which a continuation expresses the expected change clearly."""


@dataclass(frozen=True)
class SteerCases:
    """Settings: the cases. A case passes if the steered continuation has the expected change and the control has not."""

    name: ClassVar[str] = "steer"
    version: ClassVar[int] = 2
    reads_text: ClassVar[bool] = False

    cases: tuple[SteeringCase, ...]
    rubric: SteeringRubric | None = None
    baseline_seed: int = 0

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Each case's continuations are kept as they are made."""
        judged = [case for case in self.cases if case.expect.judged]
        if judged and bench.asking is None:
            raise UsageError(f"case {judged[0].name!r} is judged: give --judge PROVIDER/MODEL")
        frame = pd.concat([self._continued(bench, number) for number in range(len(self.cases))], ignore_index=True)
        grades = self._grades(bench, frame)
        results = [self._result(case, *texts) if not case.expect.judged else _by_grades(case, *grades[case.name])
                   for case, texts in zip(self.cases, frame[["steered", "control"]].itertuples(index=False, name=None), strict=True)]  # fmt: skip
        frame["passed"] = [passed for passed, _ in results]
        frame["why"] = [why for _, why in results]
        return _finding(frame)

    def _continued(self, bench: Workbench, number: int) -> pd.DataFrame:
        case = self.cases[number]

        def make() -> pd.DataFrame:
            bench.progress.update("running cases", number, len(self.cases))
            units = opened_units(bench, case.units, [case.prompt])
            arms = make_arms(bench, units, added=case.added, seed=self.baseline_seed)
            ids = prompt_ids(bench, case.prompt, Manner(case.tokens, case.seed, case.chat), units)
            control = Row(ids, len(ids), 1.0, RANDOM) if case.control == "random" else Row(ids, len(ids))
            rows = [Row(ids, len(ids), 1.0), control]
            added = continuations(bench.subject, arms.intervention, rows, case.tokens, case.seed, ends=case.chat)
            steered, plain = ("".join(token_texts(bench.subject.tokenizer, new)) for new in added)
            return pd.DataFrame(
                {
                    "case": [case.name],
                    "prompt": [case.prompt],
                    "units": [", ".join(case.units)],
                    "expected": [case.expect.statement],
                    "control_kind": [case.control],
                    "steered": [steered],
                    "control": [plain],
                }
            )

        return bench.folder.kept_frame(f"case-{number}", make)

    def _grades(self, bench: Workbench, frame: pd.DataFrame) -> dict[str, tuple[Grades | None, Grades | None]]:
        """The grades of the steered and the control continuation of every judged case."""
        judged = [
            (case, row) for case, row in zip(self.cases, frame.to_dict("records"), strict=True) if case.expect.judged
        ]
        continued = [
            Continued(case.expect.judged, case.prompt, row[side])
            for case, row in judged
            for side in ("steered", "control")
        ]
        graded = grade(bench, self.rubric or load_rubric(), continued) if continued else []
        return {case.name: (graded[2 * i], graded[2 * i + 1]) for i, (case, _) in enumerate(judged)}

    def _result(self, case: SteeringCase, steered: str, control: str) -> tuple[bool, str]:
        return _verdict(case, case.expect.holds(steered), case.expect.holds(control))


def cases_in(*, file: Path, rubric: Path | None) -> SteerCases:
    """The study of a case file. Raises `UsageError` for a file that cannot be read."""
    return SteerCases(load_cases(file).cases, load_rubric(rubric) if rubric else None)


def _by_grades(case: SteeringCase, steered: Grades | None, control: Grades | None) -> tuple[bool, str]:
    """A case's result by grades; a continuation that is empty or has no grade fails its case."""
    if steered is None or control is None:
        return False, f"the {'steered continuation' if steered is None else 'control'} has no grade"
    passed, why = _verdict(case, steered.on_target >= CLEAR, control.on_target >= CLEAR)
    return passed, f"{why} (on target: steered {steered.on_target}, control {control.on_target})"


def _verdict(case: SteeringCase, steered: bool, control: bool) -> tuple[bool, str]:
    if case.expect.gone:
        steered, control = not steered, not control
    if not steered:
        return False, "the expected change is missing"
    return (False, "the control shows it as well") if control else (True, "")


def _finding(frame: pd.DataFrame) -> Finding:
    failed = frame[~frame["passed"]]
    names: Sequence[str] = failed["case"].tolist()
    first = f"{len(frame) - len(failed)} of {plural(len(frame), 'case')} {'passes' if len(frame) == 1 else 'pass'}."
    lines = [f"FAIL {row['case']}: expected {row['expected']}; {row['why']}" for row in failed.to_dict("records")]
    lines += [f"pass {name}" for name in frame[frame["passed"]]["case"]]
    columns = {
        "case": "Case", "passed": "Passed", "why": "Why not", "expected": "Expected", "prompt": "Prompt", "steered": "Steered",
        "control": "Control",
    }  # fmt: skip
    return Finding(
        title="Steering cases",
        sentences=(first, *lines),
        listings=(Listing("cases", "Cases; the control is a random direction of the same norm, or the plain prompt", frame, columns, rows=200),),
        values={"n_cases": len(frame), "n_passed": len(frame) - len(failed), "failed": names},
    )  # fmt: skip
