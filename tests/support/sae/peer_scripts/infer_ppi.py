"""Prediction-powered means by ppi-python: reads cases as JSON from a file, prints estimate, limits and power as JSON."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np

# It compiles two functions, of which the mean needs neither.
numba = types.ModuleType("numba")
numba.njit = lambda *a, **_: a[0] if a and callable(a[0]) else (lambda function: function)
sys.modules["numba"] = numba

from ppi_py import ppi_mean_ci, ppi_mean_pointestimate  # noqa: E402
from ppi_py.ppi import _calc_lam_glm  # noqa: E402

found = []
for case in json.loads(Path(sys.argv[1]).read_text()):
    label, seen, unseen = (np.array(case[name], dtype=float) for name in ("label", "seen", "unseen"))
    value = ppi_mean_pointestimate(label, seen, unseen, lam=case["power"])
    low, high = ppi_mean_ci(label, seen, unseen, alpha=0.05, lam=case["power"])
    power = _calc_lam_glm(label, seen, unseen, np.eye(1), clip=True)
    found.append([float(np.squeeze(x)) for x in (value, low, high, power)])
print(json.dumps(found))
