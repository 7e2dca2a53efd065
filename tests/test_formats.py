"""Each file format against its published encoder written out here, and the ways in which a file can be wrong or hostile."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sae.dictionary import Dictionary, load_dictionary
from sae.errors import DictionaryError
from sae.formats import saelens

D_IN, D_SAE, K = 6, 16, 3


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = normal(11, D_IN, seed=9) * 3
W_ENC, W_DEC = normal(D_IN, D_SAE, seed=0), normal(D_SAE, D_IN, seed=1)
B_ENC, B_DEC = normal(D_SAE, seed=2), normal(D_IN, seed=3)
THRESHOLD = normal(D_SAE, seed=4).abs()
BASE = {"W_enc": W_ENC, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
HOOK = {"hook_name": "blocks.4.hook_resid_post"}


def write_saelens(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    base = {"architecture": "standard", "d_in": D_IN, "d_sae": D_SAE, "apply_b_dec_to_input": False, "metadata": HOOK}
    (folder / "cfg.json").write_text(json.dumps({**base, **config}))
    save_file(
        {name: t.clone(memory_format=torch.contiguous_format) for name, t in (tensors or BASE).items()},
        folder / "sae_weights.safetensors",
    )
    return folder


def write_npz(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {**{name: t.numpy() for name, t in BASE.items()}, "threshold": THRESHOLD.numpy(), **changes}
    np.savez(folder / "params.npz", **{name: a for name, a in arrays.items() if a is not None})
    return folder


SPARSIFY = {"encoder.weight": W_ENC.T, "encoder.bias": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC}


def write_sparsify(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(
        json.dumps({"activation": "topk", "k": K, "num_latents": 0, "d_in": D_IN, **config})
    )
    save_file(
        {name: t.clone(memory_format=torch.contiguous_format) for name, t in (tensors or SPARSIFY).items()},
        folder / "sae.safetensors",
    )
    return folder


def largest(z: Tensor, k: int) -> Tensor:
    return z.relu() * (z >= z.sort(dim=-1, descending=True).values[..., k - 1 : k])


def same(actual: Tensor, expected: Tensor) -> None:
    assert 0.02 < (expected > 0).float().mean() < 0.9
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


# SAELens


def test_saelens_standard(tmp_path: Path) -> None:
    for c in (False, True):
        d = load_dictionary(str(write_saelens(tmp_path / f"c{c}", apply_b_dec_to_input=c)))
        expected = ((X - c * B_DEC) @ W_ENC + B_ENC).relu()
        same(d.encode(X), expected)
        torch.testing.assert_close(d.decode(expected), expected @ W_DEC + B_DEC)
        assert (d.architecture, d.format, d.hook_point, d.d_in, d.d_sae) == (
            "standard",
            "saelens",
            "resid_post.4",
            D_IN,
            D_SAE,
        )


def test_saelens_jumprelu(tmp_path: Path) -> None:
    d = load_dictionary(str(write_saelens(tmp_path, {**BASE, "threshold": THRESHOLD - 0.5}, architecture="jumprelu")))
    z = X @ W_ENC + B_ENC
    same(d.encode(X), z.relu() * (z > THRESHOLD - 0.5))


def test_saelens_gated(tmp_path: Path) -> None:
    b_gate, r_mag, b_mag = normal(D_SAE, seed=5), normal(D_SAE, seed=6), normal(D_SAE, seed=7)
    tensors = {"W_enc": W_ENC, "W_dec": W_DEC, "b_dec": B_DEC, "b_gate": b_gate, "r_mag": r_mag, "b_mag": b_mag}
    d = load_dictionary(str(write_saelens(tmp_path, tensors, architecture="gated", apply_b_dec_to_input=True)))
    x = X - B_DEC
    gate = (x @ W_ENC + b_gate > 0).float()
    same(d.encode(X), gate * (x @ (W_ENC * r_mag.exp()) + b_mag).relu())


def test_saelens_topk(tmp_path: Path) -> None:
    d = load_dictionary(str(write_saelens(tmp_path, architecture="topk", k=K)))
    expected = largest(X @ W_ENC + B_ENC, K)
    same(d.encode(X), expected)
    same(d.activations(X), expected * W_DEC.norm(dim=1))


def test_saelens_topk_that_selects_on_scaled_values(tmp_path: Path) -> None:
    scaled = W_DEC * torch.linspace(0.2, 4, D_SAE)[:, None]
    tensors = {**BASE, "W_dec": scaled}
    d = load_dictionary(
        str(write_saelens(tmp_path, tensors, architecture="topk", k=K, rescale_acts_by_decoder_norm=True))
    )
    norm = scaled.norm(dim=1)
    f = largest((X @ W_ENC + B_ENC) * norm, K)
    same(d.activations(X), f)
    torch.testing.assert_close(d.decode(d.encode(X)), (f / norm) @ scaled + B_DEC, rtol=1e-4, atol=1e-4)


def test_saelens_normalisations(tmp_path: Path) -> None:
    centred = X - X.mean(-1, keepdim=True)
    means = {
        "none": X,
        "expected_average_only_in": X,
        "constant_norm_rescale": X * D_IN**0.5 / X.norm(dim=-1, keepdim=True),
        "layer_norm": centred / (centred.std(-1, keepdim=True) + 1e-5),
    }
    for name, x in means.items():
        d = load_dictionary(str(write_saelens(tmp_path / name, normalize_activations=name, apply_b_dec_to_input=True)))
        same(d.encode(X), ((x - B_DEC) @ W_ENC + B_ENC).relu())


def test_saelens_checkpoint_with_its_scale_beside_it(tmp_path: Path) -> None:
    write_saelens(tmp_path, normalize_activations="expected_average_only_in", apply_b_dec_to_input=True)
    (tmp_path / "activation_scaler.json").write_text('{"scaling_factor": 0.25}')
    d = load_dictionary(str(tmp_path))
    f = ((X * 0.25 - B_DEC) @ W_ENC + B_ENC).relu()
    same(d.encode(X), f)
    torch.testing.assert_close(d.decode(f), (f @ W_DEC + B_DEC) / 0.25)


def test_saelens_trained_on_a_centred_stream(tmp_path: Path) -> None:
    for c in (False, True):
        for model, x in (("gpt2-small", X - X.mean(-1, keepdim=True)), ("gemma-2-2b", X)):
            meta = {**HOOK, "model_name": model, "model_from_pretrained_kwargs": {"center_writing_weights": True}}
            d = load_dictionary(str(write_saelens(tmp_path / f"{model}{c}", metadata=meta, apply_b_dec_to_input=c)))
            same(d.encode(X), ((x - c * B_DEC) @ W_ENC + B_ENC).relu())


def test_saelens_finetuned_decoder_scale(tmp_path: Path) -> None:
    factor = torch.linspace(0.5, 2, D_SAE)
    d = load_dictionary(str(write_saelens(tmp_path, {**BASE, "finetuning_scaling_factor": factor})))
    f = (X @ W_ENC + B_ENC).relu()
    torch.testing.assert_close(d.decode(d.encode(X)), (f * factor) @ W_DEC + B_DEC, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_are_read_as_they_are_and_computed_in_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    d = load_dictionary(str(write_saelens(tmp_path, {name: t.to(dtype) for name, t in BASE.items()})))
    assert d.W_enc.dtype == dtype
    assert d.encode(torch.randn(3, d.d_in)).dtype == torch.float32
    same(d.encode(X), (X @ W_ENC.to(dtype).float() + B_ENC.to(dtype).float()).relu())


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"hook_name": "blocks.7.hook_resid_post"}, "resid_post.7"),
        ({"hook_name": "blocks.7.hook_resid_pre"}, "resid_post.6"),
        ({"hook_name": "blocks.7.mlp.hook_post"}, "mlp_act.7"),
        ({"hf_hook_name": "model.layers.20.output"}, "resid_post.20"),
        ({"hf_hook_name": "model.layers.20.mlp.down_proj.input"}, "mlp_act.20"),
        ({"hook_name": "transformer.h.3"}, "resid_post.3"),
        ({"hook_name": "gpt_neox.layers.3"}, "resid_post.3"),
        ({"hook_point": "mlp_act.2", "hook_name": "blocks.7.hook_resid_post"}, "mlp_act.2"),
    ],
)
def test_hook_names(tmp_path: Path, metadata: dict[str, str], expected: str) -> None:
    assert load_dictionary(str(write_saelens(tmp_path, metadata=metadata))).hook_point == expected


@pytest.mark.parametrize("name", ["blocks.7.hook_mlp_out", "blocks.0.hook_resid_pre", "blocks.3.attn.hook_z", "model.layers.5.mlp", "model.layers.5.mlp.output"])  # fmt: skip
def test_other_places_are_refused_unless_overridden(tmp_path: Path, name: str) -> None:
    folder = str(write_saelens(tmp_path, metadata={"hook_name": name}))
    refused(lambda: load_dictionary(folder), name)
    assert load_dictionary(folder, hook_point="resid_post.7").hook_point == "resid_post.7"


def test_older_saelens_files_name_the_hook_at_the_top(tmp_path: Path) -> None:
    assert (
        load_dictionary(str(write_saelens(tmp_path, metadata={}, hook_name="blocks.2.hook_resid_post"))).hook_point
        == "resid_post.2"
    )
    refused(lambda: load_dictionary(str(write_saelens(tmp_path, metadata={}))), "set dictionary.hook_point")


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk"])
@pytest.mark.parametrize("hook_point", ["resid_post.5", "mlp_act.5"])
def test_save_reads_back_equal(tmp_path: Path, activation: str, hook_point: str) -> None:
    choices: dict[str, dict[str, Any]] = {"relu": {}, "jumprelu": {"threshold": THRESHOLD}, "topk": {"k": K}}
    extra = choices[activation]
    d = Dictionary(W_ENC.T.contiguous(), B_ENC, W_DEC, B_DEC, activation, hook_point, apply_b_dec_to_input=True, input_norm="layer_norm", **extra)  # type: ignore[arg-type]  # fmt: skip
    saelens.save(tmp_path / "out", d, model_name="tiny", metadata={"l0": 3.5})
    back = load_dictionary(str(tmp_path / "out"))
    assert back.fingerprint == d.fingerprint
    assert torch.equal(back.encode(X), d.encode(X))
    config = json.loads((tmp_path / "out" / "cfg.json").read_text())
    lens = {"resid_post.5": "blocks.5.hook_resid_post", "mlp_act.5": "blocks.5.mlp.hook_post"}[hook_point]
    assert config["metadata"] == {"l0": 3.5, "model_name": "tiny", "hook_name": lens, "hook_point": hook_point}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cfg.json", "sae_weights.safetensors"]


def test_an_interrupted_save_is_not_taken_for_a_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    d = load_dictionary(str(write_saelens(tmp_path)))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        saelens.save(tmp_path, d, model_name="tiny")
    refused(lambda: load_dictionary(str(tmp_path)), "holds no dictionary")
    assert [p.name for p in tmp_path.iterdir()] == ["sae_weights.safetensors"]


# Gemma Scope and sparsify


@pytest.mark.parametrize("case", [str, str.lower])
def test_gemma_scope(tmp_path: Path, case: Callable[[str], str]) -> None:
    folder = tmp_path / "google" / "gemma-scope-2b-pt-res" / "layer_12" / "width_16k" / "average_l0_82"
    folder.mkdir(parents=True)
    arrays: dict[str, Any] = {case(name): t.numpy() for name, t in {**BASE, "threshold": THRESHOLD}.items()}
    np.savez(folder / "params.npz", **arrays)
    z = X @ W_ENC + B_ENC
    for path in (folder, folder / "params.npz"):
        d = load_dictionary(str(path))
        same(d.encode(X), z * (z > THRESHOLD))
        torch.testing.assert_close(d.decode(d.encode(X)), d.encode(X) @ W_DEC + B_DEC)
        assert (d.hook_point, d.format, d.architecture) == ("resid_post.12", "gemma_scope", "jumprelu")


@pytest.mark.parametrize("site", ["mlp", "att", "transcoders"])
def test_gemma_scope_of_other_sites_is_refused(tmp_path: Path, site: str) -> None:
    folder = str(write_npz(tmp_path / f"gemma-scope-2b-pt-{site}" / "layer_3" / "width_16k"))
    refused(lambda: load_dictionary(folder), f"the {site} site of layer 3")


def test_gemma_scope_without_a_layer_asks_for_it(tmp_path: Path) -> None:
    folder = str(write_npz(tmp_path))
    refused(lambda: load_dictionary(folder), "set dictionary.hook_point")
    assert load_dictionary(folder, hook_point="resid_post.0").hook_point == "resid_post.0"


@pytest.mark.parametrize("num_latents", [0, D_SAE])
def test_sparsify(tmp_path: Path, num_latents: int) -> None:
    d = load_dictionary(str(write_sparsify(tmp_path / "layers.5", num_latents=num_latents)))
    f = largest(((X - B_DEC) @ W_ENC + B_ENC).relu(), K)
    same(d.encode(X), f)
    torch.testing.assert_close(d.decode(f), f @ W_DEC + B_DEC)
    assert (d.hook_point, d.format, d.k) == ("resid_post.5", "sparsify", K)


def test_square_weights_are_not_transposed_by_guess(tmp_path: Path) -> None:
    W, V, b = normal(D_IN, D_IN, seed=20), normal(D_IN, D_IN, seed=21), normal(D_IN, seed=22)
    lens = write_saelens(tmp_path / "lens", {"W_enc": W, "W_dec": V, "b_enc": b, "b_dec": b}, d_sae=D_IN)
    same(load_dictionary(str(lens)).encode(X), (X @ W + b).relu())
    eleuther = write_sparsify(tmp_path / "layers.0", {"encoder.weight": W, "encoder.bias": b, "W_dec": V, "b_dec": b})
    same(load_dictionary(str(eleuther)).encode(X), largest(((X - b) @ W.T + b).relu(), K))


# What is refused


def refused(load: Callable[[], Any], *needles: str) -> None:
    with pytest.raises(DictionaryError) as caught:
        load()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    for needle in needles:
        assert needle in text


@pytest.mark.parametrize("architecture", ["transcoder", "skip_transcoder", "jumprelu_transcoder", "temporal", "matching_pursuit", "abstopk", None, 3])  # fmt: skip
def test_saelens_architectures_refused_by_name(tmp_path: Path, architecture: Any) -> None:
    folder = str(write_saelens(tmp_path, architecture=architecture))
    refused(lambda: load_dictionary(folder), repr(architecture), "cfg.json")


def test_unsupported_settings_are_refused_by_name(tmp_path: Path) -> None:
    lens = str(write_saelens(tmp_path / "a", normalize_activations="covariance_whitening"))
    refused(lambda: load_dictionary(lens), "covariance_whitening")
    refused(lambda: load_dictionary(str(write_saelens(tmp_path / "b", architecture="topk"))), "needs k")
    refused(lambda: load_dictionary(str(write_sparsify(tmp_path / "layers.1", activation="groupmax"))), "groupmax")
    refused(lambda: load_dictionary(str(write_sparsify(tmp_path / "layers.2", transcode=True))), "transcode")
    refused(lambda: load_dictionary(str(write_sparsify(tmp_path / "layers.3.mlp"))), "layers.3.mlp")
    skip = write_sparsify(tmp_path / "layers.4", {**SPARSIFY, "W_skip": torch.eye(D_IN)})
    refused(lambda: load_dictionary(str(skip)), "W_skip")


class Payload:
    """Unpickling it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["sae_weights.safetensors", "sae.safetensors", "params.npz", "sae_weights.pt", "ae.pkl", "pytorch_model.bin"])  # fmt: skip
@pytest.mark.parametrize("style", ["pickle", "torch"])
def test_pickles_never_run(tmp_path: Path, name: str, style: str) -> None:
    mark, folder = tmp_path / "ran", tmp_path / "layer_3"
    folder.mkdir()
    (folder / "cfg.json").write_text(json.dumps({"architecture": "standard", "metadata": HOOK, "k": K}))
    if style == "pickle":
        (folder / name).write_bytes(pickle.dumps(Payload(mark)))
    else:
        torch.save({"W_enc": Payload(mark)}, folder / name)
    refused(lambda: load_dictionary(str(folder), hook_point="resid_post.3"), name)
    refused(lambda: load_dictionary(str(folder / name), hook_point="resid_post.3"), name)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload must work, or the test shows nothing"


def test_object_arrays_in_npz_never_run(tmp_path: Path) -> None:
    mark, folder = tmp_path / "ran", tmp_path / "layer_3"
    write_npz(folder, W_enc=np.array([Payload(mark)], dtype=object))
    refused(lambda: load_dictionary(str(folder)), "params.npz", "pickled objects")
    assert not mark.exists()


@pytest.mark.parametrize("write", [write_saelens, write_npz, write_sparsify])
@pytest.mark.parametrize("kept", [0, 5, 200, 0.5, 0.98])
def test_truncated_weights(tmp_path: Path, write: Callable[[Path], Path], kept: float) -> None:
    folder = write(tmp_path / "layer_3")
    file = next(p for p in folder.iterdir() if p.name != "cfg.json")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept if kept > 1 or kept == 0 else kept * len(whole))])
    refused(lambda: load_dictionary(str(folder), hook_point="resid_post.3"), file.name)


NAN = torch.full((D_SAE,), float("nan"))
BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "saelens nan": (lambda p: write_saelens(p, {**BASE, "b_enc": NAN}), "b_enc holds NaN"),
    "saelens nan threshold": (
        lambda p: write_saelens(p, {**BASE, "threshold": NAN}, architecture="jumprelu"),
        "threshold holds NaN",
    ),
    "saelens transposed": (lambda p: write_saelens(p, {**BASE, "W_enc": W_ENC.T}), "d_sae"),
    "saelens short": (lambda p: write_saelens(p, {**BASE, "b_dec": torch.zeros(2)}), "b_dec has shape (2,)"),
    "saelens flat": (lambda p: write_saelens(p, {**BASE, "W_dec": torch.zeros(2)}), "W_dec has shape (2,)"),
    "saelens lacks": (lambda p: write_saelens(p, {"W_enc": W_ENC}), "lacks the tensor W_dec"),
    "saelens gated lacks": (lambda p: write_saelens(p, architecture="gated"), "lacks the tensor b_gate"),
    "saelens integers": (
        lambda p: write_saelens(p, {**BASE, "b_enc": torch.zeros(D_SAE, dtype=torch.int64)}),
        "b_enc holds int64",
    ),
    "saelens k": (lambda p: write_saelens(p, architecture="topk", k=D_SAE + 1), "k = 17 is not in 1..16"),
    "saelens size": (lambda p: write_saelens(p, d_in=D_IN + 1), "cfg.json says 7"),
    "gemma nan": (lambda p: write_npz(p, b_enc=NAN.numpy()), "b_enc holds NaN"),
    "gemma lacks": (lambda p: write_npz(p, threshold=None), "lacks the tensor threshold"),
    "gemma wrong": (lambda p: write_npz(p, threshold=np.zeros(3)), "threshold has shape (3,)"),
    "gemma strings": (lambda p: write_npz(p, b_enc=np.array(["a"])), "not real numbers"),
    "sparsify nan": (lambda p: write_sparsify(p, {**SPARSIFY, "encoder.bias": NAN}), "b_enc holds NaN"),
    "sparsify lacks": (lambda p: write_sparsify(p, {"b_dec": B_DEC}), "lacks the tensor encoder.weight"),
    "sparsify k": (lambda p: write_sparsify(p, k=0), "k = 0"),
    "sparsify size": (lambda p: write_sparsify(p, d_in=9), "cfg.json says 9"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_by_name(tmp_path: Path, case: str) -> None:
    write, message = BROKEN[case]
    folder = write(tmp_path / "layer_3")
    refused(lambda: load_dictionary(str(folder), hook_point="resid_post.3"), message, str(folder))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", '"x"', "\x00\xff", "[" * 100_000])
def test_configs_that_are_not_json_objects(tmp_path: Path, text: str) -> None:
    for folder in (write_saelens(tmp_path / "a"), write_sparsify(tmp_path / "layers.3")):
        (folder / "cfg.json").write_bytes(text.encode("latin-1"))
        refused(lambda folder=folder: load_dictionary(str(folder)), "cfg.json", "JSON")  # type: ignore[misc]


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(lambda: load_dictionary(str(tmp_path / "none")), "does not exist")
    refused(lambda: load_dictionary("no-such-name"), "does not exist")
    refused(lambda: load_dictionary(str(tmp_path)), "no dictionary")
    write_sparsify(tmp_path / "layers.5")
    refused(lambda: load_dictionary(str(tmp_path)), "such as layers.5")
    refused(lambda: load_dictionary(str(tmp_path / "layers.5"), format="saelens"), "sae_weights.safetensors")
    refused(lambda: load_dictionary(str(tmp_path / "layers.5"), format="onnx"), "onnx", "sparsify")
    refused(lambda: load_dictionary(str(tmp_path / "layers.5"), hook_point="mlp_out.5"), "mlp_out.5")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    refused(lambda: load_dictionary("owner/name/layers.5"), "owner/name/layers.5", "hub cannot be reached")


def test_hub_path_reads_only_the_folder_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(tmp_path)

    write_sparsify(tmp_path / "32x" / "layers.5")
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    d = load_dictionary("owner/name/32x/layers.5", revision="abc")
    assert (d.path, d.hook_point) == ("owner/name/32x/layers.5", "resid_post.5")
    assert (asked["repository"], asked["revision"]) == ("owner/name", "abc")
    assert "32x/layers.5/sae.safetensors" in asked["allow_patterns"]
    assert all(pattern.startswith("32x/layers.5/") and "*" not in pattern for pattern in asked["allow_patterns"])
