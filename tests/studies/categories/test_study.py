"""`autointerp categories` finds the planted feature of each category with its texts, and `autointerp find` works from end to end."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from support.planted_world import lexicon_world as searched
from support.planted_world import world as planted

from autointerp.cli.main import main
from autointerp.studies.categories import drawing, generality, probe_lists
from sae.dictionary import Dictionary
from sae.studies.readings import TextValues

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> searched.Searched:
    return searched.make(tmp_path_factory.mktemp("searched"))


def invoke(world: searched.Searched, out: Path, command: str, *arguments: str) -> Result:
    inputs = ["--subject", str(world.subject), "--dictionary", str(world.dictionary), "--out", str(out), "--quiet"]
    return CliRunner().invoke(main, [command, *inputs, *arguments])


def file_of_categories(folder: Path) -> Path:
    """Two categories whose probes have words of a concept, and a null one whose sides are alike."""
    rng, blocks = random.Random(0), []
    for name, concept in (("ports", 0), ("fruit", 1), ("nothing", None)):
        sides = {}
        for side in ("probes", "controls"):
            word = planted.strong_word(planted.CONCEPTS[concept], 1) if side == "probes" and concept is not None else ""
            sides[side] = [
                " ".join(f"{searched.fillers(rng, 4)} {word} {searched.fillers(rng, 2)}".split()) for _ in range(12)
            ]
        lines = "\n".join(f"{side} = {json.dumps(texts)}" for side, texts in sides.items())
        blocks.append(f'[[category]]\nname = "{name}"\n{lines}\n')
    path = folder / "mine.toml"
    path.write_text("\n".join(blocks))
    return path


def test_the_planted_feature_of_each_category_is_found_with_its_texts(world: searched.Searched, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke(world, out, "categories", "--file", str(file_of_categories(tmp_path)))
    assert result.exit_code == 0, result.output
    features = pd.read_parquet(out / "features.parquet")
    assert list(zip(features["category"], features["unit_id"], strict=True)) == [
        ("ports", "feature-0"),
        ("fruit", "feature-1"),
    ]
    texts = pd.read_parquet(out / "evidence.parquet").query("category == 'ports'")
    assert list(texts["side"]) == ["probe"] * 12 + ["control"] * 12
    assert "«harbour1»" in texts["context"].iloc[0].replace(" ", "")
    assert "not finding the behaviour" in result.output
    assert (out / "generality.svg").read_text().count("nothing fires") == 4  # the planted subject knows no language


def test_a_missing_category_is_one_line(world: searched.Searched, tmp_path: Path) -> None:
    result = invoke(world, tmp_path / "out", "categories", "--category", "weather")
    assert result.exit_code == 2
    assert "there is no category 'weather': choose from code flaws, bias" in result.output
    assert result.output.count("\n") == 1


def test_the_lists_of_the_package_are_complete_and_matched_in_length() -> None:
    lists = probe_lists.probe_lists().category
    assert [len(each.probes) for each in lists] == [12] * 10 == [len(each.controls) for each in lists]
    for each in lists:
        lengths = [np.mean([len(text) for text in side]) for side in (each.probes, each.controls)]
        assert 0.75 < lengths[0] / lengths[1] < 1.34, each.name
    for parallel in probe_lists.parallel_lists().set:
        assert {len(texts) for texts in parallel.versions.values()} == {12}


def test_a_feature_of_the_content_keeps_all_of_its_firing_and_one_of_the_language_keeps_none() -> None:
    # Texts 0-5 of each version are on a topic. Feature 0 answers to the topic, feature 1 to the first version.
    x = torch.zeros(24, 2)
    x[[*range(6), *range(12, 18)], 0] = 1.0
    x[:12, 1] = 1.0
    eye = torch.eye(2)
    dictionary = Dictionary(
        W_enc=eye, b_enc=torch.zeros(2), W_dec=eye, b_dec=torch.zeros(2), activation="relu", hook_point="resid_post.0"
    )
    values = TextValues(x, (("a",),) * 24, (np.ones(1, dtype=np.bool_),) * 24, 0)
    [(sums, table)] = generality.measured(dictionary, values, 2, 12)
    kept = table.set_index("feature")
    assert kept.loc[0, "kept"] == 1.0
    assert kept.loc[0, "by_chance"] == pytest.approx(5 / 11)
    assert kept.loc[1, "kept"] == 0.0
    assert sums.kept.sum() / sums.fires.sum() == pytest.approx(6 / 18)


def test_find_writes_its_table_and_refuses_two_ways(world: searched.Searched, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke(world, out, "find", "--text", "filler3 filler4 harbour4 filler5", "--at", "harbour4")
    assert result.exit_code == 0, result.output
    assert pd.read_parquet(out / "features.parquet")["unit_id"].iloc[0] == "feature-0"
    assert "First is feature-0" in result.output
    for arguments, words in (
        (["--text", "a", "--like", "3"], "--text and --like exclude each other"),
        ([], "no way to find features"),
        (["--like", "3", "--off", "a"], "--off belongs to --on, not to --like"),
        (["--words", "a"], "has no explanations"),
    ):
        refused = invoke(world, tmp_path / "other", "find", *arguments)
        assert refused.exit_code == 2
        assert words in refused.output


def test_generality_is_drawn_beside_chance() -> None:
    shares = {"kept": 0.5, "low": 0.4, "high": 0.6, "by_chance": 0.1}
    rows = [
        {"set": "s", "from": "English", "to": to, "dictionary": "resid_post.9", **shares} for to in ("French", "Thai")
    ]
    drawn = drawing.picture([generality.Generality(pd.DataFrame(rows), pd.DataFrame(), ())], several=True)
    assert drawn.svg.count("50% kept, 10% by chance") == 2
    assert "English to Thai, resid_post.9" in drawn.svg


def test_two_sets_of_texts_have_a_picture_with_a_mark_for_each_text(world: searched.Searched, tmp_path: Path) -> None:
    texts = ["--on", "filler1 filler2 harbour1", "--on", "filler3 filler4 harbour4", "--off", "filler1 filler2 filler3"]
    result = invoke(world, tmp_path / "out", "find", *texts)
    assert result.exit_code == 0, result.output
    drawn = (tmp_path / "out" / "texts.svg").read_text()
    n = len(pd.read_parquet(tmp_path / "out" / "features.parquet"))
    # Each row's two filled and one open marks, and the legend's.
    assert (drawn.count("<circle"), drawn.count('class="neuron dot"')) == (2 * n + 1, n + 1)
    assert "feature-0" in drawn


def test_features_that_fire_more_often_on_new_text_are_found(world: searched.Searched, tmp_path: Path) -> None:
    rng, new = random.Random(3), tmp_path / "new.jsonl"
    lines = [
        " ".join(searched.fillers(rng, 5) + " " + planted.strong_word("glacier", i % 5) for _ in range(4))
        for i in range(60)
    ]
    new.write_text("".join(json.dumps({"text": f"{line} {i}"}) + "\n" for i, line in enumerate(lines)))
    out = tmp_path / "out"
    result = invoke(world, out, "find", "--corpus", str(world.corpus), "--new", str(new), "--tokens", "20000")
    assert result.exit_code == 0, result.output
    features = pd.read_parquet(out / "features.parquet")
    more = features[features["new_rate"] > features["rate"]]
    assert "feature-3" in set(more["unit_id"])
    assert set(features[features["new_rate"] == 0]["unit_id"]) >= {"feature-0", "feature-1", "feature-2"}
