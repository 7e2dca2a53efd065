"""circuit-tracer: per-layer and cross-layer transcoders as its library writes them, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.sae.comparison import agrees, close, reference, refused, sparse, written

from sae.formats.load import load_dictionary

pytestmark = pytest.mark.slow

EXPECTED = {
    "relu": ("relu_transcoder", "mlp_in.1", "none"),
    "jumprelu": ("jumprelu_transcoder", "resid_mid.1", "none"),
    "skip": ("relu_skip_transcoder", "mlp_in.1", "none"),
    "normalised": ("relu_transcoder", "resid_mid.1", "per_token"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("circuit_tracer", tmp_path_factory.mktemp("circuit_tracer"))


def spoilt(made: Path, tmp_path: Path, name: str, old: str = "", new: str = "") -> Path:
    folder = shutil.copytree(made / name, tmp_path / name, dirs_exist_ok=True)
    config = (folder / "config.yaml").read_text()
    assert old in config
    (folder / "config.yaml").write_text(config.replace(old, new))
    return folder


def rewrite(file: Path, **changes: torch.Tensor) -> None:
    save_file({**load_file(file), **changes}, file)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_per_layer_transcoder_equals_the_library(made: Path, name: str) -> None:
    d = load_dictionary(str(made / name / "layer_1.safetensors"))
    agrees(d, made / name)
    assert (d.architecture, d.hook_point, d.input_norm) == EXPECTED[name]
    assert (d.hook_point_out, d.format) == ("mlp_out.1", "circuit_tracer")


def test_an_input_before_the_norm_s_gain_is_read_as_the_normalised_residual_stream(made: Path) -> None:
    d = load_dictionary(str(made / "normalised" / "layer_1.safetensors"))
    held = reference(made / "normalised")
    stream = held["x"] * torch.linspace(0.5, 90, len(held["x"]))[:, None]
    close(d.encode(stream), held["f"])
    assert "ln2.hook_normalized" in d.notes[0]


@pytest.mark.parametrize("name", ["clt_relu", "clt_jump_relu"])
@pytest.mark.parametrize("side", ["W_enc", "W_dec"])
def test_one_layer_of_a_cross_layer_transcoder_equals_the_library(made: Path, name: str, side: str) -> None:
    d = load_dictionary(str(made / name / f"{side}_1.safetensors"))
    held = reference(made / name)
    close(d.encode(held["x"]), sparse(held["f"]))
    close(d.decode(held["f"]), held["x_hat"])
    assert (d.hook_point, d.hook_point_out, d.architecture) == ("resid_mid.1", "mlp_out.1", "cross_layer_transcoder")
    assert "all of layers 1 to 2" in d.notes[0]
    assert "reconstructs none" in d.notes[1]


def test_a_cross_layer_activation_counts_everything_that_the_feature_writes(made: Path) -> None:
    folder = made / "clt_relu"
    d = load_dictionary(str(folder / "W_enc_0.safetensors"))
    W_dec = load_file(folder / "W_dec_0.safetensors")["W_dec_0"]
    x = reference(folder)["x"]
    assert W_dec.shape[1] == 3
    close(d.activations(x), d.encode(x) * W_dec.square().sum(dim=(1, 2)).sqrt())


def test_in_a_folder_of_several_layers_one_has_to_be_named(made: Path, tmp_path: Path) -> None:
    refused(made / "relu", "holds 3 such files", "layer_0.safetensors")
    refused(made / "clt_relu", "holds 3 such files", "W_enc_0.safetensors")
    refused(made, "there are dictionaries in its folders")
    (tmp_path / "config.yaml").write_text((made / "relu" / "config.yaml").read_text())
    refused(tmp_path, "holds one dictionary per file", "layer_*.safetensors")


def test_a_config_that_only_lists_files_elsewhere_is_refused(tmp_path: Path) -> None:
    lines = [
        "model_kind: transcoder_set",
        "transcoders:",
        '  - "hf://google/gemma-scope-2b-pt-transcoders/layer_0/params.npz"',
    ]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    refused(tmp_path, "only lists its transcoders", "such as google/gemma-scope-2b-pt-transcoders/layer_0")


def test_without_a_config_the_hook_point_has_to_be_set(made: Path, tmp_path: Path) -> None:
    folder = spoilt(made, tmp_path, "relu")
    (folder / "config.yaml").unlink()
    refused(folder / "layer_1.safetensors", "does not say which hook point it reads")
    d = load_dictionary(str(folder / "layer_1.safetensors"), hook_point="mlp_in.1")
    agrees(d, made / "relu")
    assert d.hook_point_out == "mlp_out.1"


def test_a_file_with_k_is_read_as_topk(made: Path, tmp_path: Path) -> None:
    file = spoilt(made, tmp_path, "relu") / "layer_1.safetensors"
    rewrite(file, k=torch.tensor(4))
    d, held = load_dictionary(str(file)), load_file(file)
    x = reference(made / "relu")["x"]
    z = x @ held["W_enc"].T + held["b_enc"]
    close(d.encode(x), sparse(z.relu() * (z >= z.sort(descending=True).values[:, 3:4])))


def test_wrong_missing_and_damaged_files_are_refused(made: Path, tmp_path: Path) -> None:
    file = spoilt(made, tmp_path, "relu", "mlp.hook_in", "attn.hook_q") / "layer_1.safetensors"
    refused(file, "reads blocks.1.attn.hook_q, which is not a supported hook point")
    file = spoilt(made, tmp_path, "relu", "hook_mlp_out", "attn.hook_q") / "layer_1.safetensors"
    refused(file, "writes to blocks.1.attn.hook_q, which is not a supported hook point")
    file = spoilt(made, tmp_path, "relu", "model_kind", ":\tno") / "layer_1.safetensors"
    refused(file, "config.yaml is not YAML")
    file = spoilt(made, tmp_path, "skip", "mlp.hook_in", "ln2.hook_normalized") / "layer_1.safetensors"
    refused(file, "skip connection from ln2.hook_normalized is not supported")
    file = spoilt(made, tmp_path, "relu") / "layer_1.safetensors"
    rewrite(file, log_thresholds=torch.zeros(40))
    refused(file, "holds log_thresholds")
    save_file({"W_enc": torch.zeros(4, 3), "b_enc": torch.zeros(4)}, file)
    refused(file, "lacks the tensor W_dec")
    file = spoilt(made, tmp_path, "clt_relu") / "W_enc_1.safetensors"
    file.with_name("W_dec_1.safetensors").unlink()
    refused(file, "W_dec_1.safetensors")
    file = spoilt(made, tmp_path, "jumprelu") / "layer_1.safetensors"
    rewrite(file, **{"activation_function.threshold": torch.full((40,), -1.0)})
    refused(file, "threshold -1 is negative")
