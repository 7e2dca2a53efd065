"""An evaluation in steps: `ai.harvest`, `ai.explain` and `ai.score`. A harvest is made once, whatever is asked about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from autointerp.api import explanations as explanations_
from autointerp.api import request
from autointerp.api.inputs import Given
from autointerp.api.judges import GivenJudges
from autointerp.api.result import Result
from autointerp.api.session import Place, Session
from autointerp.errors import UsageError
from autointerp.harvest.control_units import with_controls
from autointerp.records import COMPARED
from autointerp.run import Run
from autointerp.spec.spec import parse


@dataclass(frozen=True)
class Harvest:
    """Units and windows of a dictionary, without explanations or grades."""

    session: Session
    run: Run

    @property
    def path(self) -> Path:
        """The harvest's folder."""
        return self.run.harvest

    @cached_property
    def units(self) -> pd.DataFrame:
        """The features and neurons, a row each: unit_id, kind, max_activation, density, status, bin_events, histogram."""
        units = with_controls(self.run.harvest, self.run.spec)[0]
        return units.loc[units["kind"].isin(COMPARED)].drop(columns="given").reset_index(drop=True)

    @cached_property
    def exemplars(self) -> pd.DataFrame:
        """The windows, a row each: unit_id, role, activation, bin, tokens, token_activations and mark."""
        return with_controls(self.run.harvest, self.run.spec)[1]

    def __repr__(self) -> str:
        alive = int((self.units["status"] == "alive").sum())
        return f"{len(self.units)} units, {alive} of them alive, {len(self.exemplars):,} windows: {self.path}"


@dataclass(frozen=True)
class Explanations(Mapping[str, str | None]):
    """Explanations by unit id; None for a unit that has none, such as a dead one."""

    harvest: Harvest
    texts: Mapping[str, str | None]
    by: str
    """Their author, as reports name it."""

    def __getitem__(self, unit_id: str) -> str | None:
        return self.texts[unit_id]

    def __iter__(self) -> Any:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        shown = [f"{unit}: {text}" for unit, text in list(self.texts.items())[:5]]
        return "\n".join([f"{len(self)} explanations by {self.by}", *shown])


def harvest(
    model: Any,
    dictionary: Any,
    texts: Any,
    *,
    hook_point: str | None = None,
    tokenizer: Any = None,
    features: int | Sequence[int] = 100,
    neurons: int | Sequence[str] | None = None,
    name: str = "run",
    results: str | Path | None = "results",
    spec: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Harvest:
    """Sample units and their windows from the texts. Asks no judge. The arguments are those of `evaluate`.

    With `results=None` the folder lasts as long as the harvest and the results of it. Raises `AutointerpError` or `SaeError`.
    """
    place = Place.of(results)
    asked = Session.of(
        Given(model, dictionary, tokenizer),
        {"units": request.units_table(features, neurons)},
        texts=texts,
        hook_point=hook_point,
        place=place,
        name=name,
        more=spec,
        quiet=quiet,
    )
    return Harvest(asked, asked.harvested())


def explain(harvest: Harvest, judge: Any = "embedded", *, budget_usd: float | None = None) -> Explanations:
    """Ask a judge, as of `evaluate`, to explain every unit of a harvest. Raises `AutointerpError`."""
    judges = GivenJudges(judge)
    asked = _with(harvest.session, judges, {"budget": {"usd": budget_usd}})
    return Explanations(harvest, asked.explained(judges), asked.spec.judge.model)


def score(
    explanations: Explanations,
    judge: Any = "embedded",
    *,
    scorers: Sequence[str] = (),
    budget_usd: float | None = None,
) -> Result:
    """Grade explanations by the rubric, and by further scorers such as `detection`, and write the report.

    Explanations may be changed before: `replace(explanations, texts=...)`. Scorers that need more windows than the harvest has
    make another harvest. Raises `AutointerpError` or `SaeError`.
    """
    if not isinstance(explanations, Explanations):
        raise UsageError(f"explanations is a {type(explanations).__name__}: give what ai.explain returned")
    judges = GivenJudges(judge)
    before = explanations.harvest.session
    source = explanations_.source_of(explanations.texts, before.place.folder, by=explanations.by)
    tables: dict[str, dict[str, Any]] = {
        "budget": {"usd": budget_usd},
        "explain": {"from": source},
        "score": {"also": list(scorers)},
    }
    return _with(before, judges, tables).carried_out(judges)


def _with(before: Session, judges: GivenJudges, tables: Mapping[str, Mapping[str, Any]]) -> Session:
    """The session with these judges and further keys. Raises `UsageError` for a wrong key."""
    data = before.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for table, values in {**judges.tables(), **tables}.items():
        present = {key: value for key, value in values.items() if value is not None}
        if present:
            data[table] = data.get(table, {}) | present
    return replace(before, spec=parse(data))
