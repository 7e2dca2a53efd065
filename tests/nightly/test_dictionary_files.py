"""Dictionaries that share a folder, a file each: every one of them keeps its own path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autointerp.nightly.dictionary_files import weight_files
from autointerp.nightly.lineage import version_of
from autointerp.nightly.sources import Source, discover, in_folder, in_registry, on_hub, state_of


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return folder


SHARED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "checkpoints of a training": (("ae_1000.pt", "ae_2000.pt", "ae_10000.pt"), ("ae_1000.pt", "ae_2000.pt", "ae_10000.pt")),
    "one checkpoint": (("config.json", "ae_1000.pt"), ("ae_1000.pt",)),
    "transcoders": (("config.yaml", "layer_0.safetensors", "layer_1.safetensors"), ("layer_0.safetensors", "layer_1.safetensors")),
    "cross-layer transcoders": (
        ("config.yaml", "W_enc_0.safetensors", "W_dec_0.safetensors", "W_enc_1.safetensors", "W_dec_1.safetensors"),
        ("W_enc_0.safetensors", "W_enc_1.safetensors"),
    ),
    "Qwen-Scope": (("layer0.sae.pt", "layer12.sae.pt", "README.md"), ("layer0.sae.pt", "layer12.sae.pt")),
    "Gemma Scope 2, across layers": (("params_layer_0.safetensors", "params_layer_1.safetensors"), ("params_layer_0.safetensors", "params_layer_1.safetensors")),
    "OpenAI's": (("3.pt", "4.pt"), ("3.pt", "4.pt")),
    "a SAELens folder": (("cfg.json", "sae_weights.safetensors", "optimizer.pt"), ()),
}  # fmt: skip


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("pattern", ["{}", "{}/*", "{}/**/*"])
def test_a_folder_and_a_glob_find_every_file_that_is_a_dictionary(kind: str, pattern: str, tmp_path: Path) -> None:
    names, dictionaries = SHARED[kind]
    folder = write(tmp_path / "run" / "x", *names)
    expected = {str(folder / name) for name in dictionaries} or {str(folder)}
    found = list(in_folder(pattern.format(folder)))
    assert {candidate.path for candidate in found} == expected
    assert len({candidate.key for candidate in found}) == len(expected)
    registry = tmp_path / "all.toml"
    registry.write_text(
        "".join(f'[[dictionaries]]\nname = "a{n}"\npath = "{path}"\n' for n, path in enumerate(expected))
    )
    assert [(c.path, c.lineage) for c in in_registry(registry)] == [(path, f"a{n}") for n, path in enumerate(expected)]


def test_a_glob_of_some_files_leaves_out_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path / "scope", "config.yaml", *(f"layer_{n}.safetensors" for n in (0, 1, 10)))
    found = in_folder(str(folder / "layer_1*.safetensors"))
    assert [Path(candidate.path).name for candidate in found] == ["layer_1.safetensors", "layer_10.safetensors"]


def test_a_folder_with_a_dictionary_of_its_own_is_that_one_and_a_glob_names_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path / "trainer_0", "config.json", "ae.pt", "ae_1000.pt")
    assert [candidate.path for candidate in in_folder(str(folder))] == [str(folder)]
    assert [candidate.path for candidate in in_folder(str(folder / "*.pt"))] == [
        str(folder),
        str(folder / "ae_1000.pt"),
    ]


def test_steps_are_versions_of_one_dictionary_and_layers_are_not(tmp_path: Path) -> None:
    steps = list(in_folder(str(write(tmp_path / "run" / "checkpoints", "ae_900.pt", "ae_1000.pt"))))
    assert {candidate.lineage for candidate in steps} == {"run/checkpoints"}
    assert [version_of(candidate.path) for candidate in steps] == [(900,), (1000,)]
    layers = in_folder(str(write(tmp_path / "scope", "layer_3.safetensors", "layer_4.safetensors")))
    assert [candidate.lineage.split("/", 1)[1] for candidate in layers] == ["scope/layer_3", "scope/layer_4"]


def test_files_of_unknown_names_are_kept_apart_if_they_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "first.pt", "second.pt")
    assert [Path(c.path).name for c in in_folder(str(folder / "*.pt"))] == ["first.pt", "second.pt"]
    assert [c.path for c in in_folder(str(folder))] == [str(folder)]


def test_a_change_of_one_file_is_a_change_of_its_dictionary_alone(tmp_path: Path) -> None:
    folder = write(tmp_path / "clt", *(f"W_{part}_{n}.safetensors" for part in ("enc", "dec") for n in (0, 1)))
    before = [candidate.key for candidate in in_folder(str(folder))]
    (folder / "W_dec_1.safetensors").write_text("trained further")
    after = list(in_folder(str(folder)))
    assert [candidate.key == key for candidate, key in zip(after, before, strict=True)] == [True, False]
    assert [state_of(weight_files(Path(c.path)))[0] for c in after] == [c.mark for c in after]


def test_a_config_that_arrives_in_the_folder_above_is_a_change_of_a_checkpoint(tmp_path: Path) -> None:
    folder = write(tmp_path / "trainer_0" / "checkpoints", "ae_1000.pt")
    [before] = in_folder(str(folder))
    write(tmp_path / "trainer_0", "config.json")
    [after] = in_folder(str(folder))
    assert after.key != before.key


def test_files_in_a_repository_are_found_by_pattern() -> None:
    class Hub:
        def list_models(self, **_: Any) -> list[Any]:
            return [type("Model", (), {"id": "acme/scope", "sha": "c1", "last_modified": None})]

        def list_repo_files(self, name: str, *, revision: str) -> list[str]:
            return ["README.md", "plt/config.yaml", "plt/layer_0.safetensors", "plt/layer_1.safetensors", "sae/cfg.json", "sae/sae.safetensors"]  # fmt: skip

    assert [c.path for c in on_hub("acme/scope/plt", Hub())] == [
        f"acme/scope/plt/layer_{n}.safetensors" for n in (0, 1)
    ]
    [one] = on_hub("acme/scope/plt/*_1.safetensors", Hub())
    assert (one.path, one.lineage, one.revision) == (
        "acme/scope/plt/layer_1.safetensors",
        "acme/scope/plt/layer_1",
        "c1",
    )
    assert [c.path for c in on_hub("acme/scope/sae", Hub())] == ["acme/scope/sae"]


def test_a_registry_entry_of_a_missing_file_stays_that_file(tmp_path: Path) -> None:
    registry = tmp_path / "all.toml"
    registry.write_text('[[dictionaries]]\nname = "a"\npath = "./gone/layer_1.safetensors"\n')
    found, failed = discover([Source(registry=str(registry))])
    assert not failed
    assert [candidate.path for candidate in found] == [str(tmp_path / "gone" / "layer_1.safetensors")]


def test_a_config_that_arrives_above_a_folder_without_one_is_a_change_of_its_dictionary(tmp_path: Path) -> None:
    folder = write(tmp_path / "run" / "trainer_0", "ae.pt")
    [before] = in_folder(str(folder))
    write(tmp_path / "run", "config.json")
    [after] = in_folder(str(folder))
    assert after.key != before.key
    write(folder, "config.json")
    [own] = in_folder(str(folder))
    (tmp_path / "run" / "config.json").write_text("another")
    assert [candidate.key for candidate in in_folder(str(folder))] == [own.key]


def test_the_state_of_a_training_is_no_dictionary_and_its_folder_neither(tmp_path: Path) -> None:
    run = write(tmp_path / "run", "config.json", "optimizer_0.pt", "lr_scheduler.pt", "state.pt", "rng_state.pth")
    for layer in (3, 4):
        write(run / f"layers.{layer}", "cfg.json", "sae.safetensors")
    checkpoints = write(
        tmp_path / "checkpoints", "ae_1000.pt", "ae_1000_optimizer.pt", "training_state.pt", "stateful.pt"
    )
    names = [Path(c.path).name for pattern in (run, run / "*", run / "**") for c in in_folder(str(pattern))]
    assert names == ["layers.3", "layers.4"] * 2
    assert [Path(c.path).name for c in in_folder(str(checkpoints / "*"))] == ["ae_1000.pt", "stateful.pt"]


def test_files_that_are_no_whole_dictionary_are_not_taken_for_one(tmp_path: Path) -> None:
    write(tmp_path / "run", "ae_1000.pt", "._ae_1000.pt", "ae_2000.pt.tmp", "ae_3000.pt.part", ".ae_4000.pt")
    assert [Path(c.path).name for c in in_folder(str(tmp_path / "run"))] == ["ae_1000.pt"]
    split = write(
        tmp_path / "split", "cfg.json", "sae_weights-00001-of-00002.safetensors", "model.safetensors.index.json"
    )
    assert [c.path for c in in_folder(str(split))] == [str(split)]  # one candidate, of which loading says what to do


def test_a_folder_whose_name_has_brackets_is_found_by_its_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "runs [exp] #1?" / "sae", "cfg.json", "sae_weights.safetensors")
    [found] = in_folder(str(folder))
    assert (found.path, found.lineage) == (str(folder), "runs [exp] #1?/sae")
