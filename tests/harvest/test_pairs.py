"""Values that are held against each other before anything is spent, row by row of the table in the docs; BOS against a reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.sae.tiny_models import LLAMA, VOCAB, D, hf, tiny_model, tiny_tokenizer

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


@pytest.mark.parametrize(("stated", "setting", "bos"), [(True, "auto", True), (False, "auto", False), (None, "auto", False), (True, False, False), (None, True, True)])  # fmt: skip
def test_activations_have_the_bos_that_the_spec_or_the_files_state(
    stated: bool | None, setting: Any, bos: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    dictionary = saelens(tmp_path / "d", **({} if stated is None else {"prepend_bos": stated}))
    section = Corpus(sources=(text(tmp_path),), context_tokens=16, bos=setting)
    subject = with_bos(subject_of(), section, dictionary)
    corpus = open_corpus(section, subject, quiet)
    tokens, counted = corpus.batch(torch.arange(1).numpy())
    got = dictionary.activations(subject.run(torch.as_tensor(tokens), ["resid_post.1"])["resid_post.1"])[0, counted[0]]
    ids = [1] * bos + subject.tokenizer(" ".join(["w1 w2 w3 w4"] * 10), add_special_tokens=False).input_ids[: 16 - bos]
    with torch.no_grad():
        hidden = subject.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0, int(bos) :]
    torch.testing.assert_close(got, hidden.relu())
    assert subject.bos.statement.startswith("BOS" if bos else "no BOS")
    assert max(ids) < VOCAB
