"""dictionary_learning: every class as its library writes it, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.sae.comparison import agrees, refused, written

from sae.formats.load import load_dictionary

pytestmark = pytest.mark.slow

EXPECTED = {
    "AutoEncoder": ("relu", True),
    "AutoEncoderNew": ("relu", False),
    "GatedAutoEncoder": ("jumprelu", True),
    "JumpReluAutoEncoder": ("jumprelu", False),
    "AutoEncoderTopK": ("topk", True),
    "BatchTopKSAE": ("jumprelu", True),
    "MatryoshkaBatchTopKSAE": ("jumprelu", True),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("dictionary_learning", tmp_path_factory.mktemp("dictionary_learning"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A TopK dictionary that a test may spoil."""
    return shutil.copytree(made / "AutoEncoderTopK", tmp_path / "trainer_0")


def change(folder: Path, part: str = "trainer", **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config[part] |= changes
    (folder / "config.json").write_text(json.dumps(config))


def without(folder: Path, *names: str) -> None:
    kept = {name: tensor for name, tensor in torch.load(folder / "ae.pt").items() if name not in names}
    torch.save(kept, folder / "ae.pt")


@pytest.mark.parametrize("name", EXPECTED)
def test_every_class_equals_the_library(made: Path, name: str) -> None:
    d = load_dictionary(str(made / name))
    agrees(d, made / name)
    assert (d.activation, d.apply_b_dec_to_input) == EXPECTED[name]
    assert (d.architecture, d.format, d.hook_point, d.hook_point_out) == (
        name,
        "dictionary_learning",
        "resid_post.3",
        None,
    )


def test_with_a_threshold_that_was_never_set_every_positive_value_is_active_as_in_the_library(made: Path) -> None:
    d = load_dictionary(str(made / "unfinished"))
    agrees(d, made / "unfinished")
    assert "never set the threshold" in d.notes[0]


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - {"AutoEncoderTopK", "BatchTopKSAE"}))
def test_without_a_config_the_class_is_recognised_by_the_tensors(made: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(made / name, tmp_path / "sae")
    (tmp_path / "sae" / "config.json").unlink()
    refused(tmp_path / "sae", "does not say which hook point it reads", "set dictionary.hook_point")
    d = load_dictionary(str(tmp_path / "sae"), hook_point="resid_post.1")
    agrees(d, made / name)
    assert (d.architecture, d.hook_point) == (name, "resid_post.1")


def test_without_a_config_topk_and_batch_wise_topk_are_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    refused(folder, "may be TopK or batch-wise TopK", "config.json", hook_point="resid_post.1")


def test_a_checkpoint_uses_the_config_of_the_folder_above(folder: Path, made: Path) -> None:
    (folder / "checkpoints").mkdir()
    for step in (100, 200):
        shutil.copy(folder / "ae.pt", folder / f"checkpoints/ae_{step}.pt")
    agrees(load_dictionary(str(folder / "checkpoints" / "ae_200.pt")), made / "AutoEncoderTopK")
    refused(folder / "checkpoints", "holds no dictionary of a known format")


def test_files_from_before_k_and_threshold_were_stored(folder: Path, made: Path) -> None:
    without(folder, "k", "threshold")
    assert load_dictionary(str(folder)).k == 5
    change(folder, k=None)
    refused(folder, "does not say k", "set dictionary.k")
    agrees(load_dictionary(str(folder), k=5), made / "AutoEncoderTopK")
    change(folder, dict_class="BatchTopKSAE")
    d = load_dictionary(str(folder), k=5)
    agrees(d, made / "AutoEncoderTopK")
    assert "TopK of each token with k = 5" in d.notes[0]


@pytest.mark.parametrize(
    ("submodule", "io", "where"),
    [
        ("resid_post_layer_3", "out", "resid_post.3"),
        ("resid_pre_layer_3", "out", "resid_post.2"),
        ("attention_out_layer_3", "out", "attn_out.3"),
        ("mlp_out_layer3", "out", "mlp_out.3"),
        ("mlp_out", "out", "mlp_out.3"),
        ("gpt_neox.layers.3", "out", "resid_post.3"),
        ("gpt_neox.layers.3.mlp", "in", "mlp_in.3"),
    ],
)
def test_hook_points_by_the_submodules_name(folder: Path, submodule: str, io: str, where: str) -> None:
    change(folder, submodule_name=submodule)
    change(folder, "buffer", io=io)
    assert load_dictionary(str(folder)).hook_point == where


def test_unsupported_hook_points_are_refused(folder: Path) -> None:
    change(folder, submodule_name="gpt_neox.layers.3.attention.query_key_value")
    refused(folder, "query_key_value, which is not a supported hook point")
    change(folder, submodule_name=None)
    refused(folder, "does not say which hook point it reads")
    change(folder, submodule_name="mlp_out_layer_3", lm_name="google/gemma-2-2b")
    refused(folder, "mlp_out_layer_3 of google/gemma-2-2b before the norm that follows it")
    assert load_dictionary(str(folder), hook_point="mlp_out.3").hook_point == "mlp_out.3"
    change(folder, "buffer", io="in_and_out")
    refused(folder, "io = 'in_and_out' (a transcoder) is not supported")


def test_the_input_of_a_place_named_as_an_output_is_refused(folder: Path) -> None:
    change(folder, submodule_name="mlp_out_layer_3")
    change(folder, "buffer", io="in")
    refused(folder, "which is the name of an output: set dictionary.hook_point")
    assert load_dictionary(str(folder), hook_point="mlp_in.3").hook_point == "mlp_in.3"


def test_the_weights_own_k_is_used_and_a_different_one_in_the_config_is_noted(folder: Path) -> None:
    k = load_dictionary(str(folder)).k
    change(folder, k=99)
    d = load_dictionary(str(folder))
    assert (d.k, d.notes) == (k, ("config.json says k = 99, which is not used",))


def test_a_folder_of_checkpoints_is_refused_with_the_name_of_one(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    for step in (1000, 2000):
        shutil.copy(folder / "ae.pt", folder / "checkpoints" / f"ae_{step}.pt")
    refused(folder / "checkpoints", "each of its files is a dictionary: name one, such as", "checkpoints/ae_1000.pt")
    shutil.move(folder / "checkpoints" / "ae_2000.pt", folder / "checkpoints" / "last.pt")
    refused(folder.parent, "there are dictionaries in its folders, such as trainer_0: name one")


def test_wrong_missing_and_damaged_files_are_refused(folder: Path) -> None:
    change(folder, dict_class="CrossCoder")
    refused(folder, "is a crosscoder")
    change(folder, dict_class="IdentityDict")
    refused(folder, "dict_class 'IdentityDict' is not supported", "AutoEncoderTopK")
    change(folder, dict_class="AutoEncoderTopK", activation_dim=99)
    refused(folder, "activation_dim = 12, but config.json says 99", "do not belong together")
    change(folder, activation_dim=12)
    without(folder, "encoder.bias")
    refused(folder, "lacks the tensor encoder.bias", "decoder.weight")
    (folder / "ae.pt").write_bytes((folder / "ae.pt").read_bytes()[:500])
    refused(folder, "is not a complete file of torch.save", "copy or download it again")


def test_a_gate_of_another_length_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "GatedAutoEncoder", tmp_path / "sae")
    held = torch.load(tmp_path / "sae" / "ae.pt")
    torch.save({**held, "r_mag": held["r_mag"][:-1]}, tmp_path / "sae" / "ae.pt")
    refused(tmp_path / "sae", "r_mag has 39 entries, not 40")


def test_a_dictionary_of_another_width_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"reads 12 dimensions, but resid_post\.3 of pythia has 512"):
        load_dictionary(str(folder)).check_fits(512, "pythia")
