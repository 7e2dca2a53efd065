"""Subjects: hook points of tiny random models of each family, loading from folders and GGUF, and what is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from support.sae.tiny_models import (
    LAYERS,
    LLAMA,
    MLP,
    TOKENS,
    VOCAB,
    D,
    hf,
    refused,
    tiny_model,
    tiny_tokenizer,
    write_gguf,
)

from sae.errors import SubjectError
from sae.subject import gguf, hook_modules
from sae.subject.hook_points import KINDS
from sae.subject.model import Subject, choose_device, choose_precision, load_subject, outline_subject

GPT2 = {"n_embd": D, "n_layer": LAYERS, "n_head": 2, "n_inner": MLP, "vocab_size": VOCAB, "n_positions": 32, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
GEMMA = {**LLAMA, "head_dim": 8}
MOE = {**LLAMA, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
DENSE: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaConfig(**LLAMA),
    "mistral": lambda: hf.MistralConfig(**LLAMA),
    "qwen2": lambda: hf.Qwen2Config(**LLAMA),
    "qwen3": lambda: hf.Qwen3Config(**GEMMA),
    "gemma2": lambda: hf.Gemma2Config(**GEMMA),
    "gemma3": lambda: hf.Gemma3TextConfig(**GEMMA),
    "gpt2": lambda: hf.GPT2Config(**GPT2),
    "gptneox": lambda: hf.GPTNeoXConfig(**LLAMA),
    "opt": lambda: hf.OPTConfig(**LLAMA, ffn_dim=MLP, word_embed_proj_dim=D),
    "phi": lambda: hf.PhiConfig(**LLAMA),
    "gptj": lambda: hf.GPTJConfig(**{**GPT2, "n_inner": MLP}, rotary_dim=4),
    "falcon": lambda: hf.FalconConfig(**LLAMA, ffn_hidden_size=MLP),
    "bloom": lambda: hf.BloomConfig(hidden_size=D, n_layer=LAYERS, n_head=2, vocab_size=VOCAB),
}
EXPERTS: dict[str, Callable[[], Any]] = {
    "mixtral": lambda: hf.MixtralConfig(**MOE),
    "qwen3moe": lambda: hf.Qwen3MoeConfig(**MOE, head_dim=8),
    "gptoss": lambda: hf.GptOssConfig(**MOE, head_dim=8),
}


def tiny_subject(config: Any, **options: Any) -> Subject:
    return Subject(tiny_model(config), tiny_tokenizer(), name="tiny", fingerprint="0", **options)


def project(module: Any, x: torch.Tensor) -> torch.Tensor:
    """The down projection, from its parameters."""
    weight = module.weight.T if type(module).__name__ == "Conv1D" else module.weight
    bias = getattr(module, "bias", None)
    y = torch.einsum("btn,dn->btd", x, weight)
    return y if bias is None else y + bias


@pytest.mark.parametrize("family", DENSE)
@torch.no_grad()
def test_hook_points_of_dense_families(family: str) -> None:
    subject = tiny_subject(DENSE[family]())
    mlp = 4 * D if family == "bloom" else MLP
    assert (subject.d_model, subject.n_layers) == (D, LAYERS)
    assert (subject.width("resid_post.1"), subject.width("mlp_act.1")) == (D, mlp)
    projections: list[torch.Tensor] = []
    ran: list[int] = []
    for layer, block in enumerate(subject.blocks):
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
    down = hook_modules.down_projection(subject.blocks[1], "mlp_act.1")
    down.register_forward_hook(lambda _m, _a, out: projections.append(out.clone()))

    values = subject.run(TOKENS, ["resid_post.1", "mlp_act.1", "resid_post.0"])
    assert ran == [0, 1], "later layers must not run"
    hidden = subject.model(TOKENS, output_hidden_states=True, use_cache=False).hidden_states
    assert torch.equal(values["resid_post.1"], hidden[2])
    assert torch.equal(values["resid_post.0"], hidden[1])
    assert values["mlp_act.1"].shape == (2, 10, mlp)
    torch.testing.assert_close(
        project(down, values["mlp_act.1"]), projections[0].reshape(2, 10, D), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("family", EXPERTS)
@torch.no_grad()
def test_experts_have_a_residual_stream_but_no_neurons(family: str) -> None:
    subject = tiny_subject(EXPERTS[family]())
    hidden = subject.model(TOKENS, output_hidden_states=True, use_cache=False).hidden_states
    assert torch.equal(subject.run(TOKENS, ["resid_post.2"])["resid_post.2"], hidden[3])
    for ask in (lambda: subject.width("mlp_act.2"), lambda: subject.run(TOKENS, ["mlp_act.2"])):
        refused(ask, "mlp_act.2", "mixture of experts", "dense model")


def test_reading_neurons_alone_stops_within_their_block() -> None:
    subject = tiny_subject(DENSE["llama"]())
    ran: list[str] = []
    subject.blocks[2].register_forward_hook(lambda *_: ran.append("block 2"))
    down = hook_modules.down_projection(subject.blocks[2], "mlp_act.2")
    down.register_forward_hook(lambda *_: ran.append("down projection"))
    subject.run(TOKENS, ["mlp_act.2"])
    assert ran == []


def test_right_padding_and_batching_do_not_change_values() -> None:
    subject = tiny_subject(DENSE["llama"]())
    whole = subject.run(TOKENS, ["resid_post.2"])["resid_post.2"]
    padded = torch.cat([TOKENS[:1, :6], torch.zeros(1, 4, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(subject.run(padded, ["resid_post.2"])["resid_post.2"][:, :6], whole[:1, :6])
    assert subject.run(TOKENS, []) == {}


def test_hooks_are_removed_after_errors_too() -> None:
    subject = tiny_subject(DENSE["llama"]())

    def count() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.model.modules())

    before = count()
    subject.run(TOKENS, ["resid_post.1", "mlp_act.1"])
    assert count() == before
    with pytest.raises(IndexError):
        subject.run(torch.full((1, 3), VOCAB + 5), ["resid_post.1", "mlp_act.1"])
    assert count() == before


@torch.no_grad()
def test_bfloat16_on_cpu_keeps_float32_weights_and_is_close() -> None:
    exact = tiny_subject(DENSE["llama"]()).run(TOKENS, ["resid_post.2", "mlp_act.2"])
    rough_subject = tiny_subject(DENSE["llama"](), precision="bfloat16")
    rough = rough_subject.run(TOKENS, ["resid_post.2", "mlp_act.2"])
    assert next(rough_subject.model.parameters()).dtype == torch.float32
    for name in exact:
        assert rough[name].dtype == torch.float32
        error = (rough[name] - exact[name]).norm() / exact[name].norm()
        assert 0 < error < 0.05


def test_errors_for_missing_layers_and_unknown_names_say_what_exists() -> None:
    subject = tiny_subject(DENSE["gpt2"]())
    refused(lambda: subject.run(TOKENS, ["resid_post.9"]), "resid_post.9", "choose one of 0 to 3")
    refused(lambda: subject.width("mlp_act.4"), "mlp_act.4", "0 to 3")
    refused(lambda: subject.width("mlp_mid.1"), "mlp_mid.1", "resid_post, attn_z", "such as resid_post.12")
    refused(lambda: subject.width("resid_post.-1"), "resid_post.-1")
    assert {subject.neuron_hook_point(f"{kind}.3") for kind in KINDS} == {"mlp_act.3"}


def test_device_and_precision() -> None:
    cpu = torch.device("cpu")
    assert choose_device("cpu") == cpu
    assert choose_precision("float32", cpu) == "float32"
    assert choose_precision("auto", torch.device("mps")) == "float32"
    assert choose_precision("auto", cpu) in ("float32", "bfloat16")
    refused(lambda: choose_precision("float16", cpu), "float16", "bfloat16")
    refused(lambda: choose_device("warp"), "warp", "cuda:1")
    refused(lambda: choose_device("cuda:99"), "cuda:99", "use auto or cpu")


# What a block adds


@given(
    factor=st.sampled_from([1.0, 0.22, -0.5, 3.0]),
    size=st.sampled_from([0.02, 0.5, 20.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 99),
)
def test_the_factor_of_a_sublayer_is_found_and_none_if_something_else_is_added(
    factor: float, size: float, dtype: torch.dtype, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    base, part, other = (torch.randn(1, 8, 64, generator=random).to(dtype) for _ in range(3))
    base[..., 3] *= 1000  # as real models have it
    part, eps = part * size, torch.finfo(dtype).eps
    total = base + (factor * part.float()).to(dtype)
    found = hook_modules.residual_factor(total.float(), base.float(), part.float(), eps)
    assert found == pytest.approx(factor, rel=0.05)
    assert (found == 1) == (factor == 1)
    other = other * max(1.0, size * abs(factor))  # as large as the sublayer, or bfloat16's rounding would hide it
    assert hook_modules.residual_factor((total + other).float(), base.float(), part.float(), eps) is None
    assert hook_modules.residual_factor(base.float(), base.float(), part.float(), eps) is None, "nothing added"


@pytest.mark.parametrize("native", [False, True], ids=["autocast", "weights"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gptj", "mixtral"])
def test_sublayers_are_recognised_in_bfloat16(family: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model((DENSE | EXPERTS)[family]())
    if native:  # as on a GPU
        monkeypatch.setattr(Subject, "_arithmetic", lambda self: nullcontext())
        model = model.to(torch.bfloat16)
    subject = Subject(model, tiny_tokenizer(), name="tiny", fingerprint="0", precision="bfloat16")
    names = ["attn_out.2", "mlp_out.2"] + ["resid_mid.2"] * (family != "gptj")
    assert list(subject.run(TOKENS, names)) == names


@pytest.mark.parametrize("native", [False, True], ids=["autocast", "weights"])
def test_a_factor_is_recognised_in_bfloat16(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(hf.GraniteConfig(**LLAMA, residual_multiplier=0.22))
    if native:
        monkeypatch.setattr(Subject, "_arithmetic", lambda self: nullcontext())
        model = model.to(torch.bfloat16)
    subject = Subject(model, tiny_tokenizer(), name="tiny", fingerprint="0", precision="bfloat16")
    refused(lambda: subject.run(TOKENS, ["mlp_out.2"]), "mlp_out.2", "GraniteDecoderLayer", "multiplied by 0.2")
    assert list(subject.run(TOKENS, ["resid_mid.2"])) == ["resid_mid.2"]


# Losses


@torch.no_grad()
def test_losses_equal_those_of_the_logits() -> None:
    subject = tiny_subject(DENSE["llama"]())
    logits = subject.model(TOKENS).logits
    expected = -torch.log_softmax(logits[:, :-1], -1).gather(-1, TOKENS[:, 1:, None])[..., 0]
    torch.testing.assert_close(subject.losses(TOKENS), expected)


@torch.no_grad()
def test_an_edit_at_the_last_layer_changes_the_loss_as_computed_by_hand() -> None:
    subject = tiny_subject(DENSE["llama"]())
    block, llama = subject.blocks[LAYERS - 1], subject.model
    names = [f"{kind}.{LAYERS - 1}" for kind in ("resid_mid", "mlp_in", "mlp_act", "resid_post")]
    mid, mlp_in, act, _ = subject.run(TOKENS, names).values()

    def after(post: torch.Tensor) -> torch.Tensor:
        logits = llama.lm_head(llama.model.norm(post))
        return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), TOKENS[:, 1:], reduction="none")

    def halved(x: torch.Tensor) -> torch.Tensor:
        return x / 2

    by_hand = {
        "resid_mid": after(mid / 2 + block.mlp(block.post_attention_layernorm(mid / 2))),
        "mlp_in": after(mid + block.mlp(mlp_in / 2)),
        "mlp_act": after(mid + block.mlp.down_proj(act / 2)),
        "mlp_out": after(mid + block.mlp(mlp_in) / 2),
        "resid_post": after((mid + block.mlp(mlp_in)) / 2),
    }
    for kind, expected in by_hand.items():
        torch.testing.assert_close(subject.losses(TOKENS, reads=f"{kind}.{LAYERS - 1}", edit=halved), expected)
    transcoded = subject.losses(
        TOKENS, reads=f"mlp_in.{LAYERS - 1}", writes=f"mlp_out.{LAYERS - 1}", edit=deepcopy(block.mlp)
    )
    torch.testing.assert_close(transcoded, subject.losses(TOKENS))
    skipped = subject.losses(TOKENS, reads="resid_mid.1", writes="mlp_out.1", edit=torch.zeros_like)
    assert not torch.allclose(skipped, subject.losses(TOKENS))
    torch.testing.assert_close(skipped, subject.losses(TOKENS, reads="mlp_out.1", edit=torch.zeros_like))


def test_hook_points_that_cannot_be_edited_are_refused() -> None:
    subject = tiny_subject(DENSE["llama"]())
    refused(lambda: subject.losses(TOKENS, reads="mlp_out.2", writes="mlp_in.2", edit=torch.relu), "swap the two")
    refused(lambda: subject.losses(TOKENS, reads="mlp_out.7", edit=torch.relu), "mlp_out.7", "0 to 3")
    before = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.model.modules())
    assert before == 0


def test_a_checkpoint_without_an_output_head_can_be_read_but_has_no_loss(folder: Path) -> None:
    edit_config(folder, tie_word_embeddings=False)
    weights = tiny_model(DENSE["llama"]()).state_dict()
    save_file(
        {name: tensor for name, tensor in weights.items() if name != "lm_head.weight"}, folder / "model.safetensors"
    )
    subject = load_subject(str(folder), device="cpu")
    assert subject.run(TOKENS, ["resid_post.2"])["resid_post.2"].isfinite().all()
    refused(lambda: subject.losses(TOKENS), "tiny-llama", "lm_head.weight", "no loss")


# Loading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-llama"
    tiny_model(DENSE["llama"]()).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


def test_load_a_local_folder(folder: Path) -> None:
    subject = load_subject(str(folder), precision="float32", device="cpu")
    assert (subject.name, subject.precision, str(subject.device)) == ("tiny-llama", "float32", "cpu")
    assert (subject.bos_id, subject.special_ids) == (None, frozenset({0, 1, 2}))
    expected = tiny_subject(DENSE["llama"]()).run(TOKENS, ["resid_post.1"])
    assert torch.equal(subject.run(TOKENS, ["resid_post.1"])["resid_post.1"], expected["resid_post.1"])


@pytest.mark.parametrize("family", [*DENSE, *EXPERTS])
def test_an_outline_is_the_subject_without_its_weights(family: str, tmp_path: Path) -> None:
    tiny_model((DENSE | EXPERTS)[family]()).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    whole, outline = load_subject(str(tmp_path), device="cpu"), outline_subject(str(tmp_path))
    assert {p.device.type for p in outline.model.parameters()} == {"meta"}
    for name in ("name", "fingerprint", "n_layers", "d_model", "bos_id", "special_ids"):
        assert getattr(outline, name) == getattr(whole, name), name
    points = ["resid_post.1", "resid_post.9"] + ["mlp_act.1"] * (family in DENSE)
    assert [_width(outline, point) for point in points] == [_width(whole, point) for point in points]


def _width(subject: Subject, hook_point: str) -> int | str:
    try:
        return subject.width(hook_point)
    except SubjectError as error:
        return str(error)


def test_pointers_of_git_lfs_are_named(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(lambda: load_subject(str(folder)), "model.safetensors", "git lfs pull")


@pytest.mark.parametrize(
    ("key", "value", "needle"),
    [
        ("auto_map", {"AutoConfig": "configuration_x.X"}, "never run"),
        ("model_type", "of-next-year", "update transformers"),
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": True}, "quantised"),
    ],
)
def test_errors_of_libraries_have_our_remedy(folder: Path, key: str, value: Any, needle: str) -> None:
    config = json.loads((folder / "config.json").read_text()) | {key: value}
    if key == "auto_map":
        config["model_type"] = "x"
    (folder / "config.json").write_text(json.dumps(config))
    refused(lambda: load_subject(str(folder), device="cpu"), needle)


def test_bos_is_used_if_the_tokenizer_prepends_it_and_always_for_gemma() -> None:
    assert tiny_subject(DENSE["llama"]()).bos_id is None
    assert tiny_subject(DENSE["gemma2"]()).bos_id == 1
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    assert Subject(tiny_model(DENSE["llama"]()), tokenizer, name="tiny", fingerprint="0").bos_id == 1


def test_the_fingerprint_depends_on_weights_and_tokenizer_but_not_on_the_path(folder: Path) -> None:
    first = load_subject(str(folder), device="cpu").fingerprint
    moved = folder.rename(folder.parent / "elsewhere")
    assert load_subject(str(moved), device="cpu").fingerprint == first
    tokenizer = json.loads((moved / "tokenizer.json").read_text())
    tokenizer["model"]["unk_token"] = "w1"
    (moved / "tokenizer.json").write_text(json.dumps(tokenizer))
    second = load_subject(str(moved), device="cpu").fingerprint
    torch.manual_seed(5)
    hf.LlamaForCausalLM(DENSE["llama"]()).save_pretrained(moved)
    assert len({first, second, load_subject(str(moved), device="cpu").fingerprint}) == 3


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


BREAK: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda p: (p / "config.json").unlink(), "no config.json"),
    "config not json": (lambda p: (p / "config.json").write_text("{"), "configuration cannot be read"),
    "unknown family": (lambda p: edit_config(p, model_type="warp"), "configuration cannot be read"),
    "not causal": (lambda p: edit_config(p, model_type="t5"), "not a causal language model"),
    "bidirectional": (lambda p: edit_config(p, model_type="bert"), "not a causal language model"),
    "no tokenizer": (lambda p: (p / "tokenizer.json").unlink(), "no tokenizer"),
    "broken tokenizer": (lambda p: (p / "tokenizer.json").write_text("{}"), "tokenizer cannot be read"),
    "no weights": (lambda p: (p / "model.safetensors").unlink(), "no weights"),
    "truncated weights": (lambda p: (p / "model.safetensors").write_bytes((p / "model.safetensors").read_bytes()[:-50]), "weights cannot be read"),
    "too few tensors": (lambda p: edit_config(p, num_hidden_layers=5), "lacks 9 of its tensors"),
    "wrong shapes": (lambda p: edit_config(p, intermediate_size=44), "weights cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", BREAK)
def test_broken_folders_are_refused_in_one_line(folder: Path, case: str) -> None:
    breaks, message = BREAK[case]
    breaks(folder)
    refused(lambda: load_subject(str(folder), device="cpu"), message, folder.name)


def test_remote_code_is_not_run(folder: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    edit_config(folder, model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"})
    refused(lambda: load_subject(str(folder), device="cpu"), "tiny-llama")
    assert not (folder / "ran").exists()


class Payload:
    """Unpickling it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_pickled_code_in_the_weights_never_runs(folder: Path, name: str) -> None:
    mark = folder / "ran"
    (folder / "model.safetensors").unlink()
    for save in (lambda f: torch.save({"x": Payload(mark)}, f), lambda f: f.write_bytes(pickle.dumps(Payload(mark)))):
        save(folder / name)
        refused(lambda: load_subject(str(folder), device="cpu"), "tiny-llama", "weights")
        assert not mark.exists()
    pickle.loads((folder / name).read_bytes())
    assert mark.exists(), "the payload must work, or the test shows nothing"


def test_plain_torch_weights_load(folder: Path) -> None:
    expected = load_subject(str(folder), device="cpu", precision="float32").run(TOKENS, ["resid_post.1"])
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model(DENSE["llama"]()).state_dict(), folder / "pytorch_model.bin")
    again = load_subject(str(folder), device="cpu", precision="float32").run(TOKENS, ["resid_post.1"])
    assert torch.equal(again["resid_post.1"], expected["resid_post.1"])


def test_missing_subjects_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(lambda: load_subject(str(tmp_path / "none")), "does not exist", "hub id")
    refused(lambda: load_subject("x" * 5000), "cannot be read: File name too long: check the path")
    refused(lambda: load_subject("nowhere.gguf"), "nowhere.gguf", "does not exist")
    (tmp_path / "notes.txt").write_text("x")
    refused(lambda: load_subject(str(tmp_path / "notes.txt")), "is a file")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(lambda: load_subject("owner/none-such", device="cpu"), "owner/none-such", "hub cannot be reached")


# GGUF


@torch.no_grad()
def test_gguf_is_converted_once_and_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "tiny.gguf"
    model = write_gguf(file)

    def killed(_file: Path, partial: Path) -> None:
        (partial / "config.json").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gguf, "_convert", killed)
        with pytest.raises(KeyboardInterrupt):
            load_subject(str(file), device="cpu")
    assert list((tmp_path / "cache" / "subjects").iterdir()) == []

    first = load_subject(str(file), device="cpu", precision="float32")
    assert first.name == "tiny"
    assert first.special_ids >= {1, 2}
    hidden = model(TOKENS, output_hidden_states=True, use_cache=False).hidden_states
    torch.testing.assert_close(first.run(TOKENS, ["resid_post.1"])["resid_post.1"], hidden[2], rtol=1e-4, atol=1e-6)

    monkeypatch.setattr(gguf, "_convert", killed)
    copy = tmp_path / "renamed.gguf"
    copy.write_bytes(file.read_bytes())
    assert load_subject(str(copy), device="cpu").fingerprint == first.fingerprint


def test_broken_gguf_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"PK\x03\x04 not a model")
    refused(lambda: load_subject(str(file)), "tiny.gguf", "not a GGUF file")
    write_gguf(file)
    whole = file.read_bytes()
    for length in (8, 400, len(whole) // 2):
        file.write_bytes(whole[:length])
        refused(lambda: load_subject(str(file)), "tiny.gguf", "cannot be read as GGUF")
    assert list((tmp_path / "cache" / "subjects").iterdir()) == []


def test_native_bfloat16_is_read_from_the_cpu_s_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, expected in (
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({"avx2": True}, "float32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags)
        assert choose_precision("auto", torch.device("cpu")) == expected
