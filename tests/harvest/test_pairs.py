"""Values that are held against each other before anything is spent, row by row of the table in the docs; BOS against a reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.sae.tiny_models import LLAMA, D, hf, tiny_model, tiny_tokenizer

from autointerp.errors import UsageError
from autointerp.harvest.inputs import open_corpus, with_bos
from autointerp.harvest.pairs import PAIRS
from autointerp.progress import quiet
from autointerp.spec import spec
from autointerp.spec.sections import Corpus
from sae.errors import SaeError
from sae.formats.load import load_dictionary
from sae.subject.model import Subject


def subject_of(**changes: Any) -> Subject:
    tokenizer = tiny_tokenizer()
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    return Subject(tiny_model(hf.LlamaConfig(**LLAMA)), tokenizer, name="tiny", fingerprint="pairs")


def text(folder: Path, words: str = "w1 w2 w3 w4") -> str:
    (folder / "text.txt").write_text(" ".join([words] * 10))
    return str(folder / "text.txt")


def saelens(folder: Path, **metadata: Any) -> Any:
    folder.mkdir(exist_ok=True)
    W = torch.eye(D)
    save_file(
        {"W_enc": W, "W_dec": W.clone(), "b_enc": torch.zeros(D), "b_dec": torch.zeros(D)},
        folder / "sae_weights.safetensors",
    )
    facts = {"hook_name": "blocks.1.hook_resid_post", **metadata}
    (folder / "cfg.json").write_text(json.dumps({"architecture": "standard", "metadata": facts}))
    return load_dictionary(str(folder))


def parsed(**tables: Any) -> None:
    spec.parse(
        {
            "subject": {"model": "m"},
            "dictionary": {"path": "d"},
            "corpus": {"sources": ["x"], **tables.pop("corpus", {})},
            **tables,
        }
    )


def opened(folder: Path, words: str, context: int) -> None:
    subject = subject_of()
    subject.tokenizer.add_tokens(["<extra>"])
    open_corpus(Corpus(sources=(text(folder, words),), context_tokens=context), subject, quiet)


FAILURES: tuple[Callable[[Path], Any], ...] = (
    lambda folder: opened(folder, "w1 w2", 33),
    lambda folder: opened(folder, "w1 <extra>", 16),
    lambda folder: subject_of(bos_token=None, eos_token=None).with_bos(None, True),
    lambda folder: saelens(folder / "d").check_fits(D + 1),
    lambda folder: subject_of().width("resid_post.99"),
    lambda folder: parsed(harvest={"window_tokens": 400}),
    lambda folder: parsed(corpus={"context_tokens": 2000, "max_tokens": 1000}),
    lambda folder: parsed(harvest={"skip_positions": 127}),
)


@pytest.mark.parametrize("row", range(len(PAIRS)))
def test_each_pair_of_the_table_is_checked(row: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    assert len(FAILURES) == len(PAIRS)
    with pytest.raises((SaeError, UsageError), match=PAIRS[row].message) as caught:
        FAILURES[row](tmp_path)
    assert "\n" not in str(caught.value)


def of_saelens(folder: Path, stated: bool | None) -> None:
    saelens(folder, prepend_bos=stated)


def of_saelens_before_6(folder: Path, stated: bool | None) -> None:
    saelens(folder)
    (folder / "cfg.json").write_text(json.dumps({"hook_point": "blocks.1.hook_resid_post", "prepend_bos": stated}))


def of_saelens_settings(folder: Path, stated: bool | None) -> None:
    saelens(folder, prepend_bos=None)
    (folder / "runner_cfg.json").write_text(json.dumps({"prepend_bos": stated, "context_size": 16}))


def of_dictionary_learning(folder: Path, stated: bool | None) -> None:
    folder.mkdir()
    eye, zero = torch.eye(D), torch.zeros(D)
    torch.save({"encoder.weight": eye, "encoder.bias": zero, "decoder.weight": eye, "bias": zero}, folder / "ae.pt")
    trainer = {"dict_class": "AutoEncoder", "layer": 1, "submodule_name": "resid_post_layer_1"}
    config = {"trainer": trainer, "buffer": {"add_special_tokens": stated, "ctx_len": 16}}
    (folder / "config.json").write_text(json.dumps(config))


def of_llamascopium(folder: Path, stated: bool | None) -> None:
    folder.mkdir()
    hook, eye = "blocks.1.hook_resid_post", torch.eye(D)
    tensors = {"W_E": eye, "b_E": torch.zeros(D), "W_D": eye.clone(), "b_D": torch.zeros(D)}
    save_file(tensors, folder / "sae_weights.safetensors")
    config = {"hook_point_in": hook, "hook_point_out": hook, "act_fn": "relu", "norm_activation": "inference"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder.parent / "lm_config.json").write_text(json.dumps({"prepend_bos": stated}))


def of_llama_scope(folder: Path, stated: bool | None) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    eye, zero = torch.eye(D), torch.zeros(D)
    tensors = {"encoder.weight": eye, "encoder.bias": zero, "decoder.weight": eye.clone(), "decoder.bias": zero.clone()}
    save_file(tensors, folder / "checkpoints" / "final.safetensors")
    norm = D**0.5  # with which the input is scaled by 1
    config = {"dataset_average_activation_norm": {"in": norm, "out": norm}, "jump_relu_threshold": 1e-9}
    hook = "blocks.1.hook_resid_post"
    (folder / "hyperparams.json").write_text(json.dumps(config | {"hook_point_in": hook, "hook_point_out": hook}))
    (folder / "lm_config.json").write_text(json.dumps({"prepend_bos": stated}))


def first_activations(folder: Path, setting: bool | str, adds_bos: bool) -> tuple[Any, Any, str]:
    """Activations of the first context, those of the model's own forward pass with and without BOS, and what is said of BOS."""
    dictionary = load_dictionary(str(folder))
    section = Corpus(sources=(text(folder.parent),), context_tokens=16, bos=setting)
    subject = with_bos(subject_of(add_bos_token=adds_bos), section, dictionary)
    tokens, counted = open_corpus(section, subject, quiet).batch(torch.arange(1).numpy())
    values = subject.run(torch.as_tensor(tokens), ["resid_post.1"])["resid_post.1"]
    words = subject.tokenizer(" ".join(["w1 w2 w3 w4"] * 10), add_special_tokens=False).input_ids
    expected = []
    for ids in (words[:16], [1, *words[:15]]):
        with torch.no_grad():
            hidden = subject.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0]
        expected.append(hidden[ids[0] == 1 :].relu())
    return dictionary.activations(values)[0, counted[0]], expected, subject.bos.statement


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(
    "write", [of_saelens, of_saelens_before_6, of_saelens_settings, of_dictionary_learning, of_llamascopium, of_llama_scope]
)  # fmt: skip
def test_activations_have_the_bos_that_the_dictionary_s_files_state(
    write: Callable[[Path, bool | None], None], stated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "d", stated)
    # In dictionary_learning, special tokens are those that the tokenizer adds, if any.
    adds_bos = True if write is of_dictionary_learning else not stated
    got, (without, with_it), statement = first_activations(tmp_path / "d", "auto", adds_bos)
    torch.testing.assert_close(got, with_it if stated else without)
    assert statement.startswith("BOS <s>" if stated else "no BOS")
    assert ("as the dictionary's files state" in statement) is (adds_bos is not stated)


@pytest.mark.parametrize(("stated", "setting", "bos"), [(None, "auto", False), (True, False, False), (None, True, True), (False, True, True)])  # fmt: skip
def test_the_spec_s_bos_overrides_the_files_and_without_either_the_tokenizer_decides(
    stated: bool | None, setting: Any, bos: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    of_saelens(tmp_path / "d", stated)
    got, expected, statement = first_activations(tmp_path / "d", setting, False)
    torch.testing.assert_close(got, expected[bos])
    assert statement.startswith("BOS" if bos else "no BOS")
    assert ("although the dictionary's files state" in statement) is (stated not in (None, bos))
