"""The texts behind a discovery: every probe and control with the activation of the feature."""

from __future__ import annotations

import numpy as np
import pandas as pd

from autointerp.studies.categories.probe_lists import Category
from autointerp.studies.search.contexts import marked
from autointerp.studies.workbench import Studied
from sae.studies.readings import TextValues, activations_at_tokens

FEATURES = 10
"""Features of a category whose texts are listed."""
COLUMNS = {"unit_id": "feature", "category": "category", "side": "side", "activation": "activation", "context": "text"}


def evidence(
    found: pd.DataFrame, studied: Studied, values: TextValues, categories: tuple[Category, ...]
) -> pd.DataFrame:
    """A row for each text of the first features of each category, by feature, the strongest activation first."""
    first = found.groupby("category", sort=False).head(FEATURES)
    features = sorted({int(feature) for feature in first["feature"]})
    by_text = activations_at_tokens(studied.dictionary, values, features) if features else []
    starts = np.cumsum([0, *(len(each.probes) + len(each.controls) for each in categories)]).tolist()
    place = {each.name: (start, each) for each, start in zip(categories, starts, strict=False)}
    rows = []
    for feature, name in zip(first["feature"], first["category"], strict=True):
        start, category = place[name]
        texts = (*category.probes, *category.controls)
        of_feature = []
        for offset, text in enumerate(texts):
            own = by_text[start + offset][features.index(int(feature))]
            peak = float(own.max(initial=0.0))
            tokens = values.tokens[start + offset]
            of_feature.append(
                {
                    "category": name,
                    "dictionary": studied.name,
                    "unit_id": f"feature-{int(feature)}",
                    "side": "probe" if offset < len(category.probes) else "control",
                    "activation": peak,
                    "context": marked(tokens, int(own.argmax())) if peak > 0 else text,
                }
            )
        rows += sorted(of_feature, key=lambda row: -float(str(row["activation"])))
    return pd.DataFrame(rows, columns=["category", "dictionary", "unit_id", "side", "activation", "context"])
