"""Results folders of finished runs with given grades, for comparisons."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from support.results import summaries

Floats = NDArray[np.float64]


def write(
    folder: Path,
    features: Floats,
    neurons: Floats,
    *,
    shuffled: Floats | None = None,
    dictionary: str = "d",
    judge: str = "openai/gpt-test",
    corpus: str = "c",
    subject: str = "s",
    texts: int = 400,
    first_feature: int = 0,
    told: Floats | None = None,
    seed: int = 0,
) -> Path:
    """Write a finished run with these grades (units, bins, exemplars); NaN stands for a refusal, and a unit of NaN alone is left out.

    `shuffled` are the features' grades under another's explanation, `told` their distinction. Exemplars of one unit id lie in the same
    texts in every run with the same `seed`.
    """
    rows = [*_rows(features, "feature", "main", first_feature), *_rows(neurons, "neuron", "main", 0)]
    if shuffled is not None:
        rows += _rows(shuffled, "feature", "shuffled", first_feature)
    judgements = pd.concat(rows, ignore_index=True)
    judgements["judge"] = judge
    judgements["repeat"] = 0
    exemplars = judgements[["exemplar_id", "unit_id", "bin"]].drop_duplicates("exemplar_id")
    hashed = pd.util.hash_array(exemplars["exemplar_id"].to_numpy(dtype=object), hash_key=f"{seed:016d}")
    exemplars = exemplars.assign(document=(hashed % np.uint64(texts)).astype("int64"))
    main = judgements.loc[judgements["arm"] == "main"]
    units = main.groupby(["unit_id", "kind"], as_index=False)["score"].mean().rename(columns={"score": "mean_score"})
    units["explanation"] = "names of rivers, by " + judge + " in " + folder.name
    if told is not None:
        place = units["unit_id"].str.extract(r"(\d+)")[0].astype(int) - first_feature
        units["distinction"] = np.where(units["kind"] == "feature", told[place.clip(0, len(told) - 1)], np.nan)
    folder.mkdir(parents=True)
    summary = json.loads(_template())
    summary |= {"run_id": folder.name, "name": folder.name, "judge": judge, "explainer": judge}
    summary |= {"judge_is_llm": True, "explainer_is_llm": True}
    summary["dictionary"] |= {"name": dictionary, "fingerprint": dictionary}
    summary["corpus"]["fingerprint"], summary["subject"]["fingerprint"] = corpus, subject
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "spec.toml").write_text(_spec(dictionary, judge, features.shape[1]), encoding="utf-8")
    units.to_parquet(folder / "units.parquet")
    exemplars.to_parquet(folder / "exemplars.parquet")
    judgements.assign(score=judgements["score"].astype("Int64")).to_parquet(folder / "judgements.parquet")
    return folder


def _rows(grades: Floats, kind: str, arm: str, first: int) -> list[pd.DataFrame]:
    unit, bin_, item = (axis.ravel() for axis in np.indices(grades.shape))
    sign = "+" if kind == "neuron" else ""
    ids = np.array([f"{kind}-{first + u}{sign}" for u in range(len(grades))], dtype=object)[unit]
    score = grades.ravel()
    places = pd.Series(bin_ + 1).astype(str) + "." + pd.Series(item).astype(str)
    rows = pd.DataFrame({"exemplar_id": ids + "@" + places, "unit_id": ids, "kind": kind, "arm": arm, "bin": bin_ + 1})
    rows["outcome"] = np.where(np.isnan(score), "refusal", "scored")
    rows["score"] = score
    present = ~np.isnan(grades).all(axis=(1, 2))
    return [rows.loc[present[unit]]]


@functools.cache
def _template() -> str:
    with tempfile.TemporaryDirectory() as folder:
        summary: dict[str, Any] = summaries.make(Path(folder) / "run", n_features=2, n_neurons=2, bins=2, per_bin=1)
    return json.dumps(summary)


def _spec(dictionary: str, judge: str, bins: int) -> str:
    return f"""
[subject]
model = "subject"
[dictionary]
path = "{dictionary}"
hook_point = "resid_post.1"
[corpus]
sources = ["text.jsonl"]
[harvest]
bins = {bins}
[judge]
model = "{judge}"
"""
