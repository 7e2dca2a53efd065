"""A run's result tables: read from the ledger and the harvest as data frames, and written as the public files of its folder."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from autointerp.findings import second_judge_sample
from autointerp.findings.summary import Summary
from autointerp.findings.unit_reasons import with_reasons
from autointerp.harvest import dictionary_checks, token_effects, unit_sides
from autointerp.harvest.control_units import partly_read, with_controls
from autointerp.ledger import calls, labels, runs
from autointerp.ledger import judgements as judgement_rows
from autointerp.ledger.database import Ledger
from autointerp.records import SECOND_JUDGE, Arm, ExplanationKey, Outcome
from autointerp.run import Run
from autointerp.stats import frequency, rarity
from autointerp.stats.comparison import arm_means, unit_scores
from sae.files import write_text, written_whole

PACKAGES = ("autointerp-eval", "torch", "transformers", "anthropic", "openai")
JUDGEMENT_COLUMNS = [
    "exemplar_id", "unit_id", "kind", "arm", "bin", "judge", "repeat", "outcome", "score", "expected", "reason", "call_key",
    "explanation_unit_id",
]  # fmt: skip


@dataclass(frozen=True)
class Frames:
    """A run's tables, with one row per unit, exemplar or judgement."""

    units: pd.DataFrame
    """All units, control units included."""
    exemplars: pd.DataFrame
    judgements: pd.DataFrame
    """All judgements; those of a second judge have True in the column `again`."""
    explanations: Mapping[ExplanationKey, str]
    """Every explanation by its key, including those made with an aid."""
    second: str | None
    """Name of the second judge, if the run has one."""

    @property
    def main(self) -> pd.DataFrame:
        """The judgements of the run's own judge."""
        return self.judgements if self.second is None else self.judgements.loc[~self.judgements["again"]]

    @property
    def again(self) -> pd.DataFrame:
        """The judgements of the second judge."""
        return self.judgements.loc[self.judgements["again"]]


def with_distinction(frames: Frames, told: pd.Series[float]) -> Frames:
    """The tables with the column `distinction` in `units`: by unit_id, how far its explanation tells a unit from its neighbours."""
    return dataclasses.replace(frames, units=frames.units.assign(distinction=frames.units["unit_id"].map(told)))


def of_run(ledger: Ledger, run: Run) -> Frames:
    """The tables of a run, finished or not, from the ledger's present contents."""
    units, exemplars = with_controls(run.harvest, run.spec)
    units = units.drop(columns="given")
    with ledger.read() as tx:
        explanations = judgement_rows.explanations_of(tx, run.run_id)
        rows = judgement_rows.judgement_rows(tx, run.run_id)
    second = run.spec.cascade.judge.model if run.spec.cascade else None
    judgements = _judgements(rows, units, exemplars, run.spec.judge.model, second)
    texts = {key: e.text if e.outcome is Outcome.SCORED else None for key, e in explanations.items()}
    own = [ExplanationKey(unit_id) for unit_id in units["unit_id"]]
    units["explanation"] = pd.array([texts.get(key) for key in own], dtype="string")
    outcomes = [explanations[key].outcome.value if key in explanations else None for key in own]
    units["explanation_outcome"] = pd.array(outcomes, dtype="string")
    own_judge = judgements.loc[~judgements["again"]]
    scores = unit_scores(own_judge, units)
    scores["mean_score_frequency"] = frequency.unit_means(own_judge, units, exemplars)
    n_counted = int(run.harvest_metadata["n_counted"])
    scores["mean_score_equal_rarity"] = rarity.unit_means(own_judge, units, exemplars, n_counted)
    # The levels are those of the whole corpus, of which these units read a part.
    scores.loc[scores["kind"].isin(partly_read(run.spec)), "mean_score_equal_rarity"] = float("nan")
    if run.spec.controls.neighbours:
        scores["neighbour_mean"] = arm_means(own_judge, Arm.NEIGHBOUR).reindex(scores.index)
    units = units.join(scores.drop(columns=["kind"], errors="ignore"), on="unit_id")
    units["n_exemplars"] = units["unit_id"].map(exemplars.groupby("unit_id").size()).fillna(0).astype("int64")
    if (sides := unit_sides.read(run.harvest, run.spec)) is not None:
        units = units.merge(sides, on="unit_id", how="left")
    if (effects := token_effects.read(run.harvest)) is not None:
        units = units.merge(effects, on="unit_id", how="left")
    units = with_reasons(units, own_judge, run.spec)
    return Frames(units, exemplars, judgements, {key: text for key, text in texts.items() if text}, second)


def _judgements(
    rows: list[dict[str, Any]], units: pd.DataFrame, exemplars: pd.DataFrame, judge: str, second: str | None
) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    if frame.empty:
        frame = pd.DataFrame(columns=["run_id", "job_key", *JUDGEMENT_COLUMNS])
    frame["kind"] = frame["unit_id"].map(units.set_index("unit_id")["kind"])
    frame["bin"] = frame["exemplar_id"].map(exemplars.set_index("exemplar_id")["bin"]).astype("int64")
    frame["again"] = (frame["judge"] == SECOND_JUDGE).astype("bool")
    frame["judge"] = frame["judge"].map({"": judge, SECOND_JUDGE: second})
    frame["score"] = frame["score"].astype("Int64")
    frame["expected"] = frame["expected"].astype("float64")
    return frame[[*JUDGEMENT_COLUMNS, "again"]]


def documents(exemplars: pd.DataFrame) -> pd.Series[Any]:
    """The document of each exemplar, by exemplar_id. Grades of one document are not independent."""
    return exemplars.drop_duplicates("exemplar_id").set_index("exemplar_id")["document"]


def second_judgements(ledger: Ledger, run: Run, frames: Frames) -> pd.DataFrame | None:
    """The second judge's judgements, each with its stratum and sampling probability; None if the run has no second judge."""
    if run.spec.cascade is None:
        return None
    columns = ["exemplar_id", "arm", "explanation_unit_id"]
    drawn = [
        (d.item.exemplar_id, str(d.item.arm), d.item.explained_by.text, d.stratum, d.probability)
        for d in second_judge_sample.design(ledger, run)
    ]
    return frames.again.merge(pd.DataFrame(drawn, columns=[*columns, "stratum", "probability"]), on=columns)


def label_table(ledger: Ledger, run: Run) -> pd.DataFrame | None:
    """People's grades: one row per item of their sample and rater, and one without a rater for an item that nobody has graded.

    None if no sample was drawn.
    """
    with ledger.read() as tx:
        items, rows = labels.items(tx, run.run_id), labels.of_run(tx, run.run_id)
    if not items:
        return None
    design = pd.DataFrame([dataclasses.asdict(item) for item in items])
    scores = pd.DataFrame(rows, columns=[*design.columns, "rater", "score"])[["number", "rater", "score"]]
    return design.merge(scores, on="number", how="left")


def facts_of_run(ledger: Ledger, run: Run) -> dict[str, Any]:
    """Facts that enter the summary unchanged: inputs, spending, working time and versions."""
    with ledger.read() as tx:
        row, totals = runs.get(tx, run.run_id), calls.totals(tx, run.run_id)
    assert row is not None, run.run_id
    stage_s = {**runs.stage_seconds(row), "harvest": run.harvest_metadata["harvest_s"]}
    corpus = dict(run.harvest_metadata["corpus"]) | {"n_counted": run.harvest_metadata["n_counted"]}
    return {
        **{key: run.harvest_metadata[key] for key in ("subject", "dictionary", "hook_point", "neuron_hook_point")},
        "corpus": corpus,
        "check": run.harvest_metadata.get("check"),
        "studies": dictionary_checks.read(run.harvest, run.spec),
        "run_id": run.run_id,
        "harvest": run.harvest.name,
        "created_at": _iso(row["created_at"]),
        "wall_s": sum(stage_s.values()),
        "stage_s": stage_s,
        "cost_usd": totals["cost_usd"] if not totals["unpriced_calls"] else None,
        "cost_unknown_calls": totals["unpriced_calls"],
        "lost_calls": totals["lost_calls"],
        "lost_usd_at_most": row["lost_usd"],
        "failed_attempts": totals["failed_attempts"],
        "calls": totals["calls"],
        "tokens": {
            "input": totals["input_tokens"],
            "output": totals["output_tokens"],
            "cache_write": totals["cache_write_tokens"],
            "cache_read": totals["cache_read_tokens"],
        },
        "served_models": totals["served_models"],
        "versions": _versions(),
        "rubric": {
            "name": run.rubric.name,
            "version": run.rubric.version,
            "hash": run.rubric.hash,
            "levels": [{"grade": level.grade, "text": level.text} for level in run.rubric.levels],
        },
        "seed": run.spec.units.seed,
    }


def write(frames: Frames, summary: Summary, run: Run, changes: str | None = None) -> None:
    """Write the run's data files into its folder, each completely or not at all. `changes` are those of the spec, said in `spec.toml`."""
    for name in ("units", "exemplars", "judgements"):
        write_table(run.folder / f"{name}.parquet", getattr(frames, name))
    write_table(run.folder / "explanations.parquet", _explanations(frames.explanations))
    text = json.dumps(summary.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(run.folder / "summary.json", text)
    head = f"# This run {changes}.\n\n" if changes else ""
    write_text(run.folder / "spec.toml", head + run.spec.relative_to(run.folder).to_toml())


def _explanations(texts: Mapping[ExplanationKey, str]) -> pd.DataFrame:
    """One row per explanation. `aid` is empty for a unit's own explanation."""
    rows = [(*key, text) for key, text in sorted(texts.items(), key=lambda item: item[0].text)]
    return pd.DataFrame(rows, columns=["unit_id", "aid", "explanation"])


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, completely or not at all."""
    with written_whole(path) as partial:
        table.to_parquet(partial, index=False)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name.removesuffix("-eval")] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
