"""`autointerp compare` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from support.results.graded_runs import write

from autointerp.cli.main import main


def test_compare_prints_a_verdict_and_plan_a_table_and_errors_have_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features, neurons = (rng.binomial(3, level, (20, 3, 3)).astype(float) for level in (0.5, 0.2))
    changed = np.where(rng.random(features.shape) < 0.5, np.minimum(features + 1, 3), features)
    write(tmp_path / "first", features, neurons, judge="openai/a")
    write(tmp_path / "second", changed, neurons, judge="openai/b")
    results = ["--results", str(tmp_path)]
    compared = CliRunner().invoke(main, ["compare", "first", "second", *results])
    assert compared.exit_code == 0
    assert compared.output.startswith("second is better than first: mean grade of features +0.")
    planned = CliRunner().invoke(main, ["compare", "--plan", "0.3", "first", *results])
    assert (planned.exit_code, planned.output.split()[0]) == (0, "per_bin")
    alone = CliRunner().invoke(main, ["compare", "first", *results])
    assert (alone.exit_code, alone.output.count("\n")) == (2, 1)
    assert "first alone cannot be compared" in alone.output
