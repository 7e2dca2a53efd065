"""Wide dictionaries are mapped and not copied, only the named layer is downloaded from the hub, and odd files are read or refused."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.sae.comparison import refused
from torch import Tensor

from sae.errors import DictionaryError
from sae.formats import readers
from sae.formats.load import load_dictionary

proc = pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="asks Linux which memory belongs to a file")


def lies_in(tensor: Tensor, file: Path) -> bool:
    """Whether the tensor's memory is that of the mapped file, and no copy."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(file)):
            start, end = (int(bound, 16) for bound in line.split()[0].split("-"))
            if start <= tensor.data_ptr() < end:
                return True
    return False


def empty_safetensors(file: Path, **shapes: tuple[int, ...]) -> Path:
    """A float32 file of zeros that takes no room on the disk."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * torch.Size(shape).numel()
        header[name.replace("__", ".")] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)
    return file


def sparsify(folder: Path, d_sae: int = 64, d_in: int = 16) -> Path:
    shapes = {"encoder__weight": (d_sae, d_in), "encoder__bias": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    file = empty_safetensors(folder / "layers.5" / "sae.safetensors", **shapes)
    (file.parent / "cfg.json").write_text(json.dumps({"d_in": d_in, "k": 8}))
    return file


def circuit_tracer(folder: Path) -> Path:
    (folder / "config.yaml").write_text("model_kind: transcoder_set\nfeature_input_hook: mlp.hook_in\n")
    shapes = {"W_enc": (64, 16), "W_dec": (64, 16), "b_enc": (64,), "b_dec": (16,)}
    return empty_safetensors(folder / "layer_3.safetensors", **shapes)


def llamascopium(folder: Path) -> Path:
    hook = "blocks.2.hook_resid_post"
    config = {"hook_point_in": hook, "hook_point_out": hook, "act_fn": "jumprelu", "norm_activation": "inference"}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"W_E": (16, 64), "W_D": (64, 16), "b_E": (64,), "b_D": (16,), "log_jumprelu_threshold": (64,)}
    return empty_safetensors(folder / "sae_weights.safetensors", **shapes)


def goodfire(folder: Path) -> Path:
    file = folder / "math" / "DeepSeek-R1-SAE-l37.pt"
    file.parent.mkdir()
    torch.save({"W": torch.zeros(16, 256), "b_enc": torch.zeros(256), "b_dec": torch.zeros(16)}, file)
    return file


@proc
@pytest.mark.parametrize("write", [sparsify, circuit_tracer, llamascopium, goodfire])
def test_matrices_are_views_of_their_file(tmp_path: Path, write: Any) -> None:
    file = write(tmp_path)
    d = load_dictionary(str(file))
    assert lies_in(d.W_enc, file)
    assert lies_in(d.W_dec, file)
    assert not lies_in(d.feature_rows(torch.tensor([1, 5])).W_enc, file)


@proc
def test_a_cross_layer_decoder_is_a_view_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model_kind: cross_layer_transcoder\nfeature_input_hook: hook_resid_mid\n")
    other = empty_safetensors(tmp_path / "W_dec_3.safetensors", W_dec_3=(64, 4, 16))
    file = empty_safetensors(tmp_path / "W_enc_3.safetensors", W_enc_3=(64, 16), b_enc_3=(64,), b_dec_3=(16,))
    d = load_dictionary(str(file))
    assert lies_in(d.W_enc, file)
    assert lies_in(d.W_dec, other)


MEASURE = """
import sys, threading
from pathlib import Path
import torch
from sae.errors import DictionaryError
from sae.formats import readers
from sae.formats.load import load_dictionary

def private():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) >> 10

def look():
    while not done.wait(0.002):
        seen.append(private())

load_dictionary(sys.argv[1]).feature_rows(torch.tensor([1, 2]))
done, seen, before = threading.Event(), [], private()
watch = threading.Thread(target=look)
watch.start()
rows = load_dictionary(sys.argv[2]).feature_rows(torch.tensor([1, 60000, 12]))
if sys.argv[3] == "copy":
    rows = load_dictionary(sys.argv[2]).W_enc.clone()
done.set()
watch.join()
print(max(seen) - before)
"""


@proc
@pytest.mark.parametrize("how", ["take", "copy"])
def test_loading_a_wide_file_and_taking_a_few_features_needs_less_memory_than_one_matrix(
    tmp_path: Path, how: str
) -> None:
    """Memory that belongs to no file, at its highest. A copy of a matrix shows in it."""
    small, wide = sparsify(tmp_path / "small").parent, sparsify(tmp_path / "wide", 1 << 16, 1024).parent
    matrix = 4 * (1 << 16) * 1024 >> 20
    # A fixed threshold: freed memory goes back at once, and is not counted.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), str(wide), how], env=env, capture_output=True, text=True, check=True
    )
    assert (int(ran.stdout) < 0.75 * matrix) == (how == "take"), ran.stdout


@pytest.mark.parametrize(
    ("path", "beside"),
    [
        ("mntss/clt-gemma-2-2b/W_enc_12.safetensors", ["config.yaml", "W_enc_12.safetensors", "W_dec_12.safetensors"]),
        ("mwhanna/qwen3-4b-transcoders/low/layer_7.safetensors", ["low/config.yaml", "low/layer_7.safetensors"]),
        ("Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_50/layer31.sae.pt", ["layer31.sae.pt"]),
        ("Goodfire/Llama-3.3-70B-Instruct-SAE-l50", ["Llama-3.3-70B-Instruct-SAE-l50.pt"]),
    ],
)
def test_only_the_named_layer_is_downloaded_from_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str, beside: list[str]
) -> None:
    asked: list[str] = []

    def download(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.extend(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    refused(path, "")
    assert set(beside) <= set(asked)
    assert not [pattern for pattern in asked if "*" in pattern or "{" in pattern]


def test_one_layer_of_many_is_read_from_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shapes = {
        "W_enc": torch.ones(8, 4),
        "W_dec": torch.ones(8, 4).clone(),
        "b_enc": torch.ones(8),
        "b_dec": torch.ones(4),
    }
    save_file(shapes, tmp_path / "layer_7.safetensors")
    (tmp_path / "config.yaml").write_text("model_kind: transcoder_set\nfeature_input_hook: mlp.hook_in\n")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **kwargs: str(tmp_path))
    d = load_dictionary("mwhanna/qwen3-4b-transcoders/layer_7.safetensors")
    assert (d.hook_point, d.path) == ("mlp_in.7", "mwhanna/qwen3-4b-transcoders/layer_7.safetensors")


# Sizes


def test_an_npz_that_inflates_beyond_trained_weights_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "params.npz"
    np.savez_compressed(file, W_enc=np.zeros((2048, 4096), np.float32), unknown=np.zeros(9, np.int64))
    with pytest.raises(DictionaryError, match="inflates from"):
        readers.read_npz(file, ("W_enc",))
    np.savez_compressed(file, w_ENC=np.ones((2, 3), np.float32), unknown=np.zeros(9, np.int64))
    assert list(readers.read_npz(file, ("W_enc",))) == ["w_ENC"]


def test_a_tensor_that_declares_more_than_it_stores_is_refused(tmp_path: Path) -> None:
    torch.save({"W": torch.zeros(1).expand(1 << 40)}, tmp_path / "ae.pt")
    with pytest.raises(DictionaryError, match="declares the shape"):
        readers.real_tensors(readers.read_torch(tmp_path / "ae.pt"), tmp_path / "ae.pt")


@pytest.mark.parametrize("name", ["cfg.json", "config.yaml"])
def test_a_config_has_a_largest_size(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(readers.MOST_CONFIG_BYTES + 1)
    with pytest.raises(DictionaryError, match="at most"):
        readers.read_config(tmp_path / name)


# Weights as their owners have them


WEIGHTS = {"encoder.weight": torch.randn(4, 3), "k": torch.tensor(2)}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def packed(file: Path, content: object, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A file of torch.save, packed anew with compression."""
    torch.save(content, file)
    with zipfile.ZipFile(file) as plain:
        members = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def test_a_compressed_file_of_torch_save_is_unpacked_and_not_mapped(tmp_path: Path) -> None:
    content = readers.read_torch(packed(tmp_path / "ae.pt", WEIGHTS))
    assert torch.equal(content["encoder.weight"], WEIGHTS["encoder.weight"])


def test_a_compressed_file_of_torch_save_beyond_trained_weights_is_refused_before_it_is_unpacked(
    tmp_path: Path,
) -> None:
    packed(tmp_path / "ae.pt", {"W": torch.zeros(1 << 23)})
    with pytest.raises(DictionaryError, match=r"/ae\.pt: ae/data/0 inflates from"):
        readers.read_torch(tmp_path / "ae.pt")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_the_prefix_of_a_wrapped_module_is_removed(tmp_path: Path, prefix: str, kind: str) -> None:
    tensors = {prefix + name: tensor.float() for name, tensor in WEIGHTS.items()}
    file = tmp_path / f"ae.{kind}"
    torch.save(tensors, file) if kind == "pt" else save_file(tensors, file)
    read = readers.read_torch(file) if kind == "pt" else readers.read_safetensors(file)
    assert sorted(read) == sorted(WEIGHTS)


def write_lfs_config(folder: Path) -> None:
    (folder / "cfg.json").write_text(POINTER)
    save_file({"W_enc": torch.zeros(2)}, folder / "sae_weights.safetensors")


def write_split(folder: Path) -> None:
    (folder / "cfg.json").write_text("{}")
    for part in (1, 2):
        save_file({f"W{part}": torch.zeros(2)}, folder / f"sae_weights-0000{part}-of-00002.safetensors")
    (folder / "sae_weights.safetensors.index.json").write_text("{}")


def write_fp8(folder: Path) -> None:
    (folder / "cfg.json").write_text('{"hook_name": "blocks.0.hook_resid_post"}')
    save_file({"W_enc": torch.zeros(2, 2).to(torch.float8_e4m3fn)}, folder / "sae_weights.safetensors")


@pytest.mark.parametrize(
    ("write", "messages"),
    [
        (lambda folder: torch.save({"model_state_dict": WEIGHTS, "step": 3}, folder / "ae.pt"),
         ("a checkpoint of a whole training (model_state_dict, step): save its 'model_state_dict' alone",)),
        (lambda folder: torch.save({"sae": WEIGHTS, "opt": {}}, folder / "last.pt"), ("save its 'sae' alone",)),
        (lambda folder: (folder / "ae.pt").write_bytes(gzip.compress(b"weights")), ("ae.pt is compressed (.gz): unpack it",)),
        (lambda folder: (folder / "ae.pt").write_text(POINTER), ("ae.pt is a pointer of Git LFS", "git lfs pull")),
        (write_lfs_config, ("cfg.json is a pointer of Git LFS", "git lfs pull")),
        (write_split, ("weights in several files, such as sae_weights-00001-of-00002.safetensors: join them into one",)),
        (write_fp8, ("W_enc holds float8_e4m3fn, whose scales no format states",)),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_used_are_refused_with_the_remedy(
    tmp_path: Path, write: Callable[[Path], object], messages: tuple[str, ...]
) -> None:
    write(tmp_path)
    refused(tmp_path, *messages)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"ae.pt is the last one", "is no file of weights"),
        ("ae.pt.gz", gzip.compress(b"x", mtime=0), "is compressed (.gz): unpack it"),
        ("ae.zip", b"PK\x03\x04", "is no file of weights"),
        ("ae.bin", b"PK\x03\x04", "is a pickle"),
    ],
)
def test_a_named_file_of_another_kind_does_not_stand_for_its_folder(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    sparsify(tmp_path)
    (tmp_path / "layers.5" / name).write_bytes(content)
    refused(tmp_path / "layers.5" / name, message)
    assert load_dictionary(str(tmp_path / "layers.5" / "cfg.json")).format == "sparsify"
