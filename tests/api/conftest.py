"""The run that every way through the API is compared with."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from support.planted_world import world as planted
from support.planted_world.small_run import FEATURES, NEURONS, Evaluated

from autointerp.cli.main import main
from autointerp.findings.summary import read_summary


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("api")
    world = planted.make(folder / "world", documents=120)
    tables = {
        "corpus": {"context_tokens": 64, "max_tokens": 20_000},
        "units": {"feature_ids": list(FEATURES), "neuron_ids": list(NEURONS)},
        "harvest": {"window_tokens": 16, "bins": 4},
        "explain": {"top": 6, "spread": 4, "quiet": 3},
        "score": {"per_bin": 3},
        "controls": {"shuffled": 2, "base_rate": 2, "planted": 0, "repeated": 0, "neighbours": 3} | planted.NO_RANDOM,
        "studies": {"tokens": 0},
        "report": {"resamples": 200},
    }
    spec = world.spec(**tables).model_copy(update={"name": "run"})
    (folder / "spec.toml").write_text(spec.to_toml(), encoding="utf-8")
    arguments = ["run", str(folder / "spec.toml"), "--results", str(folder / "results"), "--quiet"]
    done = CliRunner().invoke(main, arguments)
    [run] = (folder / "results").glob("run-*")
    assert read_summary(run), done.output
    return Evaluated(world, run)
