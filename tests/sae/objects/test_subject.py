"""Models in memory as subjects, and their fingerprints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.sae.tiny_models import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from sae.errors import SubjectError
from sae.objects.remembering import RememberingSubject
from sae.objects.subject import subject_of
from sae.subject.model import load_subject


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=max(64, len(tokenizer)),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    tiny_model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def loaded(folder: Path) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


def test_a_model_that_equals_its_files_is_known_by_them(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    named = subject_of(model, tokenizer, precision="float32")
    assert (named.source, named.subject.name) == (str(folder), folder.name)
    assert named.subject.fingerprint == load_subject(str(folder), precision="float32", device="cpu").fingerprint
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1e-3
    changed = subject_of(model, tokenizer)
    assert changed.source == "object:LlamaForCausalLM"
    assert changed.subject.fingerprint != named.subject.fingerprint
    assert subject_of(model, tokenizer).subject.fingerprint == changed.subject.fingerprint


def test_a_wrapper_is_looked_into_and_its_tokenizer_used(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    dispatched: list[bool] = []
    wrapper = SimpleNamespace(
        _module=model, tokenizer=tokenizer, dispatched=False, dispatch=lambda: dispatched.append(True)
    )
    assert subject_of(wrapper).subject.model is model
    assert dispatched  # nnsight loads weights when it is told to


def test_what_cannot_be_a_subject_is_refused_in_one_line(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    for given, words, said in (
        (torch.nn.Linear(2, 2), tokenizer, "model is a Linear"),
        (SimpleNamespace(hook_dict={}, run_with_hooks=print), tokenizer, "or a TransformerBridge"),
        (model, None, "comes without a tokenizer"),
        (model, 3, "not a int"),
        (model.half(), tokenizer, "is in float16"),
    ):
        with pytest.raises(SubjectError, match=said) as caught:
            subject_of(given, words)
        assert "\n" not in str(caught.value)


def test_a_remembering_subject_reads_tokens_once(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    subject = RememberingSubject(subject_of(model, tokenizer, precision="float32").subject)
    tokens = torch.arange(1, 13).reshape(2, 6)
    first = subject.run(tokens, ["resid_post.0"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    again = subject.run(tokens, ["resid_post.0", "resid_post.1"])
    assert torch.equal(first["resid_post.0"], again["resid_post.0"])
    assert not again["resid_post.1"].any()
