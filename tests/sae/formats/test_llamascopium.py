"""llamascopium as its library writes it; Llama Scope of 2024 and R1, which the library no longer reads, by the published formula."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.sae.comparison import agrees, close, reference, refused, sparse, written
from torch import Tensor

from sae.formats.load import load_dictionary

pytestmark = pytest.mark.slow

D_IN, D_SAE = 12, 48
EXPECTED = {
    "dataset-wise": ("jumprelu", "scale", None),
    "token-wise": ("jumprelu", "per_token", None),
    "inference": ("jumprelu", "none", None),
    "jumprelu-plain": ("jumprelu", "scale", None),
    "relu": ("relu", "scale", None),
    "topk-plain": ("topk", "scale", None),
    "transcoder": ("jumprelu_transcoder", "scale", "mlp_out.2"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("llamascopium", tmp_path_factory.mktemp("llamascopium"))


def spoilt(made: Path, tmp_path: Path, name: str, **changes: Any) -> Path:
    folder = shutil.copytree(made / name, tmp_path / name, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize("name", EXPECTED)
def test_every_kind_equals_the_library(made: Path, name: str) -> None:
    d = load_dictionary(str(made / name))
    agrees(d, made / name)
    assert (d.architecture, d.input_norm, d.hook_point_out) == EXPECTED[name]
    assert (d.hook_point, d.format) == ("resid_mid.2" if d.hook_point_out else "resid_post.2", "llamascopium")


def test_topk_by_values_scaled_with_decoder_norms_equals_the_library(made: Path) -> None:
    d, held = load_dictionary(str(made / "topk")), reference(made / "topk")
    norm = load_file(made / "topk" / "sae_weights.safetensors")["W_D"].norm(dim=1)
    close(d.activations(held["x"]), sparse(held["f"]) * norm)
    close(d.decode(d.encode(held["x"])), held["x_hat"])
    assert "sparsity_include_decoder_norm" in d.notes[0]


def test_batch_wise_topk_is_read_as_topk_of_each_token(made: Path) -> None:
    d = load_dictionary(str(made / "batchtopk"))
    f = d.encode(reference(made / "batchtopk")["x"])
    assert ((f > 0).sum(dim=1) <= 6).all()
    assert "TopK of each token, not of a batch" in d.notes[-1]


def test_a_feature_with_a_decoder_row_of_zeros_is_never_active(made: Path, tmp_path: Path) -> None:
    folder = spoilt(made, tmp_path, "inference")
    tensors = load_file(folder / "sae_weights.safetensors")
    tensors["W_D"][3] = 0
    tensors["b_E"][3] = 1e6
    save_file(tensors, folder / "sae_weights.safetensors")
    assert not load_dictionary(str(folder)).encode(reference(folder)["x"])[:, 3].any()


def test_wrong_missing_and_damaged_files_are_refused(made: Path, tmp_path: Path) -> None:
    refused(made / "glu", "use_glu_encoder = true is not supported")
    refused(made / "crosscoder", "sae_type 'crosscoder' reads or writes several hook points at once")
    refused(spoilt(made, tmp_path, "relu", act_fn="layertopk"), "act_fn 'layertopk' is not supported")
    refused(spoilt(made, tmp_path, "relu", norm_activation="batch-wise"), "norm_activation 'batch-wise'")
    refused(spoilt(made, tmp_path, "relu", d_model=99), "d_model = 12, but config.json says 99")
    refused(spoilt(made, tmp_path, "topk", top_k=None), "top_k = None is not a whole number")
    refused(spoilt(made, tmp_path, "transcoder", norm_activation="token-wise"), "'token-wise' is not supported for")
    refused(
        spoilt(made, tmp_path, "transcoder", hook_point_out="blocks.2.attn.hook_q"), "writes to blocks.2.attn.hook_q"
    )
    folder = spoilt(made, tmp_path, "dataset-wise", hook_point_in="blocks.9.hook_resid_post", hook_point_out=None)
    refused(folder, "lacks the tensor dataset_average_activation_norm.blocks.9.hook_resid_post")
    folder = spoilt(made, tmp_path, "jumprelu-plain")
    tensors = load_file(folder / "sae_weights.safetensors")
    del tensors["activation_function.log_jumprelu_threshold"]
    save_file(tensors, folder / "sae_weights.safetensors")
    refused(folder, "lacks the tensor log_jumprelu_threshold")


# Llama Scope of 2024 and of R1


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = normal(17, D_IN, seed=9) * 2
LINEAR = {
    "encoder.weight": normal(D_SAE, D_IN, seed=0),
    "encoder.bias": normal(D_SAE, seed=1),
    "decoder.weight": normal(D_IN, D_SAE, seed=2),
    "decoder.bias": normal(D_IN, seed=3),
}


def write_2024(folder: Path, **changes: Any) -> Path:
    base = {
        "hook_point_in": "blocks.15.hook_resid_post",
        "hook_point_out": "blocks.15.hook_resid_post",
        "d_model": D_IN,
        "d_sae": D_SAE,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.8,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": 8.0, "out": 8.0},
    }
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "hyperparams.json").write_text(json.dumps({**base, **changes}))
    save_file(LINEAR, folder / "checkpoints" / "final.safetensors")
    return folder


def test_llama_scope_of_2024(tmp_path: Path) -> None:
    d = load_dictionary(str(write_2024(tmp_path)))
    scale = math.sqrt(D_IN) / 8
    z = X * scale @ LINEAR["encoder.weight"].T + LINEAR["encoder.bias"]
    f = sparse(z * (z > 0.8 * scale))
    close(d.encode(X), f)
    close(d.decode(f), (f @ LINEAR["decoder.weight"].T + LINEAR["decoder.bias"]) / scale)
    assert (d.hook_point, d.hook_point_out, d.format) == ("resid_post.15", None, "llama_scope")


def test_llama_scope_transcoders_and_decoder_norms(tmp_path: Path) -> None:
    hooks = {"hook_point_in": "blocks.15.hook_resid_mid", "hook_point_out": "blocks.15.hook_mlp_out"}
    norms = {"dataset_average_activation_norm": {"in": 8.0, "out": 2.0}, "sparsity_include_decoder_norm": True}
    d = load_dictionary(str(write_2024(tmp_path, **hooks, **norms)))
    scale = math.sqrt(D_IN) / 8
    z = X * scale @ LINEAR["encoder.weight"].T + LINEAR["encoder.bias"]
    f = sparse(z * (z * LINEAR["decoder.weight"].norm(dim=0) > 0.8 * scale))
    close(d.encode(X), f)
    close(d.decode(f), (f @ LINEAR["decoder.weight"].T + LINEAR["decoder.bias"]) / (math.sqrt(D_IN) / 2))
    assert (d.hook_point, d.hook_point_out) == ("resid_mid.15", "mlp_out.15")


def test_llama_scope_of_2024_refusals(tmp_path: Path) -> None:
    for name, value in {
        "act_fn": "topk",
        "norm_activation": "token-wise",
        "use_glu_encoder": True,
        "jump_relu_threshold": None,
        "d_model": 99,
    }.items():
        refused(write_2024(tmp_path, **{name: value}), name)
    refused(write_2024(tmp_path, dataset_average_activation_norm={"in": 0}), "in = 0 is not a positive number")
    refused(write_2024(tmp_path, hook_point_in="blocks.1.ln1.hook_scale"), "is not a supported hook point")


def test_llama_scope_r1_with_its_older_names(tmp_path: Path) -> None:
    threshold = normal(D_SAE, seed=4) * 0.3
    hook = "blocks.15.hook_resid_post"
    own = {"log_jumprelu_threshold": threshold, f"dataset_average_activation_norm.{hook}": torch.tensor(8.0)}
    save_file({**LINEAR, **own}, tmp_path / "sae_weights.safetensors")
    config = {"sae_type": "sae", "hook_point_in": hook, "hook_point_out": hook, "d_model": D_IN, "act_fn": "jumprelu"}
    config |= {"norm_activation": "dataset-wise", "sparsity_include_decoder_norm": False}
    (tmp_path / "config.json").write_text(json.dumps(config))
    d = load_dictionary(str(tmp_path))
    scale = math.sqrt(D_IN) / 8
    z = X * scale @ LINEAR["encoder.weight"].T + LINEAR["encoder.bias"]
    f = sparse(z * (z > threshold.exp()))
    close(d.encode(X), f)
    close(d.decode(f), (f @ LINEAR["decoder.weight"].T + LINEAR["decoder.bias"]) / scale)
    assert (d.hook_point, d.format) == ("resid_post.15", "llamascopium")
