"""Dictionaries of the planted world's filler words whose trees, twins and absorbers are known.

A filler word has an axis of its own, so a feature that reads the sum of some axes fires at these words. `SMALL` has features of six
words each. In `LARGE` some of them split, one stays, one is absorbed by a feature of its word, and some features are new. `OTHER` is
`SMALL` trained with another seed: it lacks two features and has two others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from support.planted_world import world as planted

from sae.dictionary import Dictionary
from sae.formats.saelens import writer

HOOK = "resid_post.1"
Words = tuple[int, ...]


@dataclass(frozen=True)
class Feature:
    """The filler words at which a feature fires; those along whose axes it writes, if others."""

    reads: Words
    writes: Words = ()


def _six(first: int) -> Words:
    return tuple(range(first, first + 6))


SMALL = [Feature(_six(6 * i)) for i in range(6)]
LARGE = [
    *(Feature((word,)) for word in _six(0)),  # 0 to 5: children of 0
    *(Feature((6 + 2 * i, 7 + 2 * i)) for i in range(3)),  # 6 to 8: children of 1
    Feature(_six(12)),  # 9: the same as 2
    Feature((18, 19, 20, 21, 22), _six(18)),  # 10: 3, silent at word 23
    Feature((23,), (*_six(18), 23, 23)),  # 11: absorbs 10
    Feature(_six(24)),  # 12: the same as 4
    Feature((24, 25), (*_six(24), 24, 25)),  # 13: fires beside 12, so it absorbs nothing
    *(Feature((word,)) for word in range(40, 44)),  # 14 to 17: new; 5 is lost
]
OTHER = [*SMALL[:4], Feature(_six(44)), Feature(_six(50))]
TREE = {0: {0, 1, 2, 3, 4, 5}, 1: {6, 7, 8}, 2: {9}, 3: {10, 11}, 4: {12, 13}}
ABSORBED = {("feature-10", "feature-11")}


def save(folder: Path, features: Sequence[Feature], hook_point: str = HOOK) -> Path:
    """Write a dictionary of these features."""
    W_enc = torch.stack([_row(feature.reads) for feature in features])
    W_dec = torch.nn.functional.normalize(
        torch.stack([_row(feature.writes or feature.reads) for feature in features]), dim=1
    )
    dictionary = Dictionary(
        W_enc=W_enc, b_enc=torch.full((len(features),), -0.05), W_dec=W_dec, b_dec=torch.zeros(planted.D_MODEL),
        activation="relu", hook_point=hook_point,
    )  # fmt: skip
    writer.save(folder, dictionary, model_name="planted")
    return folder


def _row(words: Words) -> torch.Tensor:
    row = torch.zeros(planted.D_MODEL)
    for word in words:
        row += planted.reading([f"filler{word}"])
    return row
