"""All features of an index get explanations: some from a judge over HTTP, the others from them, under a budget and after interruptions."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from support import explorer_index
from support.explorer_spec import spec
from support.locations import ROOT
from support.providers import protocols as wire
from support.providers.server import ProviderServer, Script

from autointerp.calls import caller
from autointerp.cli.main import main
from autointerp.errors import INTERRUPTED_EXIT_CODE
from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import EXAMPLES, LABELS, UNITS, IndexFolder
from autointerp.explorer.label_all.outcome import FILE
from autointerp.explorer.propagation import checks
from autointerp.explorer.search.reader import Reader
from autointerp.judges import retry
from autointerp.judges.embedded.explanation_parser import NOTHING

RUN, N, FAMILIES = "families-1", 120, 6
MARK = re.compile(r"<<\s*(\w+)>>")


def knows(system: str, user: str, questions: wire.Json) -> wire.Json:
    """A judge that explains a unit by its word, and grades 3 if the marked word is that of the explanation."""
    if "explanation" in questions["properties"]:
        return {"explanation": f"the word {MARK.findall(user)[0]}"}
    grades = [
        3 if MARK.findall(item)[0] == item.split("</explanation>")[0].split()[-1] else 0
        for item in user.split("<explanation>")[1:]
    ]
    if "$defs" in questions:
        return {str(number): {"reason": "as marked", "grade": grade} for number, grade in enumerate(grades, 1)}
    return {"reason": "as marked", "grade": grades[0]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.01)
    monkeypatch.setattr(caller, "MIN_PAUSE_S", 0.05)
    for name, fewer in (("PER_ROUND", 16), ("SAMPLE", 8), ("LIKELY", 2)):
        monkeypatch.setattr(checks, name, fewer)


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(knows) as started:
        yield started


@pytest.fixture
def index(tmp_path: Path, server: ProviderServer) -> IndexFolder:
    """The index of a run whose features are of six families, each active at one word; the last feature is never active."""
    folder = explorer_index.make(
        tmp_path / RUN / "index", n_features=N, n_neurons=0, labelled=0, per_bin=1, n_tokens=20, run=RUN
    )
    word = [f" {explorer_index.WORDS[9 + row % FAMILIES]}" for row in range(N)]
    examples = [example for example in folder.table(EXAMPLES).to_pylist() if example["row"] < N - 1]
    for example in examples:
        example["tokens"][example["mark"]] = word[example["row"]]
        example["activations"] = [float(i == example["mark"]) * example["activation"] for i in range(20)]
    with folder.writer(EXAMPLES) as writer:
        for first, n_rows, _ in folder.about.groups:
            rows = [example for example in examples if first <= example["row"] < first + n_rows]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema.EXAMPLES))
    rng, units = np.random.default_rng(0), folder.table(UNITS).to_pylist()
    for unit in units:
        family = [row for row in range(unit["row"] % FAMILIES, N, FAMILIES) if row != unit["row"]]
        unit["nearest"] = [{"row": int(row), "cosine": 0.6} for row in rng.choice(family, 4, replace=False)]
        unit["together"] = []
        unit["events"] *= unit["row"] < N - 1
    folder.write_table(UNITS, pa.Table.from_pylist(units, schema=schema.UNITS))
    (tmp_path / RUN / "spec.toml").write_text(spec(server.url).to_toml())
    (tmp_path / RUN / "summary.json").write_text("{}")
    return folder


def explain(tmp_path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["explain", RUN, "--results", str(tmp_path), "--quiet", *options])


def labels(index: IndexFolder, source: str) -> dict[int, dict[str, Any]]:
    return {label["row"]: label for label in index.table(LABELS).to_pylist() if label["source"] == source}


def word_of(text: str) -> int:
    """The family that an explanation names."""
    return explorer_index.WORDS.index(text.split()[-1]) - 9


def test_a_share_is_explained_and_the_others_get_these_explanations_with_a_probability(
    index: IndexFolder, server: ProviderServer, tmp_path: Path
) -> None:
    done = explain(tmp_path, "--units", "12", "--usd", "50")
    assert done.exit_code == 0, done.output
    own, taken = labels(index, "live"), labels(index, "propagated")
    assert len(own) == 12
    assert len(taken) > 0.7 * N
    right = [word_of(label["explanation"]) == row % FAMILIES for row, label in taken.items()]
    assert np.mean(right) > 0.9
    for row, label in taken.items():
        assert label["explanation"] == own[label["from_row"]]["explanation"]
        assert 0 < label["probability"] <= 1
        assert row not in own
    assert N - 1 not in {*own, *taken}, "a feature that is never active has no evidence"
    assert f"{N} features: 12 explained, {len(taken)} propagated" in done.stdout
    assert ">= 0.90" in done.stdout
    outcome = json.loads((index.path / FILE).read_text())
    assert outcome["point"]["units"] == len(taken)
    assert set(outcome["by_chance"]) < set(outcome["chosen"]) == set(own)
    shown = Reader(index).unit(next(iter(taken)))["labels"][0]
    assert shown["from"] == f"feature-{shown['from_row']}"


@pytest.mark.slow
def test_the_same_command_asks_nothing_again_and_finds_the_same(
    index: IndexFolder, server: ProviderServer, tmp_path: Path
) -> None:
    done = explain(tmp_path, "--units", "12", "--usd", "50")
    taken, asked = labels(index, "propagated"), len(server.books)
    assert explain(tmp_path, "--units", "12", "--usd", "50").stdout == done.stdout
    assert len(server.books) == asked
    assert labels(index, "propagated") == taken


def test_a_dry_run_names_the_price_and_changes_nothing(
    index: IndexFolder, server: ProviderServer, tmp_path: Path
) -> None:
    before = sorted(path.name for path in index.path.iterdir())
    done = explain(tmp_path, "--share", "0.1", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "12 features to explain by openai-compatible/a-model" in done.stdout
    assert "about $" in done.stdout
    assert len(server.books) == 0
    assert sorted(path.name for path in index.path.iterdir()) == before


def test_consent_is_asked_for_above_a_dollar(index: IndexFolder, server: ProviderServer, tmp_path: Path) -> None:
    refused = explain(tmp_path, "--units", "60")
    assert refused.exit_code == 2
    assert "--usd" in refused.stderr
    assert len(server.books) == 0


@pytest.mark.slow
def test_a_budget_that_is_spent_stops_and_more_continues(
    index: IndexFolder, server: ProviderServer, tmp_path: Path
) -> None:
    stopped = explain(tmp_path, "--units", "12", "--usd", "0.06")
    assert stopped.exit_code == 4, stopped.output
    first = labels(index, "live")
    assert 0 < len(first) < 12
    assert not labels(index, "propagated")
    asked = len(server.books)
    done = explain(tmp_path, "--units", "12", "--usd", "50")
    assert done.exit_code == 0, done.output
    own = labels(index, "live")
    assert len(own) == 12
    assert own.keys() > first.keys()
    explained = [body for body in server.books if body.status == 200]
    assert len(explained) == len(server.books)
    assert len(server.books) > asked
    assert labels(index, "propagated")


@pytest.mark.slow
def test_after_ctrl_c_the_same_command_continues(index: IndexFolder, server: ProviderServer, tmp_path: Path) -> None:
    server.delay_s = 0.3
    options = ["explain", RUN, "--results", str(tmp_path), "--units", "12", "--usd", "50", "--no-propagate"]
    command = [sys.executable, "-m", "autointerp", *options]
    running = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
    while len(server.books) < 3 and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == INTERRUPTED_EXIT_CODE, said
    assert "run the same command to continue" in said
    assert "Traceback" not in said
    server.delay_s = 0.0
    first, asked = labels(index, "live"), len(server.books)
    assert 0 < len(first) <= asked
    assert explain(tmp_path, *options[4:]).exit_code == 0
    assert len(labels(index, "live")) == 12
    assert len(server.books) - asked == 12 - len(first)


@pytest.mark.slow
def test_a_provider_that_refuses_stops_and_loses_nothing(
    index: IndexFolder, server: ProviderServer, tmp_path: Path
) -> None:
    server.faults = Script(*[None] * 15, then="401")
    stopped = explain(tmp_path, "--units", "12", "--usd", "50")
    assert stopped.exit_code == 5, stopped.output
    own = labels(index, "live")
    server.faults = Script()
    assert explain(tmp_path, "--units", "12", "--usd", "50").exit_code == 0
    assert labels(index, "live").items() >= own.items()
    assert labels(index, "propagated")


def test_all_features_are_explained_and_none_is_propagated(
    index: IndexFolder, server: ProviderServer, tmp_path: Path
) -> None:
    done = explain(tmp_path, "--all", "--usd", "20")
    assert done.exit_code == 0, done.output
    assert len(labels(index, "live")) == N - 1
    assert not labels(index, "propagated")
    assert len(server.books) == N - 1


@pytest.mark.slow
def test_without_propagation_only_the_chosen_ones_are_explained(
    index: IndexFolder, server: ProviderServer, tmp_path: Path
) -> None:
    assert explain(tmp_path, "--units", "5", "--no-propagate").exit_code == 0
    assert len(server.books) == len(labels(index, "live")) == 5
    assert explain(tmp_path, "--units", "8", "--no-propagate").exit_code == 0
    assert len(server.books) == len(labels(index, "live")) == 8
    assert len(index.table(LABELS)) == 8


@pytest.mark.slow
def test_a_least_probability_that_none_has_leaves_all_unknown(
    index: IndexFolder, server: ProviderServer, tmp_path: Path
) -> None:
    done = explain(tmp_path, "--units", "6", "--min-probability", "1", "--usd", "50")
    assert done.exit_code == 0, done.output
    assert not labels(index, "propagated")
    assert f"{N - 6} unknown" in done.stdout


def test_explanations_that_say_nothing_are_counted(index: IndexFolder, tmp_path: Path) -> None:
    with ProviderServer(lambda *_: {"explanation": NOTHING}) as mute:
        (tmp_path / RUN / "spec.toml").write_text(spec(mute.url).to_toml())
        options = ["--units", "3", "--no-propagate", "--results", str(tmp_path)]
        done = CliRunner().invoke(main, ["explain", RUN, *options])
    assert "3 features of 3 got an explanation that says nothing, and count as unexplained" in done.stderr
    assert f"{N} features: 0 explained" in done.stdout


@pytest.mark.parametrize(
    ("options", "needle"),
    [
        (["--all", "--units", "3"], "exclude each other"),
        (["--all", "--propagate"], "no feature to propagate to"),
        (["--judge", "nobody/model"], "nobody"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    index: IndexFolder, tmp_path: Path, options: list[str], needle: str
) -> None:
    done = explain(tmp_path, *options)
    assert done.exit_code == 2
    assert needle in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_run_without_an_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "summary.json").write_text("{}")
    done = explain(tmp_path)
    assert done.exit_code == 2
    assert f"make it with `autointerp index {RUN}`" in done.stderr
