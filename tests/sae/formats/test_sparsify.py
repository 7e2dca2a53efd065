"""sparsify: autoencoders and transcoders as EleutherAI's library writes them, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from support.sae.comparison import agrees, reference, refused, written

from sae.formats.load import load_dictionary

pytestmark = pytest.mark.slow

EXPECTED = {
    "layers.5": ("topk", 6, "resid_post.5", None),
    "layers.3.mlp": ("topk_transcoder", 5, "mlp_in.3", "mlp_out.3"),
    "layers.4.mlp": ("topk_skip_transcoder", 5, "mlp_in.4", "mlp_out.4"),
    "h.3": ("groupmax", 8, "resid_post.3", None),
    "embed_tokens": ("topk_skip", 3, "embed.0", None),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("sparsify", tmp_path_factory.mktemp("sparsify"))


def spoilt(made: Path, tmp_path: Path, name: str, to: str | None = None, **changes: Any) -> Path:
    folder = shutil.copytree(made / name, tmp_path / (to or name))
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize("name", EXPECTED)
def test_every_kind_equals_the_library(made: Path, name: str) -> None:
    d = load_dictionary(str(made / name))
    agrees(d, made / name)
    assert (d.architecture, d.k, d.hook_point, d.hook_point_out) == EXPECTED[name]
    assert (d.W_skip is not None) == ("skip" in d.architecture)


def test_the_error_for_a_repository_of_several_dictionaries_names_one(made: Path) -> None:
    refused(made, "there are dictionaries in its folders, such as", "name one")


def test_a_note_says_that_the_module_s_own_output_was_read(made: Path) -> None:
    assert "norm after it" in load_dictionary(str(made / "layers.3.mlp")).notes[0]
    assert load_dictionary(str(made / "layers.5")).notes == ()


def test_folders_named_after_other_modules_are_refused(made: Path, tmp_path: Path) -> None:
    folder = spoilt(made, tmp_path, "layers.5", "layers.5.self_attn.q_proj")
    refused(folder, "reads layers.5.self_attn.q_proj, which is not a supported hook point")
    assert load_dictionary(str(folder), hook_point="resid_post.5").hook_point == "resid_post.5"
    folder = spoilt(made, tmp_path, "layers.3.mlp", "layers.7")
    assert load_dictionary(str(folder)).hook_point == "resid_post.6"
    folder = spoilt(made, tmp_path, "layers.3.mlp", "best")
    refused(folder, "reads best.input, which is not a supported hook point")
    assert load_dictionary(str(folder), hook_point="mlp_in.3").hook_point_out == "mlp_out.3"
    refused(folder, "does not say what the transcoder writes", hook_point="resid_mid.3")


def test_settings_left_out_of_the_config_have_the_library_s_defaults(made: Path, tmp_path: Path) -> None:
    folder = spoilt(made, tmp_path, "layers.5")
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({"d_in": config["d_in"]}))
    d = load_dictionary(str(folder))
    assert (d.k, d.activation, d.apply_b_dec_to_input) == (32, "topk", True)


def test_wrong_missing_and_damaged_files_are_refused(made: Path, tmp_path: Path) -> None:
    for name, value in {"activation": "sigmoid", "signed": True, "k": "many", "d_in": 99, "num_latents": 3}.items():
        refused(spoilt(made, tmp_path, "layers.5", f"{name}/layers.5", **{name: value}), name)
    folder = spoilt(made, tmp_path, "h.3", k=7)
    refused(folder, "40 features cannot be cut into k = 7 equal groups")
    folder = spoilt(made, tmp_path, "layers.4.mlp")
    tensors = load_file(folder / "sae.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "W_skip"}, folder / "sae.safetensors")
    refused(folder, "lacks the tensor W_skip")
    (folder / "sae.safetensors").write_bytes((folder / "sae.safetensors").read_bytes()[:99])
    refused(folder, "is not a complete safetensors file")


def test_a_skip_connection_needs_its_input(made: Path) -> None:
    held = reference(made / "layers.4.mlp")
    with pytest.raises(ValueError, match="needs the input x"):
        load_dictionary(str(made / "layers.4.mlp")).decode(held["f"])
