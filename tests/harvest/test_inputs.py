"""The inputs of a spec: identified by content without the weights, found from any folder, and kept between jobs that share them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers
from safetensors.torch import load_file, save_file
from support.planted_world import world as planted

from autointerp.harvest import input_cache
from autointerp.harvest.input_cache import InputCache
from autointerp.harvest.inputs import identify, open_inputs
from autointerp.progress import quiet
from autointerp.spec import rubric
from autointerp.spec.spec import Spec, parse
from sae.errors import SaeError


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("inputs") / "world")


def spec_of(world: planted.World, **sections: Any) -> Spec:
    return world.spec(**{"units": {"feature_ids": [0], "neuron_ids": ["0+"]}, **sections})


# Identity


def test_a_run_has_the_same_name_with_and_without_weights(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "changed"
    shutil.copytree(world.subject, weights)
    tensors = load_file(weights / "model.safetensors")
    save_file({k: v + 1 for k, v in tensors.items()}, weights / "model.safetensors", {"format": "pt"})
    specs = [
        spec_of(world),
        spec_of(world, subject={"precision": "auto"}),
        spec_of(world, dictionary={"hook_point": "resid_post.1"}),
        spec_of(world, corpus={"max_tokens": 20_000}),
        spec_of(world, subject={"model": str(weights)}),
        spec_of(world, score={"per_bin": 3}),
    ]
    rubric_ = rubric.load("specificity")
    named = [open_inputs(spec, quiet).run_id(rubric_) for spec in specs]
    assert len(set(named)) == len(specs)
    monkeypatch.setattr(
        transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("the weights were read")
    )
    assert [identify(spec, quiet).run_id(rubric_) for spec in specs] == named


def test_a_spec_with_a_device_that_only_workers_have_can_be_identified(world: planted.World) -> None:
    there, here = spec_of(world, subject={"device": "cuda:7"}), spec_of(world)
    rubric_ = rubric.load("specificity")
    assert identify(there, quiet).run_id(rubric_) == open_inputs(here, quiet).run_id(rubric_)


def broken_subject(world: planted.World, folder: Path, name: str) -> dict[str, str]:
    shutil.copytree(world.subject, folder / "subject")
    (folder / "subject" / name).unlink()
    return {"model": str(folder / "subject")}


def wide_dictionary(world: planted.World, folder: Path) -> dict[str, str]:
    shutil.copytree(world.dictionary, folder / "dictionary")
    config = json.loads((folder / "dictionary" / "cfg.json").read_text())
    tensors = load_file(folder / "dictionary" / "sae_weights.safetensors")
    n = len(tensors["b_dec"]) // 2
    halved = {
        "W_enc": tensors["W_enc"][:n].contiguous(), "W_dec": tensors["W_dec"][:, :n].contiguous(),
        "b_dec": tensors["b_dec"][:n].contiguous(), "b_enc": tensors["b_enc"],
    }  # fmt: skip
    save_file(halved, folder / "dictionary" / "sae_weights.safetensors")
    (folder / "dictionary" / "cfg.json").write_text(json.dumps(config | {"d_in": n}))
    return {"path": str(folder / "dictionary")}


def empty_corpus(folder: Path) -> dict[str, list[str]]:
    (folder / "empty.txt").write_text("")
    return {"sources": [str(folder / "empty.txt")]}


@pytest.mark.parametrize(
    ("broken", "said"),
    {
        "layer": (lambda w, _: {"dictionary": {"hook_point": "resid_post.5"}}, "has no layer 5"),
        "width": (lambda w, f: {"dictionary": wide_dictionary(w, f)}, "reads 40 dimensions"),
        "corpus": (lambda w, f: {"corpus": empty_corpus(f)}, "holds no text"),
        "tokenizer": (lambda w, f: {"subject": broken_subject(w, f, "tokenizer.json")}, "has no tokenizer"),
        "weights": (lambda w, f: {"subject": broken_subject(w, f, "model.safetensors")}, "has no weights"),
        "subject": (lambda w, f: {"subject": {"model": str(f / "none")}}, "does not exist"),
        "dictionary": (lambda w, f: {"dictionary": {"path": str(f / "none")}}, "does not exist"),
    }.values(),
)
def test_broken_inputs_are_refused_with_the_same_message(
    world: planted.World, tmp_path: Path, broken: Any, said: str
) -> None:
    spec = spec_of(world, **broken(world, tmp_path))
    messages = []
    for look in (open_inputs, identify):
        with pytest.raises(SaeError) as caught:
            look(spec, quiet)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert said in messages[0]
    assert "\n" not in messages[0]


def test_missing_units_are_noticed_before_the_harvest(world: planted.World) -> None:
    with pytest.raises(SaeError, match=r"names feature 99, but the dictionary has 0\.\.15"):
        identify(spec_of(world, units={"feature_ids": [99]}), quiet)
    with pytest.raises(SaeError, match="such as '17\\+'"):
        identify(spec_of(world, units={"neuron_ids": ["16+"]}), quiet)


# Paths


def test_an_absolute_spec_is_the_same_run_from_any_folder(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.corpus.parent)
    given = spec_of(
        world,
        subject={"model": "subject"},
        dictionary={"path": "./dictionary"},
        corpus={"sources": ["corpus.jsonl", "corp*.jsonl"]},
    )
    absolute, rubric_ = given.absolute(), rubric.load("specificity")
    name = identify(given, quiet).run_id(rubric_)
    monkeypatch.chdir(tmp_path)
    assert identify(absolute, quiet).run_id(rubric_) == name
    assert absolute.subject.model == str(world.subject)
    assert absolute.corpus.sources == tuple(str(world.corpus.parent / p) for p in ("corpus.jsonl", "corp*.jsonl"))
    assert absolute.absolute() == absolute
    monkeypatch.chdir(world.corpus.parent)
    assert identify(absolute.relative_to(Path.cwd()), quiet).run_id(rubric_) == name


def test_names_on_hubs_are_not_turned_into_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    data = {
        "subject": {"model": "owner/model"},
        "dictionary": {"path": "owner/name/layer_3"},
        "corpus": {"sources": ["datasets:owner/name:config@main"]},
    }
    assert parse(data).absolute() == parse(data)
    at_home = parse(data | {"subject": {"model": "~/model"}}).absolute()
    assert at_home.subject.model == os.path.join(tmp_path, "home", "model")


# What is kept between jobs


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded, in order."""
    found: list[str] = []
    for name in ("open_subject", "open_dictionary", "open_corpus"):
        real = getattr(input_cache, name)
        monkeypatch.setattr(
            input_cache, name, lambda *a, name=name, real=real, **k: found.append(name[5:]) or real(*a, **k)
        )
    return found


def test_jobs_that_share_inputs_load_them_once(world: planted.World, loaded: list[str]) -> None:
    opened = InputCache()
    first = opened.inputs(spec_of(world))
    assert sorted(loaded) == ["corpus", "dictionary", "subject"]
    again = opened.inputs(spec_of(world, score={"per_bin": 2}, harvest={"bins": 4}))
    assert sorted(loaded) == ["corpus", "dictionary", "subject"]
    assert (again.subject, again.dictionary, again.corpus) == (first.subject, first.dictionary, first.corpus)
    assert again.spec.score.per_bin == 2
    fresh = open_inputs(spec_of(world), quiet)
    assert (first.harvest_key(), first.identified) == (fresh.harvest_key(), fresh.identified)
    loaded.clear()
    opened.inputs(spec_of(world, corpus={"max_tokens": 20_000}))
    opened.inputs(spec_of(world))
    assert loaded == ["corpus"]


def test_another_precision_is_another_subject_and_replaces_the_old_one(world: planted.World, loaded: list[str]) -> None:
    opened = InputCache()
    assert opened.inputs(spec_of(world)).subject.precision == "float32"
    assert opened.inputs(spec_of(world), "bfloat16").subject.precision == "bfloat16"
    assert loaded.count("subject") == 2
    opened.inputs(spec_of(world), "bfloat16")
    assert loaded.count("subject") == 2
    opened.inputs(spec_of(world))
    assert loaded.count("subject") == 3, "only one is kept"
    assert loaded.count("dictionary") == loaded.count("corpus") == 1


def test_the_least_recently_used_dictionary_is_dropped(
    world: planted.World, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(InputCache.SIZES, "dictionary", 4)
    opened = InputCache()

    def use(layer: str, form: str = "auto") -> None:
        opened.inputs(spec_of(world, dictionary={"hook_point": f"resid_post.{layer}", "format": form}))

    for layer, form in (("0", "auto"), ("1", "auto"), ("0", "saelens"), ("1", "saelens")):
        use(layer, form)
    use("0")
    assert loaded.count("dictionary") == 4
    opened.inputs(spec_of(world))
    assert loaded.count("dictionary") == 5
    use("0")
    assert loaded.count("dictionary") == 5
    use("1")
    assert loaded.count("dictionary") == 6


def test_a_file_that_changed_is_loaded_again(tmp_path: Path, loaded: list[str]) -> None:
    world, opened = planted.make(tmp_path / "world"), InputCache()
    before = opened.inputs(spec_of(world))
    path = world.dictionary / "sae_weights.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"b_enc": tensors["b_enc"] - 0.5}, path)
    os.utime(path, ns=(1, 1))
    with world.corpus.open("a") as file:
        file.write(json.dumps({"text": "filler0 filler1 " * 40}) + "\n")
    after = opened.inputs(spec_of(world))
    assert sorted(loaded) == ["corpus", "corpus", "dictionary", "dictionary", "subject"]
    assert after.dictionary.fingerprint != before.dictionary.fingerprint
    assert after.harvest_key() != before.harvest_key()
