"""The figures of a comparison: facts and shares of both indexes side by side, their distributions, and how many features are found again.

Each figure says whether it is of all features (a census, whose difference is exact for the tokens that were counted) or of those that
were drawn and graded (a sample, whose difference has an interval).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autointerp.explorer.comparison.pairs import Half, Pairs
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.comparison.schema import FOUND, NEAR, Grades
from autointerp.explorer.search.reader import Reader

DENSE = 0.01
"""Density above which a feature is called dense."""
_PARTS = 24
"""Bars of a distribution."""
_CURVE = np.round(np.arange(0.2, 1.0001, 0.02), 2)
_LEAST = 1e-30
Format = Literal["share", "count", "number", "grade"]
Values = NDArray[np.float64]


def facts(reader: Reader, run: str | None, base: str) -> dict[str, Any]:
    """What an index is of."""
    about, side = reader.about, Side(reader.folder)
    return {
        "run": run,
        "name": run or about.name,
        "base": base,
        "dictionary": about.dictionary.path,
        "hook_point": about.dictionary.hook_point,
        "architecture": about.dictionary.architecture,
        "n_features": about.n_features,
        "subject": about.subject.name,
        "precision": about.subject.precision,
        "corpus": about.corpus,
        "n_tokens": about.n_tokens,
        "n_documents": about.n_documents,
        "judge": side.summary.judge if side.summary else None,
        "explainer": side.summary.explainer if side.summary else None,
        "baselines": reader.baselines,
    }


def figures(own: Reader, other: Reader, grades: Grades | None) -> list[dict[str, Any]]:
    """Figures of both indexes, first those of all features and then those of the graded ones."""
    densities = [_active(reader, "density") for reader in (own, other)]
    n = [reader.about.n_features for reader in (own, other)]
    explained = [int(reader.columns.explained[:size].sum()) for reader, size in zip((own, other), n, strict=True)]
    found = [
        _census("features", "count", n),
        _census("never active", "share", [1 - len(each) / size for each, size in zip(densities, n, strict=True)]),
        _census(f"active at more than {DENSE:.0%} of tokens", "share", [
            float((each > DENSE).sum()) / size for each, size in zip(densities, n, strict=True)
        ]),
        _census("median density of active features", "number", [_median(each) for each in densities]),
        _census("median maximum of active features", "number", [_median(_active(r, "maximum")) for r in (own, other)]),
        _census("explained", "share", [each / size for each, size in zip(explained, n, strict=True)]),
    ]  # fmt: skip
    for measure in grades.measures if grades else []:
        found.append(
            {
                "name": measure.title,
                "basis": "sample",
                "format": "grade",
                "values": [measure.own, measure.other],
                **measure.model_dump(include={"difference", "low", "high", "smallest", "n_units", "verdict", "why"}),
            }
        )
    return found


def distributions(own: Reader, other: Reader) -> list[dict[str, Any]]:
    """Histograms of both indexes over the same parts: density and maximum of active features on a log scale, and grades."""
    found = []
    for name in ("density", "maximum"):
        values = [_active(reader, name) for reader in (own, other)]
        logs = [np.log10(np.maximum(each, _LEAST)) for each in values]
        found.append(_histogram(name, logs, log=True, basis="census"))
    grades = [_finite(reader.columns.numbers["grade"][: reader.about.n_features]) for reader in (own, other)]
    if all(len(each) for each in grades):
        found.append(
            _histogram("grade", grades, log=False, basis="sample", ends=(0.0, max(3.0, *(g.max() for g in grades))))
        )
    return found


def found_again(pairs: Pairs) -> dict[str, Any]:
    """How many active features of each index are found again in the other, by the cosine from which they count: with their mutual nearest
    (`mutual`), and with any nearest (`any`)."""
    halves = (pairs.own, pairs.other)
    return {
        "cosines": _CURVE.tolist(),
        "near": NEAR,
        "chance": pairs.matching.chance,
        "sides": [
            {
                "n": int(half.active.sum()),
                "mutual": _shares(half, half.active & half.mutual),
                "any": _shares(half, half.active),
                "counts": [int((half.active & half.mutual & (half.cosine >= at)).sum()) for at in FOUND],
                "paired": int((half.active & half.paired).sum()),
                "others": int((half.active & half.near & ~half.mutual).sum()),
                "alone": int((half.active & ~half.near).sum()),
            }
            for half in halves
        ],
        "at": list(FOUND),
    }


def lengths(pairs: Pairs) -> dict[str, int]:
    """How many entries each list has; of families, how many features split or join."""
    return {
        "pairs": len(pairs.pairs),
        "graded": len(pairs.graded),
        "changed": len(pairs.changed),
        "splits": len(np.unique(pairs.splits.family)),
        "joins": len(np.unique(pairs.joins.family)),
        "only-own": len(pairs.only_own),
        "only-other": len(pairs.only_other),
    }


def texts(pairs: Pairs) -> dict[str, Any]:
    """Of how many pairs both features are explained, how many of these have two different explanations, and how alike those are."""
    similarity = _finite(pairs.similarity(pairs.changed))
    both = int(np.isfinite(pairs.similarity(pairs.pairs)).sum())
    return {
        "explained": both,
        "changed": len(similarity),
        "similarity": float(np.median(similarity)) if len(similarity) else None,
    }


def _shares(half: Half, mask: NDArray[np.bool_]) -> list[float]:
    n = max(int(half.active.sum()), 1)
    cosines = np.sort(half.cosine[mask])
    return [round(float(len(cosines) - np.searchsorted(cosines, at)) / n, 4) for at in _CURVE.astype(np.float32)]


def _census(name: str, form: Format, values: list[float] | list[int]) -> dict[str, Any]:
    known = [float(value) if np.isfinite(value) else None for value in values]
    difference = None if known[0] is None or known[1] is None else known[1] - known[0]
    return {"name": name, "basis": "census", "format": form, "values": known, "difference": difference}


def _histogram(
    name: str, values: list[Values], *, log: bool, basis: str, ends: tuple[float, float] | None = None
) -> dict[str, Any]:
    """The share of values in each of equal parts of their range, for both indexes."""
    everything = np.concatenate(values)
    low, high = ends or ((float(everything.min()), float(everything.max())) if len(everything) else (0.0, 1.0))
    edges = np.linspace(low, max(high, low + 1e-3), _PARTS + 1)
    counts = [np.histogram(each, edges)[0].tolist() for each in values]
    return {
        "name": name,
        "log": log,
        "basis": basis,
        "edges": [float(f"{edge:.5g}") for edge in edges],
        "counts": counts,
        "n": [len(each) for each in values],
    }


def _active(reader: Reader, name: str) -> Values:
    """A column of the features that are active."""
    numbers, n = reader.columns.numbers, reader.about.n_features
    active: Values = numbers[name][:n][numbers["events"][:n] > 0].astype(np.float64)
    return active


def _finite(values: NDArray[np.floating]) -> Values:
    known: Values = values[np.isfinite(values)].astype(np.float64)
    return known


def _median(values: Values) -> float:
    return float(np.median(values)) if len(values) else float("nan")
