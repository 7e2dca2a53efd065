"""Subjects that are LoRA adapters are merged into their base; quantised ones are refused where they cannot be computed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.packages import needed
from support.sae.tiny_models import LLAMA, TOKENS, hf, tiny_model, tiny_tokenizer

from sae.errors import SubjectError
from sae.subject.model import load_subject, outline_subject


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    tiny_model(hf.LlamaConfig(**LLAMA)).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


def described(folder: Path, config: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def refusal(folder: Path | str, **options: Any) -> str:
    with pytest.raises(SubjectError) as refused:
        load_subject(str(folder), **{"device": "cpu", **options})
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> tuple[Path, Any]:
    """An adapter with random weights, and its model as peft runs it."""
    peft = needed("peft")
    torch.manual_seed(0)
    model = tiny_model(hf.LlamaConfig(**LLAMA))
    wrapped = peft.get_peft_model(
        model, peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    )
    wrapped.peft_config["default"].base_model_name_or_path = str(base)
    wrapped.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora", wrapped


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_is_merged_into_its_base(adapter: tuple[Path, Any], base: Path) -> None:
    folder, wrapped = adapter
    subject = load_subject(str(folder), precision="float32", device="cpu")
    with torch.no_grad():
        expected = wrapped(TOKENS).logits
        plain = load_subject(str(base), precision="float32", device="cpu").model(TOKENS).logits
        found = subject.model(TOKENS).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-3)
    assert not [name for name, _ in subject.model.named_modules() if "lora" in name]
    assert subject.name == "lora"
    assert subject.run(TOKENS, ["mlp_act.1"])["mlp_act.1"].isfinite().all()


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_is_another_subject_than_its_base(adapter: tuple[Path, Any], base: Path) -> None:
    folder, _ = adapter
    first = load_subject(str(folder), precision="float32", device="cpu").fingerprint
    assert first != load_subject(str(base), precision="float32", device="cpu").fingerprint
    assert first == load_subject(str(folder), precision="float32", device="cpu").fingerprint
    assert outline_subject(str(folder)).width("resid_post.1") == outline_subject(str(base)).width("resid_post.1")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 99}))
    assert load_subject(str(folder), precision="float32", device="cpu").fingerprint != first


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_of_another_model_is_refused_in_one_line(adapter: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = adapter
    other = tmp_path / "other"
    tiny_model(hf.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=64)).save_pretrained(other)
    tiny_tokenizer().save_pretrained(other)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(other)}))
    assert "the adapter cannot be merged into" in refusal(folder, precision="float32")


def test_without_peft_an_adapter_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    folder = described(tmp_path / "lora", {"base_model_name_or_path": "owner/base", "peft_type": "LORA"})
    assert refusal(folder) == (
        "subject lora is an adapter (LoRA) of owner/base, and peft is not installed: `pip install peft` to have the two merged when"
        " they are loaded"
    )
    assert "does not name: set base_model_name_or_path" in refusal(described(tmp_path / "nameless", []))


def test_an_adapter_on_the_hub_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, commit = tmp_path / "models--owner--lora", "0" * 40
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "peft", None)
    assert "subject owner/lora is an adapter (LoRA) of owner/base" in refusal("owner/lora")


def test_a_model_quantised_for_bitsandbytes_is_refused_without_a_gpu(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    quantised = config | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (base / "config.json").write_text(json.dumps(quantised))
    assert "is quantised for bitsandbytes, which needs a CUDA GPU, and not cpu" in refusal(base)
    assert outline_subject(str(base)).width("resid_post.1") > 0
