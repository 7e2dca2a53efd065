"""What is known of features that a study lists: explanation, grade, and the context in which they are most active."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autointerp.studies.workbench import Studied
from sae.studies.readings import TextValues, activations_at_tokens

_BEFORE, _AFTER = 30, 40
"""Characters of a context on either side of the marked token."""


def described(frame: pd.DataFrame, studied: Studied, values: TextValues | None = None) -> pd.DataFrame:
    """The frame, with a column `feature`, and columns `dictionary`, `unit_id`, `explanation`, `grade` (mean in the run) and `context`.

    A context is that of the strongest activation, its token between « and »: in the texts of `values`, else in the run; empty if
    neither is known.
    """
    features = [int(feature) for feature in frame["feature"]]
    ids = [f"feature-{feature}" for feature in features]
    contexts = text_contexts(studied, features, values) if values else run_contexts(studied, ids)
    return frame.assign(
        dictionary=studied.name,
        unit_id=ids,
        explanation=[studied.explanation(unit_id) for unit_id in ids],
        grade=pd.Series(_grades(studied, ids), index=frame.index, dtype="float64"),
        context=contexts,
    )


def text_contexts(studied: Studied, features: Sequence[int], values: TextValues) -> list[str]:
    """The strongest context of each feature in texts."""
    if not features:
        return []
    by_text = activations_at_tokens(studied.dictionary, values, features)
    contexts = []
    for row in range(len(features)):
        peaks = [float(activations[row].max(initial=0.0)) for activations in by_text]
        text = int(np.argmax(peaks))
        tokens = values.tokens[text]
        contexts.append(marked(tokens, int(by_text[text][row].argmax())) if peaks[text] > 0 else "")
    return contexts


def run_contexts(studied: Studied, unit_ids: Sequence[str]) -> list[str]:
    """The strongest context of each unit among the windows that its run keeps."""
    if studied.run is None or not unit_ids:
        return [""] * len(unit_ids)
    columns = ["unit_id", "activation", "tokens", "mark"]
    table = pq.read_table(
        studied.run / "exemplars.parquet", columns=columns, filters=pc.field("unit_id").isin(list(unit_ids))
    ).to_pandas()
    strongest = table.sort_values("activation", ascending=False, kind="stable").drop_duplicates("unit_id")
    contexts = {
        row.unit_id: marked(list(row.tokens), int(row.mark)) for row in strongest.itertuples() if row.activation > 0
    }
    return [contexts.get(unit_id, "") for unit_id in unit_ids]


def marked(tokens: Sequence[str], mark: int) -> str:
    """The tokens around a mark as one line, the marked one between « and »."""
    before, token, after = "".join(tokens[:mark]), tokens[mark], "".join(tokens[mark + 1 :])
    word = token.strip() or token
    start, end = token.split(word, 1) if word != token else ("", "")
    line = f"{before[-_BEFORE:]}{start}«{word}»{end}{after[:_AFTER]}"
    return " ".join(line.split())


def _grades(studied: Studied, unit_ids: Sequence[str]) -> list[float | None]:
    if studied.run is None:
        return [None] * len(unit_ids)
    rows = pq.read_table(studied.run / "units.parquet", columns=["unit_id", "mean_score"]).to_pylist()
    grades = {row["unit_id"]: row["mean_score"] for row in rows}
    return [grades.get(unit_id) for unit_id in unit_ids]
