"""The truth of a planted world, from its text and definition alone, and what a run over it found.

The oracle uses no model, no sketch and no table.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from support.planted_world import world as planted

from autointerp.judges import registry
from autointerp.judges.base import Judge
from autointerp.ledger.database import Ledger
from autointerp.messages import Prompt, Reply
from autointerp.pipeline import local
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress
from autointerp.spec.spec import Spec

CONTEXT, BINS = 64, 10
Cell = tuple[int, int]
"""A document and a position in it."""


@dataclass(frozen=True)
class Result:
    """A finished run: its summary and its tables."""

    folder: Path
    summary: dict[str, Any]
    units: pd.DataFrame
    exemplars: pd.DataFrame
    judgements: pd.DataFrame

    def explanation(self, unit_id: str) -> str:
        said = self.units.set_index("unit_id")["explanation"]
        return "" if pd.isna(said[unit_id]) else str(said[unit_id])

    def main(self) -> pd.DataFrame:
        return self.judgements.loc[self.judgements["arm"] == "main"]

    def words(self) -> dict[str, str]:
        """The marked word of every exemplar."""
        rows = self.exemplars[["exemplar_id", "tokens", "mark"]].itertuples(index=False)
        return {exemplar_id: tokens[mark].strip() for exemplar_id, tokens, mark in rows}


class Counting(planted.PlantedJudge):
    """Counts what it was asked."""

    asked = 0

    def ask(self, prompt: Prompt) -> Reply:
        self.asked += 1
        return super().ask(prompt)


def carry(spec: Spec, results: Path, judge: Judge | None = None, explainer: Judge | None = None) -> Result:
    """Carry out a run. The judge explains too, unless there is an explainer."""
    judge = judge or planted.PlantedJudge()
    with Progress(quiet=True) as progress:
        run = preparation.prepare(spec, results, progress)
        local.execute_run(
            run,
            Ledger.in_folder(results),
            progress,
            judges=registry.Judges(explainer or judge, judge),
            command=["autointerp"],
        )
    tables = [pd.read_parquet(run.folder / f"{name}.parquet") for name in ("units", "exemplars", "judgements")]
    return Result(run.folder, json.loads((run.folder / "summary.json").read_text()), *tables)


def harvested(spec: Spec, results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Units and exemplars, nothing judged."""
    with Progress(quiet=True) as progress:
        folder = preparation.prepare(spec, results, progress).harvest
    return pd.read_parquet(folder / "units.parquet"), pd.read_parquet(folder / "exemplars.parquet")


@dataclass(frozen=True)
class Event:
    """A counted token at which a unit fires."""

    cell: Cell
    word: str
    activation: float


class Oracle:
    """Every event of every unit, and the true grade of each."""

    def __init__(self, world: planted.World, skip: int = 1) -> None:
        self.world = world
        texts = [json.loads(line)["text"].split(" ") for line in world.corpus.read_text().splitlines()]
        self.cells: dict[Cell, str] = {
            (d, p): word for d, words in enumerate(texts) for p, word in enumerate(words) if p % CONTEXT >= skip
        }
        self.events = cache(self._events)

    def _events(self, unit_id: str) -> list[Event]:
        answers, name = self.world.answers(unit_id), unit_id.split("-")[0]
        loudness = {word: planted.loudness(word) for word in set(self.cells.values())}
        fires = {w: _feature(s) if name == "feature" else _neuron(s) for w, (a, s) in loudness.items() if a in answers}
        return [Event(cell, word, fires[word]) for cell, word in self.cells.items() if word in fires]

    def bins(self, unit_id: str) -> dict[int, list[Event]]:
        """The unit's events by activation bin."""
        events, found = self.events(unit_id), defaultdict(list)
        peak = max((event.activation for event in events), default=1.0)
        for event in events:
            found[math.ceil(event.activation / peak * BINS)].append(event)
        return found

    def means(self, unit_id: str, explanation: str) -> dict[int, float]:
        """The true mean grade of each bin that has events."""
        return {
            b: float(np.mean([planted.grade(explanation, event.word) for event in events]))
            for b, events in sorted(self.bins(unit_id).items())
        }

    def uniform(self, unit_id: str, explanation: str) -> float:
        return float(np.mean(list(self.means(unit_id, explanation).values())))

    def frequency(self, unit_id: str, explanation: str) -> float:
        return float(np.mean([planted.grade(explanation, event.word) for event in self.events(unit_id)]))


def _feature(strength: float) -> float:
    """ReLU(w x + b) with the dictionary's bias; the decoder's norm is 1."""
    return strength - 0.01


def _neuron(strength: float) -> float:
    """silu(gate) * up of the RMS-normalised embedding."""
    scale = math.sqrt((planted.BIAS**2 + strength**2) / planted.D_MODEL)
    gate = planted.BIAS / scale
    return gate / (1 + math.exp(-gate)) * strength / scale
