"""`autointerp steer`: prompts continued while units are set to multiples of their maxima, beside baselines of the same size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from autointerp.errors import UsageError
from autointerp.studies.finding import Finding
from autointerp.studies.steering import tables
from autointerp.studies.steering.damage_curve import damage_curve
from autointerp.studies.steering.grading import Continued, grade
from autointerp.studies.steering.measurement import STEERED, Arms, Manner, make_arms, measure_prompt, prompt_ids
from autointerp.studies.steering.rubric import SteeringRubric, load_rubric
from autointerp.studies.steering.units import SteeredUnit, opened_units
from autointerp.studies.workbench import Workbench

LARGEST_FACTOR = 100.0
"""Factors beyond this are refused: already at a tenth of it most subjects repeat one token."""

BROKEN = 10.0
"""Growth of the perplexity beyond which a caution is given."""


@dataclass(frozen=True)
class Steer:
    """Settings of a steering study."""

    name: ClassVar[str] = "steer"
    version: ClassVar[int] = 2
    reads_text: ClassVar[bool] = False

    units: tuple[str, ...]
    """Units, each as `[NAME:]UNIT[=FACTOR][@POSITIONS]`."""
    prompts: tuple[str, ...]
    factors: tuple[float, ...] = (-2.0, -0.5, 0.5, 2.0, 5.0)
    """Multiples of the units' maxima, times their own factors."""
    added: bool = False
    """Whether activations are raised by the values instead of set to them."""
    chat: bool = False
    tokens: int = 32
    seed: int | None = None
    """Seed of the continuations; None takes the most likely token."""
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    expected: str = ""
    """What steering should bring, for the judge; by default the units' explanations."""
    baseline_seed: int = 0
    rubric: SteeringRubric | None = None
    """Scales of the judge; by default those that come with the program."""

    def __post_init__(self) -> None:
        if not self.prompts:
            raise UsageError("no prompt: give --prompt TEXT, or --prompts FILE")
        if len(set(self.prompts)) < len(self.prompts):
            raise UsageError("a prompt is given twice: remove one")
        check_factors(self.factors)

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Each prompt's continuations are kept as they are made."""
        units = opened_units(bench, self.units, self.prompts)
        expected = self._expected(bench, units)
        arms = make_arms(
            bench, units, added=self.added, seed=self.baseline_seed, positive=self.positive, negative=self.negative
        )
        manner = Manner(self.tokens, self.seed, self.chat)
        ids = [prompt_ids(bench, prompt, manner, units) for prompt in self.prompts]
        parts = [self._measured(bench, arms, number, ids[number], manner) for number in range(len(ids))]
        frame = pd.concat(parts, ignore_index=True)
        if bench.asking is not None:
            rows = frame[["prompt", "continuation"]].itertuples(index=False, name=None)
            grades = grade(
                bench, self.rubric or load_rubric(), [Continued(expected, prompt, text) for prompt, text in rows]
            )
            frame["on_target"] = pd.array([g.on_target if g else None for g in grades], dtype="Int64")
            frame["coherence"] = pd.array([g.coherence if g else None for g in grades], dtype="Int64")
        by_factor = tables.by_factor(frame)
        return Finding(
            title=f"Steering with {tables.joined([unit.name for unit in units])}",
            sentences=tuple(tables.sentences(units, arms, frame, by_factor, expected)),
            listings=tuple(tables.listings(frame, by_factor)),
            pictures=(damage_curve(by_factor),),
            values=self._values(units, arms, by_factor),
            cautions=tuple(_cautions(units, by_factor)),
        )

    def _measured(
        self, bench: Workbench, arms: Arms, number: int, ids: tuple[int, ...], manner: Manner
    ) -> pd.DataFrame:
        def make() -> pd.DataFrame:
            bench.progress.update("steering", number, len(self.prompts))
            return measure_prompt(bench, arms, self.prompts[number], ids, self.factors, manner)

        return bench.folder.kept_frame(f"prompt-{number}", make)

    def _expected(self, bench: Workbench, units: Sequence[SteeredUnit]) -> str:
        expected = self.expected or "; ".join(unit.explanation for unit in units if unit.explanation)
        if bench.asking is not None and not expected:
            raise UsageError(
                "the judge needs to know what steering should bring, and no unit has an explanation: give --expect TEXT"
            )
        return expected

    def _values(self, units: Sequence[SteeredUnit], arms: Arms, by_factor: pd.DataFrame) -> dict[str, Any]:
        return {
            "units": [
                {"unit_id": u.unit.unit_id, "dictionary": u.studied.name, "factor": u.factor, "maximum": u.maximum, "maximum_measured": u.source}
                for u in units
            ],
            "unsteered_perplexity": by_factor["unsteered_perplexity"].iloc[0],
            "by_factor": by_factor.to_dict("records"),
            "probe_accuracy": dict(arms.concept.accuracy) if arms.concept else None,
        }  # fmt: skip


def steer(*, rubric: Path | None, **settings: Any) -> Steer:
    """The study of a command line. Raises `UsageError` as `Steer` does, and for a rubric that cannot be read."""
    return Steer(rubric=load_rubric(rubric) if rubric else None, **settings)


def check_factors(factors: Sequence[float]) -> None:
    """Raise `UsageError` for factors that are missing, given twice, or no numbers between -100 and 100."""
    if not factors:
        raise UsageError("no factor: give --factors, such as --factors=-5,5")
    for factor in factors:
        if not math.isfinite(factor) or abs(factor) > LARGEST_FACTOR:
            raise UsageError(
                f"factor {factor:g} is out of range: give factors from -100 to 100, of which -10 to 10 are usual"
            )
    if len(set(factors)) < len(factors):
        raise UsageError("a factor is given twice: remove one")


def _cautions(units: Sequence[SteeredUnit], by_factor: pd.DataFrame) -> Iterator[str]:
    of_prompts = [unit.unit.unit_id for unit in units if "prompts" in unit.source]
    if of_prompts:
        yield (
            f"The maximum of {tables.joined(of_prompts)} was measured in the prompts alone, and is likely below that in ordinary"
            " text: give --corpus or --from RUN for factors that mean the same as elsewhere."
        )
    own = by_factor[by_factor["arm"] == STEERED]
    if (own["perplexity"] > BROKEN * own["unsteered_perplexity"]).all():
        at = "At every factor" if len(own) > 1 else "At this factor"
        yield (
            f"{at} the perplexity of the unsteered text grew more than {BROKEN:g}-fold, so the subject may no longer write"
            f" text: give factors closer to 0, such as --factors=-{_tenth(own)},{_tenth(own)}."
        )


def _tenth(own: pd.DataFrame) -> str:
    return f"{own['factor'].abs().min() / 10 or 0.1:g}"
