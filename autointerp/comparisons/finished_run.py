"""A finished run as a comparison reads it: from the files of its results folder alone."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.findings.summary import Summary, read_summary
from autointerp.records import COMPARED, Arm
from autointerp.report.run_folder import folder_of
from autointerp.spec.spec import parse
from autointerp.stats.comparison import scored_rows

_JUDGEMENTS = ["exemplar_id", "unit_id", "kind", "arm", "bin", "outcome", "score"]
_ADDED = ["expected", "again"]
"""Columns of judgements that early versions lack."""
_UNITS = ["unit_id", "kind", "explanation", "mean_score"]
_SECTIONS = {
    "explain": "explanation settings",
    "score": "grading settings",
    "units": "sampled units",
    "harvest": "harvest settings",
}
"""Sections of the spec whose differences are named, with their names."""


@dataclass(frozen=True)
class FinishedRun:
    """One run's results. Only features and neurons are kept, under their own explanations and graded by the run's own judge."""

    run_id: str
    folder: Path
    summary: Summary
    spec: Mapping[str, Any]
    """The spec's identity: every key that decides the result."""
    units: pd.DataFrame
    """Columns unit_id, kind, explanation, mean_score, and `distinction` if it was measured."""
    items: pd.DataFrame
    """One row per graded exemplar and arm, repeats averaged: unit_id, kind, arm, bin, exemplar_id, document, score."""
    unscored: pd.DataFrame
    """The exemplars of the main arm without a grade: unit_id, kind, bin, exemplar_id, document."""

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the run's grades, by name, as values that are equal if and only if they are the same."""
        summary = self.summary
        score = {key: value for key, value in self.spec.get("score", {}).items() if key not in ("rubric", "also")}
        sections = {**self.spec, "score": score}
        return {
            "dictionary": (summary.dictionary.fingerprint, summary.hook_point),
            "judge": (summary.judge, self.spec.get("judge")),
            "explainer": (summary.explainer, self.spec.get("explainer") or self.spec.get("judge")),
            "rubric": summary.rubric.hash,
            **{name: sections.get(section) for section, name in _SECTIONS.items()},
            "subject": summary.subject.fingerprint,
            "corpus": summary.corpus.fingerprint,
        }

    def population(self, kind: str) -> tuple[str, ...]:
        """The units among which the run's were sampled. Units of one population with the same id are the same."""
        subject = self.summary.subject.fingerprint
        if kind == "neuron":
            return ("neuron", subject, self.summary.neuron_hook_point)
        return (kind, subject, self.summary.hook_point, self.summary.dictionary.fingerprint)

    @property
    def unscored_share(self) -> float:
        """Share of the main arm's exemplars without a grade."""
        graded = int((self.items["arm"] == Arm.MAIN.value).sum())
        return len(self.unscored) / max(graded + len(self.unscored), 1)


def read(run: str, results: Path) -> FinishedRun:
    """Read a run, given as its id in `results` or as its folder. Raises `UsageError` if it does not exist or is not finished."""
    folder = folder_of(run, results)
    summary = read_summary(folder)
    judged = _table(folder / "judgements.parquet", _JUDGEMENTS, _ADDED)
    documents = _table(folder / "exemplars.parquet", ["exemplar_id", "document"])
    units = _table(folder / "units.parquet", _UNITS, ["distinction"])
    own = ~judged["again"].astype(bool) if "again" in judged else pd.Series(True, judged.index)
    judged = judged.loc[own & judged["kind"].isin(COMPARED) & (judged["arm"] != Arm.VARIANT.value)]
    document = documents.drop_duplicates("exemplar_id").set_index("exemplar_id")["document"]
    items = _items(judged)
    main = judged.loc[judged["arm"] == Arm.MAIN.value].drop_duplicates("exemplar_id")
    graded = items.loc[items["arm"] == Arm.MAIN.value, "exemplar_id"]
    unscored = main.loc[~main["exemplar_id"].isin(graded), ["unit_id", "kind", "bin", "exemplar_id"]]
    return FinishedRun(
        run_id=summary.run_id,
        folder=folder,
        summary=summary,
        spec=_identity(folder / "spec.toml"),
        units=units.loc[units["kind"].isin(COMPARED)].reset_index(drop=True),
        items=items.assign(document=items["exemplar_id"].map(document).fillna(-1).astype("int64")),
        unscored=unscored.assign(document=unscored["exemplar_id"].map(document).fillna(-1).astype("int64")),
    )


def _items(judged: pd.DataFrame) -> pd.DataFrame:
    """One row per graded exemplar and arm, with the mean of its repeats, sorted."""
    keys = ["unit_id", "kind", "arm", "bin", "exemplar_id"]
    rows = scored_rows(judged)
    if bool(rows.duplicated(["arm", "exemplar_id"]).any()):
        rows = rows.groupby(keys)["score"].mean().reset_index()
    return rows[[*keys, "score"]].sort_values(["arm", "exemplar_id"], ignore_index=True)


def _identity(path: Path) -> dict[str, Any]:
    try:
        return parse(tomllib.loads(path.read_text(encoding="utf-8"))).identity()
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: name a run whose folder is complete") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): run the spec again") from None


def _table(path: Path, columns: list[str], optional: list[str] | None = None) -> pd.DataFrame:
    """The columns of a Parquet file; those in `optional` if it has them. Raises `UsageError`."""
    try:
        present = set(pq.read_schema(path).names)
        if missing := [name for name in columns if name not in present]:
            raise UsageError(f"{path} lacks the column {missing[0]}: run the spec again with this version")
        return pd.read_parquet(path, columns=[*columns, *(name for name in optional or [] if name in present)])
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: name a run whose folder is complete") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0]}): run the spec again") from None
