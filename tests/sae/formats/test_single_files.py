"""Formats with one file of tensors, whose name states the rest: each published formula written out, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.sae.comparison import close, refused, sparse
from torch import Tensor

from sae.errors import DictionaryError
from sae.formats import load as formats
from sae.formats.load import load_dictionary

D_IN, D_SAE, K = 12, 48, 6


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = normal(17, D_IN, seed=9) * 2 + 0.4
ENC, DEC, B_ENC, B_DEC = (
    normal(D_SAE, D_IN, seed=0),
    normal(D_IN, D_SAE, seed=1),
    normal(D_SAE, seed=2),
    normal(D_IN, seed=3),
)
OPENAI = {"pre_bias": B_DEC, "latent_bias": B_ENC, "encoder.weight": ENC, "decoder.weight": DEC}
STATS = {"stats_last_nonzero": torch.zeros(D_SAE, dtype=torch.long)}
TOPK = {"activation": "TopK", "activation_state_dict": {"k": K, "postact_fn": "ReLU"}}
LLAMA = {
    "encoder_linear.weight": ENC,
    "encoder_linear.bias": B_ENC,
    "decoder_linear.weight": DEC,
    "decoder_linear.bias": B_DEC,
}
R1 = {"W": DEC, "b_enc": B_ENC, "b_dec": B_DEC}
DISTILL = {"encoder.weight": ENC, "encoder.bias": B_ENC, "decoder.weight": DEC, "decoder.bias": B_DEC}
QWEN = {"W_enc": ENC, "W_dec": DEC, "b_enc": B_ENC, "b_dec": B_DEC}


def largest(z: Tensor, k: int) -> Tensor:
    return z.relu() * (z >= z.sort(dim=-1, descending=True).values[..., k - 1 : k])


def write(file: Path, held: dict[str, object]) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(held, file)
    return str(file)


# OpenAI


def test_openai_relu(tmp_path: Path) -> None:
    path = write(tmp_path / "resid_delta_mlp" / "autoencoders" / "8.pt", {**OPENAI, **STATS, "activation": "ReLU"})
    d = load_dictionary(path)
    f = sparse(((X - B_DEC) @ ENC.T + B_ENC).relu())
    close(d.encode(X), f)
    close(d.decode(f), f @ DEC.T + B_DEC)
    assert (d.hook_point, d.format, d.input_norm) == ("mlp_out.8", "openai", "none")


def test_openai_topk_normalises_each_token(tmp_path: Path) -> None:
    d = load_dictionary(write(tmp_path / "gpt2-small/resid_post_mlp_v5_32k/autoencoders/8.pt", {**OPENAI, **TOPK}))
    centred = X - X.mean(dim=-1, keepdim=True)
    deviation = centred.std(dim=-1, keepdim=True)
    f = sparse(largest((centred / (deviation + 1e-5) - B_DEC) @ ENC.T + B_ENC, K))
    close(d.encode(X), f)
    close(d.decode(f, X), (f @ DEC.T + B_DEC) * deviation + X.mean(dim=-1, keepdim=True))
    assert (d.hook_point, d.k) == ("resid_post.8", K)


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("mlp_post_act", "mlp_act"),
        ("resid_delta_attn_v5_128k", "attn_out"),
        ("resid_delta_mlp_v5_32k", "mlp_out"),
        ("resid_post_attn_v5_32k", "resid_mid"),
        ("resid_post_mlp_v4", "resid_post"),
    ],
)
def test_openai_folders_state_the_hook_point(tmp_path: Path, location: str, kind: str) -> None:
    assert load_dictionary(write(tmp_path / location / "autoencoders" / "11.pt", OPENAI)).hook_point == f"{kind}.11"


def test_openai_tied_decoder(tmp_path: Path) -> None:
    held = {**OPENAI, "decoder.linear.weight": ENC}
    del held["decoder.weight"]
    close(load_dictionary(write(tmp_path / "resid_post_mlp" / "3.pt", held)).W_dec, ENC)


def test_openai_refusals(tmp_path: Path) -> None:
    path = write(tmp_path / "8.pt", OPENAI)
    refused(path, "8.pt does not say which hook point it reads", "set dictionary.hook_point")
    assert load_dictionary(path, hook_point="mlp_act.8").hook_point == "mlp_act.8"
    refused(write(tmp_path / "8.pt", {**OPENAI, "activation": "Softplus"}), "activation 'Softplus' is not supported")
    state = {"k": K, "postact_fn": "Identity"}
    odd = write(tmp_path / "8.pt", {**OPENAI, "activation": "TopK", "activation_state_dict": state})
    refused(odd, "postact_fn 'Identity'", hook_point="mlp_act.8")
    refused(write(tmp_path / "8.pt", {**OPENAI, "activation": "TopK"}), "TopK with k = None", hook_point="mlp_act.8")
    lacking = {name: held for name, held in OPENAI.items() if name != "decoder.weight"}
    refused(write(tmp_path / "8.pt", lacking), "lacks the tensor decoder.weight", hook_point="mlp_act.8")


# Goodfire and qresearch


def linear_relu(path: str) -> tuple[Tensor, Tensor]:
    f = sparse((X @ ENC.T + B_ENC).relu())
    d = load_dictionary(path)
    close(d.encode(X), f)
    close(d.decode(f), f @ DEC.T + B_DEC)
    return f, d.activations(X)


@pytest.mark.parametrize(
    ("name", "held", "format", "layer"),
    [
        ("Llama-3.1-8B-Instruct-SAE-l19.pth", LLAMA, "goodfire", 19),
        ("Llama-3.3-70B-Instruct-SAE-l50.pt", LLAMA, "goodfire", 50),
        ("DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt", DISTILL, "r1_distill", 19),
    ],
)
def test_goodfire_and_qresearch(tmp_path: Path, name: str, held: dict[str, object], format: str, layer: int) -> None:
    f, activations = linear_relu(write(tmp_path / name, held))
    close(activations, f * DEC.norm(dim=0))
    d = load_dictionary(str(tmp_path))
    assert (d.format, d.hook_point, d.apply_b_dec_to_input) == (format, f"resid_post.{layer}", False)
    (tmp_path / name).rename(tmp_path / "mine.pt")
    refused(tmp_path / "mine.pt", "does not say which hook point it reads")
    assert load_dictionary(str(tmp_path / "mine.pt"), hook_point="resid_post.2").format == format


@pytest.mark.parametrize(("folder", "k"), [("math", 128), ("logic", 64)])
def test_goodfire_r1_is_tied_and_read_as_topk_of_each_token(tmp_path: Path, folder: str, k: int) -> None:
    W, b_enc = normal(D_IN, 4 * k, seed=5), normal(4 * k, seed=6)
    path = write(tmp_path / folder / "DeepSeek-R1-SAE-l37.pt", {"W": W, "b_enc": b_enc, "b_dec": B_DEC})
    d = load_dictionary(path)
    f = sparse(largest(X @ W + b_enc, k))
    close(d.encode(X), f)
    close(d.decode(f), f @ W.T + B_DEC)
    assert (d.k, d.hook_point, d.architecture) == (k, "resid_post.37", "batchtopk")
    assert f"TopK of each token with k = {k}, not of a batch" in d.notes[0]


def test_goodfire_r1_under_another_name_needs_k(tmp_path: Path) -> None:
    path = write(tmp_path / "DeepSeek-R1-SAE-l37.pt", R1)
    refused(path, "does not say k", "set dictionary.k (128 for math, 64 for logic)")
    close(load_dictionary(path, k=K).encode(X), largest(X @ DEC + B_ENC, K))


# Qwen-Scope


def test_qwen_scope(tmp_path: Path) -> None:
    path = write(tmp_path / "SAE-Res-Qwen3-8B-Base-W64K-L0_6" / "layer3.sae.pt", QWEN)
    d = load_dictionary(path)
    f = sparse(largest(X @ ENC.T + B_ENC, 6))
    close(d.encode(X), f)
    close(d.decode(f), f @ DEC.T + B_DEC)
    assert (d.k, d.hook_point, d.format) == (6, "resid_post.3", "qwen_scope")
    assert load_dictionary(path, k=9).k == 9


def test_qwen_scope_needs_k_and_the_layer(tmp_path: Path) -> None:
    path = write(tmp_path / "layer3.sae.pt", QWEN)
    refused(path, "does not say k", "set dictionary.k")
    write(tmp_path / "layer4.sae.pt", QWEN)
    refused(tmp_path, "holds 2 such files", "layer3.sae.pt", k=K)


# What all of them refuse

CASES: dict[str, tuple[str, dict[str, Tensor]]] = {
    "openai": ("resid_post_mlp/8.pt", OPENAI),
    "goodfire": ("Llama-3.1-8B-Instruct-SAE-l19.pth", LLAMA),
    "goodfire r1": ("math/DeepSeek-R1-SAE-l37.pt", R1),
    "r1_distill": ("DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt", DISTILL),
    "qwen_scope": ("layer3.sae.pt", QWEN),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_the_wrong_size_or_model_is_refused(tmp_path: Path, name: str) -> None:
    file, held = CASES[name]
    first = next(key for key, tensor in held.items() if tensor.ndim == 1)
    path = write(tmp_path / file, {**held, first: held[first][:-1]})
    refused(path, "has shape", "the file is damaged or of another format", k=K)
    nan = {**held, first: torch.full_like(held[first], torch.nan)}
    refused(write(tmp_path / file, nan), "holds NaN or infinite values", k=K)
    with pytest.raises(DictionaryError, match=r"reads 12 dimensions, but \S+ of tiny has 768"):
        load_dictionary(write(tmp_path / file, held), k=K).check_fits(768, "tiny")


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_is_truncated_or_holds_code_is_refused(tmp_path: Path, name: str) -> None:
    file, held = CASES[name]
    path = Path(write(tmp_path / file, held))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "is not a complete file of torch.save", "copy or download it again")
    torch.save({**held, "hook": Unsafe(tmp_path)}, path)
    refused(path, "pickled code is never run")
    assert not (tmp_path / "ran").exists()


class Unsafe:
    """An object whose unpickling leaves a mark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return open, (str(self.folder / "ran"), "w")


def test_tensors_of_no_known_format_are_refused(tmp_path: Path) -> None:
    refused(write(tmp_path / "model.pt", {"embed.weight": ENC}), "is not a dictionary of a known format", "openai")


def test_unsupported_formats_are_refused_by_name(tmp_path: Path) -> None:
    for folder, names in {"a": ("cfg.json", "cc_weights.pt"), "b": ("conf.yaml", "latest_ckpt.safetensors")}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(json.dumps({}))
    refused(tmp_path / "a", "is a crosscoder", "several models at once")
    refused(tmp_path / "b", "is a temporal SAE", "earlier tokens")


def test_every_adapter_states_its_publisher_and_how_it_was_checked() -> None:
    for name, adapter in formats.ADAPTERS.items():
        assert adapter.PUBLISHER, name
        assert adapter.CHECKED, name
        assert adapter.FILES, name
