"""The paper's checks on a small subject: trained, carried out with the studies, kept, and written as the docs' page reads them."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.planted_world import layered
from support.planted_world import world as planted

from autointerp.demo.assets import FULL, DemoAssets
from autointerp.demo.paper import checks
from autointerp.dictionaries import training_file
from autointerp.progress import Progress

pytestmark = pytest.mark.usefixtures("one_thread")

HARBOUR = planted.strong_word("harbour", 1)
TRAINING = """\
hook_point = "resid_post.2"
[subject]
model = "subject"
[corpus]
sources = ["*.jsonl"]
context_tokens = 64
max_tokens = 10_000
[train]
architecture = "topk"
k = 4
tokens = 4096
batch_tokens = 512
buffer_tokens = 1024
forward_tokens = 1024
[[dictionary]]
name = "16"
d_sae = 16
[[dictionary]]
name = "48"
d_sae = 48
"""


def text(rng: random.Random, word: str = "") -> str:
    fillers = [f"filler{rng.randrange(planted.FILLERS)}" for _ in range(6)]
    return " ".join([*fillers[:4], *([word] if word else []), *fillers[4:]])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, DemoAssets, Path]:
    files, folder = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("paper")
    deep, rng = layered.make(tmp_path_factory.mktemp("deep")), random.Random(0)
    (files / "training.toml").write_text(TRAINING)
    prompt = {"prompt": text(rng), "target": "filler1", "against": "filler2"}
    concept = {"name": HARBOUR, "on": [text(rng, HARBOUR) for _ in range(3)], "off": [text(rng) for _ in range(3)]}
    parts = {"prompts": prompt, "concepts": concept}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in prompt.items()]
    (files / "checks.toml").write_text(
        "[[prompts]]\n" + "".join(lines)
        + "[[concepts]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in parts["concepts"].items())
    )  # fmt: skip
    assets = DemoAssets(deep.folder, (deep.text,))
    with Progress(quiet=True) as progress:
        return checks.carry_out_checks(folder, assets, progress, files), folder, assets, files


def test_every_check_has_its_figures_for_every_size(found: tuple[dict[str, Any], Path, DemoAssets, Path]) -> None:
    figures, _, assets, _ = found
    assert [each["name"] for each in figures["dictionaries"]] == ["16", "48"]
    assert all(each["l0"] == pytest.approx(4, abs=0.1) for each in figures["dictionaries"])
    for each in figures["attribution"]:
        assert each["ablated"] == each["active"] > 10
        assert -1 <= each["attribution_ablation"] <= 1
    [concept] = figures["concepts"]
    texts = [json.loads(line)["text"] for line in assets.corpus_files[0].read_text("utf-8").splitlines()]
    assert concept["occurrences"] == sum(each.count(HARBOUR) for each in texts) > 0
    assert [each["dictionary"] for each in concept["found"]] == ["16", "48"]
    for each in figures["neurons"]:
        assert 0 <= each["unlike"] <= 1
        assert each["features"] + each["silent"] == int(each["dictionary"])
    assert all(cost["finished"] for cost in figures["costs"].values())


def test_a_second_time_everything_is_read_from_the_folder(
    found: tuple[dict[str, Any], Path, DemoAssets, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, folder, assets, files = found
    monkeypatch.setattr("sae.training.trainer.TrainingSession.start", None)
    monkeypatch.setattr("autointerp.demo.paper.neurons._measured", None)
    with Progress(quiet=True) as progress:
        assert checks.carry_out_checks(folder, assets, progress, files) == figures


def test_the_dictionaries_are_of_three_sizes_in_the_middle_of_the_model() -> None:
    training = training_file.load(checks.FILES / "training.toml")
    assert training.hook_point == FULL.hook_point
    sizes = [(folder.name, config.d_sae) for folder, config in training.configs(Path()).items()]
    assert [int(name) for name, _ in sizes] == [d_sae for _, d_sae in sizes] == [1024, 4096, 16384]


def test_only_texts_with_a_concept_name_it() -> None:
    concepts = tomllib.loads((checks.FILES / "checks.toml").read_text("utf-8"))["concepts"]
    for each in concepts:
        assert all(each["name"] in on for on in each["on"])
        assert not any(each["name"] in off for off in each["off"])
