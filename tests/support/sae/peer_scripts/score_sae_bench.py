"""SAEBench's autointerp score of given replies."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from writing import absent, without_init

ABSENT = ("sae_lens", "tabulate", "transformer_lens", "openai", "tqdm")
UTILS = ("activation_collection", "dataset_utils", "general_utils", "indexing_utils", "sae_selection_utils")
absent(*ABSENT, "sae_bench.sae_bench_utils", *(f"sae_bench.sae_bench_utils.{name}" for name in UTILS))
absent("sae_bench.evals.autointerp.eval_config", "sae_bench.evals.autointerp.eval_output")
without_init("sae_bench", "evals", "evals.autointerp")

from sae_bench.evals.autointerp.main import AutoInterp  # noqa: E402


def score(row: dict[str, object]) -> float:
    judge = AutoInterp.__new__(AutoInterp)
    shown = [SimpleNamespace(is_active=truth) for truth in row["truth"]]
    return judge.score_predictions(judge.parse_predictions(row["reply"]), shown)


print(json.dumps([score(row) for row in json.loads(Path(sys.argv[1]).read_text())]))
