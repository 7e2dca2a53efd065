"""Loading in every file format: missing, damaged and hostile files."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.sae.format_files import (
    B_DEC,
    B_ENC,
    D_IN,
    D_SAE,
    HOOK,
    NAN,
    SPARSIFY,
    W_DEC,
    W_ENC,
    K,
    X,
    largest,
    normal,
    refused,
    same,
    write_npz,
    write_saelens,
    write_sparsify,
)

from sae.formats.load import load_dictionary


@pytest.mark.parametrize("num_latents", [0, D_SAE])
def test_a_sparsify_folder_is_loaded(tmp_path: Path, num_latents: int) -> None:
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
    refused(lambda: load_dictionary(str(folder), hook_point="resid_post.3"), str(folder))
    refused(lambda: load_dictionary(str(folder / name), hook_point="resid_post.3"), name)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload must work, or the test shows nothing"


def test_object_arrays_in_npz_never_run(tmp_path: Path) -> None:
    mark, folder = tmp_path / "ran", tmp_path / "layer_3"
    write_npz(folder, W_enc=np.array([Payload(mark)], dtype=object))
    refused(lambda: load_dictionary(str(folder), hook_point="resid_post.3"), "params.npz", "pickled objects")
    assert not mark.exists()


@pytest.mark.parametrize("write", [write_saelens, write_npz, write_sparsify])
@pytest.mark.parametrize("kept", [0, 5, 200, 0.5, 0.98])
def test_truncated_weights_are_refused(tmp_path: Path, write: Callable[[Path], Path], kept: float) -> None:
    folder = write(tmp_path / "layer_3")
    file = next(p for p in folder.iterdir() if p.name != "cfg.json")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept if kept > 1 or kept == 0 else kept * len(whole))])
    refused(lambda: load_dictionary(str(folder), hook_point="resid_post.3"), file.name)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", '"x"', "\x00\xff", "[" * 100_000])
def test_configs_that_are_not_json_objects_are_refused(tmp_path: Path, text: str) -> None:
    for folder in (write_saelens(tmp_path / "a"), write_sparsify(tmp_path / "layers.3")):
        (folder / "cfg.json").write_bytes(text.encode("latin-1"))
        refused(lambda folder=folder: load_dictionary(str(folder)), "cfg.json", "JSON")  # type: ignore[misc]


def test_missing_dictionaries_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(lambda: load_dictionary("x" * 5000), "cannot be read: File name too long: check the path")
    refused(lambda: load_dictionary(str(tmp_path / "none")), "does not exist")
    refused(lambda: load_dictionary("no-such-name"), "does not exist")
    refused(lambda: load_dictionary(str(tmp_path)), "no dictionary")
    write_sparsify(tmp_path / "layers.5")
    refused(lambda: load_dictionary(str(tmp_path)), "such as layers.5")
    refused(lambda: load_dictionary(str(tmp_path / "layers.5"), format="saelens"), "sae_weights.safetensors")
    refused(lambda: load_dictionary(str(tmp_path / "layers.5"), format="onnx"), "onnx", "sparsify")
    refused(lambda: load_dictionary(str(tmp_path / "layers.5"), hook_point="hook_q.5"), "hook_q.5")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    refused(lambda: load_dictionary("owner/name/layers.5"), "owner/name/layers.5", "hub cannot be reached")


def test_only_the_named_folder_of_a_hub_path_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        ({**SPARSIFY, "encoder.bias": NAN}, {}, "b_enc holds NaN"),
        ({"b_dec": B_DEC}, {}, "lacks the tensor encoder.weight"),
        (None, {"k": 0}, "k = 0"),
        (None, {"d_in": 9}, "cfg.json says 9"),
    ],
)
def test_a_broken_sparsify_folder_is_refused(
    tmp_path: Path, tensors: Any, config: dict[str, int], message: str
) -> None:
    folder = str(write_sparsify(tmp_path / "layers.3", tensors, **config))
    refused(lambda: load_dictionary(folder), message, folder)


def test_a_hub_folder_named_like_a_file_or_with_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def snapshot_download(repository: str, **options: Any) -> str:
        asked.extend(options["allow_patterns"])
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    for name in ("deep/layer_0.pt", "deep/layer_0:v1"):
        write_saelens(tmp_path / name)
        d = load_dictionary(f"owner/name/{name}")
        assert (d.path, d.hook_point) == (f"owner/name/{name}", "resid_post.4")
        assert f"{name}/cfg.json" in asked
