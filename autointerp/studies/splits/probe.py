"""A linear probe of two sets of texts as a witness of absorption, as in Chanin et al. (2024): it says where a concept holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sae.dictionary import Dictionary
from sae.studies.concept_directions import fit_probe, held_out_accuracy, last_values
from sae.subject.model import Subject


@dataclass(frozen=True)
class Probe:
    """A probe as a dictionary of one feature, whose activation is the distance from the probe's boundary. `accuracy`: balanced, on texts
    that it was not fitted to; None if there are too few."""

    dictionary: Dictionary
    accuracy: float | None


def probe_of(subject: Subject, hook_point: str, positive: Sequence[str], negative: Sequence[str]) -> Probe:
    """The probe that tells the last tokens of two sets of texts apart. Raises `SubjectError` for an empty text."""
    x = last_values(subject, [hook_point], [*positive, *negative])[hook_point]
    is_positive = np.arange(len(x)) < len(positive)
    weights, intercept = fit_probe(x, is_positive)
    length = max(float(np.linalg.norm(weights)), 1e-12)
    row = torch.tensor(weights / length, dtype=torch.float32)[None]
    dictionary = Dictionary(
        W_enc=row, b_enc=torch.tensor([intercept / length], dtype=torch.float32), W_dec=row,
        b_dec=torch.zeros(row.shape[1]), activation="relu", hook_point=hook_point, path="probe",
    )  # fmt: skip
    return Probe(dictionary, held_out_accuracy(x, is_positive))
