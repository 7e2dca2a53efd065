"""Stability: in how many of the other dictionaries each feature is found again, and grades of all features and of those found in all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from autointerp.findings.summary import read_summary
from autointerp.stats.means import mean_limits
from autointerp.studies.finding import Listing
from autointerp.studies.splits.compared import Compared, unit_id
from sae.studies import matching


def features(compared: Compared, cosine: float) -> pd.DataFrame:
    """A row for each feature that fires at enough tokens: in how many others it is found, its score, the nearest features, its grade."""
    frames = []
    for number, (studied, side) in enumerate(zip(compared.studied, compared.sides, strict=True)):
        matches = compared.others(number)
        found, score = matching.stability(matches, cosine)
        best = np.argmax([each.similarity for each in matches], axis=0)
        others = [other for other in range(len(compared)) if other != number]
        grades = _grades(studied.run)
        rows = np.flatnonzero(side.fires)
        frames.append(
            pd.DataFrame(
                {
                    "dictionary": studied.name,
                    "unit_id": [unit_id(f) for f in rows.tolist()],
                    "explanation": [compared.explanation(number, f) for f in rows.tolist()],
                    "found_in": found[rows],
                    "of": len(matches),
                    "score": score[rows],
                    "n_tokens": side.firings.counts[rows],
                    "nearest": [
                        f"{compared.name(others[best[f]])}:{unit_id(int(matches[best[f]].nearest[f]))}" for f in rows
                    ],
                    "cosine": [matches[best[f]].cosine[f] for f in rows],
                    "jaccard": [matches[best[f]].jaccard[f] for f in rows],
                    "mean_score": [grades.get(unit_id(f), np.nan) for f in rows.tolist()],
                }
            )
        )
    table = pd.concat(frames, ignore_index=True)
    return table.sort_values(["found_in", "score"], ascending=False, kind="stable", ignore_index=True)


def listing(table: pd.DataFrame) -> Listing:
    """The table of stability."""
    columns = {
        "unit_id": "feature", "dictionary": "dictionary", "found_in": "found in", "of": "of", "score": "score", "nearest": "nearest",
        "cosine": "cosine", "jaccard": "Jaccard", "mean_score": "mean grade", "explanation": "explanation",
    }  # fmt: skip
    return Listing(
        "stability", "Features by the number of other dictionaries in which they are found again", table, columns
    )


def pairs(compared: Compared, cosine: float) -> pd.DataFrame:
    """A row for each ordered pair of dictionaries: the share of the features of one that have a twin in the other."""
    rows = []
    for (i, j), matches in compared.matches.items():
        fires = compared.sides[i].fires
        twins = matches.twins(cosine) & fires
        rows.append(
            {
                "dictionary": compared.name(i),
                "other": compared.name(j),
                "features": int(fires.sum()),
                "found": int(twins.sum()),
                "share": _mean(twins[fires]),
                "also_by_firing": _mean(matches.by_firing[twins]),
                "median_cosine": float(np.median(matches.cosine[fires])) if fires.any() else None,
                "chance_cosine": compared.chance[i, j],
            }
        )
    return pd.DataFrame(rows)


def pairs_listing(table: pd.DataFrame) -> Listing:
    """The table of pairs."""
    columns = {
        "dictionary": "features of", "other": "found in", "features": "features that fire", "found": "found", "share": "share",
        "also_by_firing": "of these nearest by firing too", "median_cosine": "median cosine of nearest", "chance_cosine": "99% of chance",
    }  # fmt: skip
    return Listing("pairs", "Dictionaries in pairs", table, columns, rows=30)


def headlines(compared: Compared, table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each dictionary with grades, the mean grade of all graded features and of those found in every other dictionary."""
    rows = []
    for studied in compared.studied:
        graded = table[(table["dictionary"] == studied.name) & table["mean_score"].notna()]
        if studied.run is None or graded.empty:
            continue
        rubric = read_summary(studied.run).rubric.grades
        stable = graded[graded["found_in"] == graded["of"]]
        parts = {name: interval(part["mean_score"], rubric) for name, part in (("all", graded), ("stable", stable))}
        rows.append({"dictionary": studied.name, **parts})
    return rows


def values(compared: Compared, table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each dictionary the number of features found in 0, 1, ... of the others."""
    rows = []
    for studied in compared.studied:
        found = table.loc[table["dictionary"] == studied.name, "found_in"].to_numpy()
        rows.append({"dictionary": studied.name, "found_in": np.bincount(found, minlength=len(compared)).tolist()})
    return rows


def _grades(run: Path | None) -> dict[str, float]:
    """Mean grades of a finished run's features by unit id."""
    if run is None:
        return {}
    rows = pq.read_table(run / "units.parquet", columns=["unit_id", "mean_score"]).to_pylist()
    return {row["unit_id"]: row["mean_score"] for row in rows if row["mean_score"] is not None}


def interval(grades: pd.Series[float], rubric: Sequence[int]) -> dict[str, Any]:
    limits = mean_limits(grades, confidence=0.95, scale=(float(rubric[0]), float(rubric[-1])))
    return {"n": len(grades), "mean": _mean(grades.to_numpy()), "low": limits.low, "high": limits.high}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
