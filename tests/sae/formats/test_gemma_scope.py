"""Gemma Scope 1 and 2 against sae-lens' converters of the same files, and the facts that folder names decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.locations import PEER_SCRIPTS
from support.sae import peers
from support.sae.format_files import (
    B_DEC,
    B_ENC,
    BASE,
    D_IN,
    D_SAE,
    NAN,
    THRESHOLD,
    W_DEC,
    W_ENC,
    X,
    close,
    equals_the_library,
    normal,
    refused,
    same,
    write_npz,
    write_tensors,
)
from torch import Tensor

from sae.formats.load import load_dictionary

pytestmark = pytest.mark.slow

WRITER = PEER_SCRIPTS / "write_saelens.py"
ONE = {
    "gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82": "resid_post.12",
    "gemma-scope-9b-pt-mlp/layer_3/width_16k/average_l0_41": "mlp_out.3",
    "gemma-scope-2b-pt-att/layer_7/width_16k/average_l0_104": "attn_z.7",
}
TRANSCODER = "gemma-scope-2b-pt-transcoders/layer_4/width_16k/average_l0_88"
EMBEDDING = "gemma-scope-9b-pt-res/embedding/width_4k/average_l0_21"
TWO: dict[str, tuple[str, str | None]] = {
    "resid_post/layer_13_width_16k_l0_small": ("resid_post.13", None),
    "attn_out_all/layer_2_width_16k_l0_big": ("attn_z.2", None),
    "mlp_out/layer_5_width_65k_l0_medium": ("mlp_out.5", None),
    "transcoder_all/layer_8_width_16k_l0_big": ("mlp_in.8", "mlp_out.8"),
    "transcoder/layer_9_width_262k_l0_big_affine": ("mlp_in.9", "mlp_out.9"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The publishers' folders, with what sae-lens makes of each beside it."""
    out = tmp_path_factory.mktemp("gemma")
    peers.run("saelens", WRITER, "gemma", out)
    return out / "google"


@pytest.mark.parametrize("name", ONE)
def test_gemma_scope_1_equals_the_library(written: Path, name: str) -> None:
    d = load_dictionary(str(written / name))
    equals_the_library(written / name, d)
    assert (d.hook_point, d.format, d.architecture, d.notes) == (ONE[name], "gemma_scope", "jumprelu", ())


def test_gemma_scope_1_transcoders_read_the_residual_stream_before_the_mlps_norm(written: Path) -> None:
    d = load_dictionary(str(written / TRANSCODER))
    equals_the_library(written / TRANSCODER, d)
    assert (d.hook_point, d.hook_point_out, d.input_norm) == ("resid_mid.4", "mlp_out.4", "per_token")
    assert "epsilon" in d.notes[0]


def test_a_transcoder_saved_again_by_sae_lens_reads_equal(written: Path) -> None:
    folder = written.parent / "saved again"
    d, first = load_dictionary(str(folder)), load_dictionary(str(written / TRANSCODER))
    equals_the_library(folder, d)
    assert (d.format, d.fingerprint) == ("saelens", first.fingerprint)


def test_gemma_scope_1_embeddings_are_read_in_their_own_units(written: Path) -> None:
    """sae-lens scales the decoder and leaves its bias in the old units; the bias belongs to the same sum."""
    folder = written / EMBEDDING
    d, held = load_dictionary(str(folder)), load_file(folder / "reference.safetensors")
    close(d.encode(held["x"]), held["f"])
    assert 0.01 < (held["f"] > 0).float().mean() < 0.95
    root = d.d_in**0.5
    close(d.decode(held["f"]), held["x_hat"] + (root - 1) * d.b_dec)
    assert d.hook_point == "resid_pre.0"


@pytest.mark.parametrize("name", TWO)
def test_gemma_scope_2_equals_the_library(written: Path, name: str) -> None:
    folder = written / "gemma-scope-2-1b-pt" / name
    d = load_dictionary(str(folder))
    equals_the_library(folder, d)
    assert (d.hook_point, d.hook_point_out, d.format) == (*TWO[name], "gemma_scope_2")
    assert (d.W_skip is not None) == name.endswith("affine")
    (folder / "config.json").rename(folder / "away.json")
    named = load_dictionary(str(folder))
    (folder / "away.json").rename(folder / "config.json")
    assert named.fingerprint == d.fingerprint, "the folders' names say the same"


# Gemma Scope 1 by formula


@pytest.mark.parametrize("case", [str, str.lower])
def test_tensor_names_of_either_case_are_read_by_folder_or_file(tmp_path: Path, case: Callable[[str], str]) -> None:
    folder = tmp_path / "google" / "gemma-scope-2b-pt-res" / "layer_12" / "width_16k" / "average_l0_82"
    folder.mkdir(parents=True)
    arrays: dict[str, Any] = {case(name): t.numpy() for name, t in {**BASE, "threshold": THRESHOLD}.items()}
    np.savez(folder / "params.npz", **arrays)
    z = X @ W_ENC + B_ENC
    for path in (folder, folder / "params.npz"):
        d = load_dictionary(str(path))
        same(d.encode(X), z * (z > THRESHOLD))
        torch.testing.assert_close(d.decode(d.encode(X)), d.encode(X) @ W_DEC + B_DEC)
        assert d.hook_point == "resid_post.12"


def test_negative_thresholds_are_read_as_0(tmp_path: Path) -> None:
    folder = write_npz(tmp_path, threshold=(THRESHOLD - 0.5).numpy())
    d = load_dictionary(str(folder), hook_point="resid_post.0")
    z = X @ W_ENC + B_ENC
    same(d.encode(X), z.relu() * (z > THRESHOLD - 0.5))
    assert any("negative" in note for note in d.notes)


@pytest.mark.parametrize("place", ["layer_3/width_16k", "gemma-scope-2b-pt-res/width_16k", "gemma-scope-2b-pt-new/layer_3"])  # fmt: skip
def test_a_hook_point_that_the_names_do_not_state_has_to_be_set(tmp_path: Path, place: str) -> None:
    folder = str(write_npz(tmp_path / place))
    refused(lambda: load_dictionary(folder), "params.npz", "set dictionary.hook_point")
    assert load_dictionary(folder, hook_point="resid_post.0").hook_point == "resid_post.0"


WRONG_NPZ: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"b_enc": NAN.numpy()}, "b_enc holds NaN"),
    "lacks": ({"threshold": None}, "lacks the tensor threshold"),
    "short": ({"threshold": np.zeros(3)}, "threshold has shape (3,)"),
    "flat": ({"W_enc": np.zeros(3)}, "W_enc has shape (3,)"),
    "transposed": ({"W_dec": W_DEC.T.numpy()}, "W_dec has shape (6, 16)"),
    "strings": ({"b_enc": np.array(["a"])}, "not real numbers"),
}


@pytest.mark.parametrize("case", WRONG_NPZ)
def test_a_wrong_npz_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    changes, message = WRONG_NPZ[case]
    folder = write_npz(tmp_path / "gemma-scope-2b-pt-res" / "layer_3", **changes)
    refused(lambda: load_dictionary(str(folder)), message, str(folder))


# Gemma Scope 2 by its names

LOWER: dict[str, Tensor] = {**{name.lower(): tensor for name, tensor in BASE.items()}, "threshold": THRESHOLD}
SITE = "gemma-scope-2-1b-pt/resid_post/layer_3_width_16k_l0_small"


def write_params(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    write_tensors(folder / "params.safetensors", tensors or LOWER)
    if config:
        (folder / "config.json").write_text(json.dumps({"architecture": "jump_relu", **config}))
    return folder


def test_a_skip_connection_of_a_square_matrix_is_not_transposed_by_guess(tmp_path: Path) -> None:
    skip = normal(D_IN, D_IN, seed=30)
    folder = write_params(tmp_path / "transcoder" / "layer_3_affine", {**LOWER, "affine_skip_connection": skip})
    d = load_dictionary(str(folder))
    f = d.encode(X)
    torch.testing.assert_close(d.decode(f, X), f @ W_DEC + B_DEC + X @ skip, rtol=1e-4, atol=1e-4)


def test_a_config_and_a_folder_that_disagree_are_refused(tmp_path: Path) -> None:
    folder = str(write_params(tmp_path / SITE, hf_hook_point_in="model.layers.4.output"))
    refused(lambda: load_dictionary(folder), "model.layers.4.output", "resid_post.3", "set dictionary.hook_point")
    assert load_dictionary(folder, hook_point="resid_post.4").hook_point == "resid_post.4"


@pytest.mark.parametrize("end", ["", "/params_layer_3.safetensors"])
def test_a_layer_of_a_cross_layer_transcoder_encodes_like_the_library(written: Path, end: str) -> None:
    folder = written / "gemma-scope-2-1b-pt" / "clt" / "width_262k_l0_medium_affine"
    held = load_file(folder / "reference.safetensors")
    d = load_dictionary(f"{folder}{end}")
    close(d.encode(held["x"]), held["f"])
    assert 0.01 < (held["f"] > 0).float().mean() < 0.95
    tensors = load_file(folder / "params_layer_3.safetensors")
    each = [held["f"] @ tensors["w_dec"][:, later] + tensors["b_dec"] * (later == 0) for later in range(4)]
    close(d.decode(held["f"]), torch.cat(each, dim=1))
    assert (d.hook_point, d.hook_point_out, d.W_skip) == ("mlp_in.3", "mlp_out.3", None)
    assert len(d.notes) == 3


def test_dictionaries_that_span_layers_are_named_or_refused(tmp_path: Path) -> None:
    folder = write_params(tmp_path / "gemma-scope-2-1b-pt" / "crosscoder" / "layer_3_width_262k")
    refused(lambda: load_dictionary(str(folder)), "crosscoder", "not supported")
    folder = tmp_path / "gemma-scope-2-1b-pt" / "clt" / "width_262k"
    folder.mkdir(parents=True)
    refused(lambda: load_dictionary(str(folder)), "name one", "params_layer_")
    for layer in (3, 4):
        write_tensors(folder / f"params_layer_{layer}.safetensors", LOWER)
    refused(lambda: load_dictionary(str(folder)), "2 such files", "params_layer_3.safetensors")
    refused(lambda: load_dictionary(str(folder / "params_layer_3.safetensors")), "w_dec has shape (16, 6)")


WRONG_PARAMS: dict[str, tuple[dict[str, Tensor] | None, dict[str, Any], str]] = {
    "architecture": (None, {"architecture": "topk"}, "'topk'"),
    "place": (None, {"hf_hook_point_in": "model.layers.3.self_attn.q_proj.output"}, "q_proj"),
    "place out": (None, {"hf_hook_point_out": "model.layers.3.router"}, "model.layers.3.router"),
    "nan": ({**LOWER, "b_enc": NAN}, {}, "b_enc holds NaN"),
    "upper": ({**BASE, "threshold": THRESHOLD}, {}, "lacks the tensor w_enc"),
    "lacks": ({"w_enc": W_ENC}, {}, "lacks the tensor w_dec"),
    "short": ({**LOWER, "threshold": torch.zeros(3)}, {}, "threshold has shape (3,)"),
    "stacked": ({**LOWER, "w_dec": torch.zeros(D_SAE, 2, D_IN)}, {}, "w_dec has shape (16, 2, 6)"),
}


@pytest.mark.parametrize("case", WRONG_PARAMS)
def test_wrong_params_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    tensors, config, message = WRONG_PARAMS[case]
    place = "layer" if case == "place" else SITE
    folder = write_params(tmp_path / place, tensors, **config)
    refused(lambda: load_dictionary(str(folder)), message, str(folder))


def test_without_names_or_config_the_hook_point_has_to_be_set(tmp_path: Path) -> None:
    refused(lambda: load_dictionary(str(write_params(tmp_path))), "config.json", "set dictionary.hook_point")


def test_a_dictionary_of_another_width_is_refused(tmp_path: Path) -> None:
    for folder in (write_npz(tmp_path / "gemma-scope-2b-pt-res" / "layer_3"), write_params(tmp_path / SITE)):
        d = load_dictionary(str(folder))
        refused(
            lambda d=d: d.check_fits(2304, "gemma-2-2b"), "reads 6 dimensions", "resid_post.3 of gemma-2-2b has 2304"
        )  # type: ignore[misc]
