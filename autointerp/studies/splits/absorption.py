"""Absorption: features that are silent although a witness says that their concept holds, and the features that fire instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from autointerp.prompts.untrusted_text import render_window
from autointerp.studies.finding import Listing
from autointerp.studies.splits import windows
from autointerp.studies.splits.compared import Compared, unit_id
from autointerp.studies.splits.trees import Level
from sae.corpus.corpus import Corpus
from sae.studies.absorption import Absorption, Witness, absorbers, main_feature
from sae.subject.model import Subject

_COLUMNS = (
    "unit_id", "dictionary", "explanation", "absorber", "absorber_explanation", "witness", "n_holds", "n_missed", "n_absorbed",
    "inside", "cosine", "carried", "tokens", "example",
)  # fmt: skip

PROBE = "probe of the texts"


def table(compared: Compared, levels: list[Level], cosine: float, subject: Subject, corpus: Corpus) -> pd.DataFrame:
    """A row for each feature and absorber, those with the most absorbed tokens first. `tokens` are numbers of the sampled tokens."""
    rows = []
    for number in range(len(compared)):
        best: dict[tuple[int, int], tuple[Absorption, str, str]] = {}
        for feature, witness, name, explanation in _witnesses(compared, levels, number, cosine):
            for found in absorbers(compared.sides[number], feature, witness):
                key = feature, found.absorber
                if key not in best or found.n_absorbed > best[key][0].n_absorbed:
                    best[key] = found, name, explanation
        rows += [_row(compared, number, *each) for each in best.values()]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS[:-1]))
    frame = frame.sort_values(["n_absorbed", "carried"], ascending=False, kind="stable", ignore_index=True)
    first = [tokens[0] for tokens in frame["tokens"]]
    shown = windows.around(subject, corpus, compared.sampled, first)
    return frame.assign(example=[render_window(window).strip() for window in shown])


def listing(frame: pd.DataFrame, *, judged: bool) -> Listing:
    """The table of absorption."""
    columns = {
        "unit_id": "feature", "dictionary": "of", "explanation": "explanation", "absorber": "absorber",
        "absorber_explanation": "its explanation", "witness": "witness", "n_missed": "tokens missed", "n_absorbed": "with absorber", "n_holds": "of",
        "cosine": "cosine", "carried": "carried", "example": "example",
    } | ({"held": "explanation holds"} if judged else {})  # fmt: skip
    return Listing(
        "absorption", "Features that are silent where their concept holds, and those that fire instead", frame, columns
    )


def values(frame: pd.DataFrame) -> dict[str, Any]:
    """Numbers of absorbed features and absorbers by dictionary."""
    groups = frame.groupby("dictionary", sort=True)
    return {
        str(name): {
            "features": int(group["unit_id"].nunique()),
            "absorbers": int(group["absorber"].nunique()),
            "pairs": len(group),
            "median_missed": float(np.median(lost(group))),
        }
        for name, group in groups
    }


def lost(frame: pd.DataFrame) -> np.ndarray:
    """The share of the concept's tokens at which each absorbed feature is silent, the largest over its witnesses."""
    shares = (frame["n_missed"] / frame["n_holds"]).groupby([frame["dictionary"], frame["unit_id"]]).max()
    return shares.to_numpy()


def _witnesses(
    compared: Compared, levels: list[Level], number: int, cosine: float
) -> Iterator[tuple[int, Witness, str, str]]:
    """Features of a dictionary that fire, each with a witness, its name, and an explanation of what it stands for."""
    fires = compared.sides[number].fires
    if compared.probe is not None and (main := main_features(compared)[number]) is not None:
        yield main, Witness(compared.probe, (0,)), PROBE, ""
    for other in range(len(compared)):
        if other == number:
            continue
        matches, firings = compared.matches[number, other], compared.sides[other].firings
        for feature in np.flatnonzero(matches.twins(cosine) & fires).tolist():
            twin = int(matches.nearest[feature])
            name = f"{compared.name(other)}:{unit_id(twin)}"
            yield feature, Witness(firings, (twin,)), name, compared.explanation(other, twin)
    for level in levels:
        if level.smaller == number:
            firings = compared.sides[level.larger].firings
            for parent, children in level.children.items():
                if len(children) > 1:
                    name = f"{compared.name(level.larger)}: {len(children)} children"
                    yield parent, Witness(firings, tuple(children)), name, ""


def main_features(compared: Compared) -> list[int | None]:
    """For each dictionary the feature whose firing agrees best with the probe."""
    if compared.probe is None:
        return [None] * len(compared)
    return [main_feature(side.firings, compared.probe.tokens_of(0)) for side in compared.sides]


def _row(compared: Compared, number: int, found: Absorption, witness: str, explanation: str) -> dict[str, Any]:
    return {
        "unit_id": unit_id(found.feature),
        "dictionary": compared.name(number),
        "explanation": compared.explanation(number, found.feature) or explanation,
        "absorber": unit_id(found.absorber),
        "absorber_explanation": compared.explanation(number, found.absorber),
        "witness": witness,
        "n_holds": found.n_holds,
        "n_missed": found.n_missed,
        "n_absorbed": found.n_absorbed,
        "inside": found.inside,
        "cosine": found.cosine,
        "carried": found.carried,
        "tokens": list(found.examples),
    }
