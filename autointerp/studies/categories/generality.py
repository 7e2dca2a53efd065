"""Whether features keep to content when its language or register changes: of the texts in which a feature fires, the share whose
counterparts it fires in as well, beside the share by chance, that of other texts of the same version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from autointerp.formatting import percent
from autointerp.studies.categories.probe_lists import ParallelSet
from autointerp.studies.finding import Listing
from autointerp.studies.search.text_ways import read_values
from autointerp.studies.search.way import KEPT
from autointerp.studies.workbench import Studied, Workbench
from sae.dictionary import Dictionary
from sae.studies.readings import TextValues, readings

LEAST_TEXTS = 3
"""Texts in which a feature fires, at least, to be listed."""
CONFIDENCE = 0.95

Fires = NDArray[np.bool_]


class _Sums(NamedTuple):
    """Sums over all features, for each text of the first version (T,): it fires; it fires in the counterpart too; expected by chance."""

    fires: NDArray[np.float64]
    kept: NDArray[np.float64]
    by_chance: NDArray[np.float64]


@dataclass(frozen=True)
class Generality:
    """Of one dictionary: `versions`, a row a version, and `features`, a row a feature and version."""

    versions: pd.DataFrame
    features: pd.DataFrame
    sentences: tuple[str, ...]

    @property
    def figures(self) -> list[dict[str, Any]]:
        """The rows of the versions."""
        return [{str(key): value for key, value in row.items()} for row in self.versions.to_dict("records")]


def generality(bench: Workbench, studied: Studied, sets: Sequence[ParallelSet]) -> Generality:
    """The generality of all features of one dictionary. Memory grows with the tokens of the texts, not with the features."""
    versions, features, sentences = [], [], []
    for each in sets:
        base, *others = each.versions
        values = read_values(bench, studied, [text for texts in each.versions.values() for text in texts])
        of_set = measured(studied.dictionary, values, len(each.versions), len(each.versions[base]))
        for version, (sums, table) in zip(others, of_set, strict=True):
            row = {"set": each.name, "from": base, "to": version, "dictionary": studied.name, **_shares(sums)}
            versions.append(row)
            sentences.append(_sentence(row, studied.name))
            ids = [f"feature-{feature}" for feature in table["feature"]]
            explanations = [studied.explanation(unit_id) for unit_id in ids]
            table = table.assign(
                set=each.name, to=version, dictionary=studied.name, unit_id=ids, explanation=explanations
            )
            features.append(table)
    return Generality(pd.DataFrame(versions), pd.concat(features, ignore_index=True), tuple(sentences))


def listings(found: Sequence[Generality], several: Mapping[str, str]) -> tuple[Listing, Listing]:
    """The tables of all dictionaries."""
    shares = {"kept": "kept", "low": "from", "high": "to (interval)", "by_chance": "by chance"}
    own = {"fires_in": "texts", "kept": "kept", "by_chance": "by chance", "explanation": "explanation"}
    features = pd.concat([each.features for each in found], ignore_index=True)
    features = features.sort_values("beyond_chance", ascending=False, kind="stable", ignore_index=True)
    return (
        Listing(
            "generality",
            "Share of a dictionary's firing that is kept in another version of the same texts",
            pd.concat([each.versions for each in found], ignore_index=True),
            {"to": "version", "from": "compared with", **several, **shares},
        ),
        Listing(
            "general_features",
            "Features that keep the most of their firing beyond chance",
            features,
            {"unit_id": "feature", "to": "version", **several, **own},
        ),
    )


def measured(
    dictionary: Dictionary, values: TextValues, n_versions: int, n_texts: int
) -> list[tuple[_Sums, pd.DataFrame]]:
    """For each version but the first: the sums over all features, and the features that keep the most beyond chance.

    The texts of `values` are those of the first version, then those of the second, and so on, `n_texts` each.
    """
    zeros = np.zeros(n_texts)
    sums = [_Sums(zeros, zeros, zeros) for _ in range(n_versions - 1)]
    tables = [pd.DataFrame()] * (n_versions - 1)
    for chunk in readings(dictionary, values):
        fires = (chunk.maximum > 0).numpy().reshape(n_versions, n_texts, -1)
        for version in range(1, n_versions):
            added, table = _compared(fires[0], fires[version], chunk.start)
            sums[version - 1] = _Sums(*(one + other for one, other in zip(sums[version - 1], added, strict=True)))
            joined = pd.concat([part for part in (tables[version - 1], table) if len(part)] or [table])
            tables[version - 1] = joined.sort_values("beyond_chance", ascending=False, kind="stable").head(KEPT)
    return list(zip(sums, tables, strict=True))


def _compared(fires: Fires, others: Fires, start: int) -> tuple[_Sums, pd.DataFrame]:
    """The sums and the table of a chunk of features from what fires in each text of two versions, (T, count) each."""
    kept = fires & others
    elsewhere = fires * (others.sum(axis=0) - others) / max(1, len(others) - 1)
    n = fires.sum(axis=0)
    listed = np.flatnonzero(n >= LEAST_TEXTS)
    share, by_chance = kept.sum(axis=0)[listed] / n[listed], elsewhere.sum(axis=0)[listed] / n[listed]
    table = {"feature": listed + start, "fires_in": n[listed], "kept": share, "by_chance": by_chance}
    sums = _Sums(*(part.sum(axis=1).astype(np.float64) for part in (fires, kept, elsewhere)))
    return sums, pd.DataFrame(table | {"beyond_chance": share - by_chance})


def _shares(sums: _Sums) -> dict[str, float]:
    """The shares over all features, with the jackknife interval over texts of the one that is kept; NaN if nothing fires."""
    fires, kept = sums.fires, sums.kept
    total = float(fires.sum())
    if not total:
        return dict.fromkeys(("kept", "low", "high", "by_chance"), float("nan"))
    share, n = float(kept.sum()) / total, len(fires)
    without = (kept.sum() - kept) / np.maximum(total - fires, 1e-12)
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
    by_chance = float(sums.by_chance.sum()) / total
    return {"kept": share, "low": max(0.0, share - half), "high": min(1.0, share + half), "by_chance": by_chance}


def _sentence(row: Mapping[str, Any], name: str) -> str:
    n = "" if row["kept"] == row["kept"] else " (nothing fires)"
    return (
        f"From {row['from']} to {row['to']}, the features of {name} keep {percent(row['kept'])} of their firing"
        f" [{percent(row['low'])}, {percent(row['high'])}], against {percent(row['by_chance'])} by chance{n}."
    )
