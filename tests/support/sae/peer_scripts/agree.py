"""Agreement by scikit-learn, irrCAC and krippendorff: reads cases as JSON from a file, prints theirs as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import krippendorff
import numpy as np
import pandas as pd
from irrCAC.raw import CAC
from sklearn.metrics import cohen_kappa_score

GRADES = [0, 1, 2, 3]
found = []
for case in json.loads(Path(sys.argv[1]).read_text()):
    ratings = np.array(case["ratings"], dtype=float)  # (raters, items), NaN where a rater left an item out
    one = {"alpha": krippendorff.alpha(reliability_data=ratings, value_domain=GRADES, level_of_measurement="ordinal")}
    if len(ratings) == 2:
        a, b = ratings.astype(int)
        one["kappa"] = cohen_kappa_score(a, b, labels=GRADES, weights="quadratic", sample_weight=case["weights"])
        table = CAC(pd.DataFrame({"a": a, "b": b}), weights="quadratic", categories=GRADES, digits=12)
        one["ac2"] = float(table.gwet()["est"]["coefficient_value"])
    found.append(one)
print(json.dumps(found))
