"""The trainer: it finds planted directions, its gradients are those of its loss, and an interruption changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sae.buffer import ActivationStream, MixingBuffer, split
from sae.corpus import CONTEXT, Corpus
from sae.dictionary import load_dictionary
from sae.errors import DictionaryError
from sae.objectives import BatchTopK, Standard
from sae.subject import Subject
from sae.train import CHECKPOINT, TrainConfig, TrainProgress, evaluate, train

D, FEATURES, VOCABULARY, LENGTH = 32, 48, 4000, 32
HOOK = "resid_post.0"


def random_corpus(vocabulary: int, documents: int, length: int = LENGTH) -> Corpus:
    rng = np.random.default_rng(0)
    contexts = np.zeros(documents, dtype=CONTEXT)
    contexts["document"] = np.arange(documents)
    contexts["offset"] = np.arange(documents) * length
    contexts["length"] = length
    tokens = rng.integers(4, vocabulary, documents * length).astype(np.uint32)
    return Corpus(tokens, contexts, documents, len(tokens), "planted", None, 0, frozenset({0}))


class Planted(Subject):
    """A subject whose activations are sparse sums of known directions; position 0 and the id 4 have massive norms."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.directions = torch.nn.functional.normalize(torch.randn(FEATURES, D, generator=generator), dim=1)
        active = torch.rand(VOCABULARY, FEATURES, generator=generator) < 0.06
        strength = 3 + 4 * torch.rand(VOCABULARY, FEATURES, generator=generator)
        self.table = (active * strength) @ self.directions + 0.02 * torch.randn(VOCABULARY, D, generator=generator)
        self.table[4] = 1e4
        self.name, self.fingerprint, self.precision = "planted", "planted", "float32"
        self.device = torch.device("cpu")

    def width(self, hook_point: str) -> int:
        return D

    def run(self, tokens: Tensor, hook_points: Any) -> dict[str, Tensor]:
        values = self.table[tokens].clone()
        values[:, 0] = 1e4
        return dict.fromkeys(hook_points, values)


SMALL = TrainConfig(
    d_sae=64, k=3, tokens=300_000, batch_tokens=512, buffer_tokens=16_384, reuse=4, lr=3e-3, forward_tokens=2048
)


@pytest.mark.parametrize(
    "config", [SMALL, replace(SMALL, architecture="standard", l1=2.0)], ids=lambda c: c.architecture
)
def test_planted_directions_are_found_and_the_saved_dictionary_is_what_was_trained(
    config: TrainConfig, tmp_path: Path
) -> None:
    subject = Planted()
    corpus = random_corpus(VOCABULARY, 1200)
    report = train(subject, corpus, HOOK, config, tmp_path, None)
    dictionary = load_dictionary(str(tmp_path))
    cosine = (torch.nn.functional.normalize(dictionary.W_dec, dim=1) @ subject.directions.T).max(dim=0).values
    assert (cosine > 0.9).float().mean() > 0.9
    assert report.fvu < 0.2
    assert report.fvu == pytest.approx(1 - report.explained_variance)
    assert 1.5 < report.l0 < 6
    assert dictionary.hook_point == HOOK
    assert dictionary.activation == ("jumprelu" if config.architecture == "batchtopk" else "relu")
    # On raw activations, scale folded: the reconstruction is in the subject's own units.
    x = subject.table[10:500]
    error = (x - dictionary.decode(dictionary.encode(x))).square().sum() / (x - x.mean(dim=0)).square().sum()
    assert error == pytest.approx(report.fvu, abs=0.1)
    assert torch.allclose(dictionary.decoder_norm, torch.ones(64), atol=1e-4)


def dense_batchtopk(o: BatchTopK, x: Tensor, dead: Tensor) -> Tensor:
    """The loss as its paper writes it, for autograd to differentiate."""
    W_enc, b_enc, W_dec, b_dec = o.parameters.values()
    z = torch.relu((x - b_dec) @ W_enc.T + b_enc)
    least = z.detach().flatten().topk(o.k * len(x)).values.min()
    x_hat = (z * (z >= least)) @ W_dec + b_dec
    loss = (x_hat - x).square().mean()
    left = (x - x_hat).detach()[::4]
    z_dead = ((x.detach() - b_dec.detach()) @ W_enc.T + b_enc)[::4, dead]
    top = z_dead.topk(min(x.shape[1] // 2, int(dead.sum())), dim=1)
    f = torch.zeros_like(z_dead).scatter(1, top.indices, top.values.relu())
    return loss + (f @ W_dec[dead] - left).square().sum() / left.square().sum() / 32


def test_batchtopk_gradients_are_those_of_the_dense_loss() -> None:
    torch.manual_seed(0)
    objective = BatchTopK(64, torch.randn(16) * 0.1, 4, 0, "float32", 100)
    x = torch.randn(32, 16)
    dead = torch.zeros(64, dtype=torch.bool)
    dead[[3, 17, 40]] = True
    step = objective.gradients(x, 0.5, dead)
    gradients = {name: cast(Tensor, p.grad).clone() for name, p in objective.parameters.items()}
    for parameter in objective.parameters.values():
        parameter.grad = None
        parameter.requires_grad_()
    dense_batchtopk(objective, x, dead).backward()  # type: ignore[no-untyped-call]
    W_dec = objective.parameters["W_dec"].detach()
    expected = {name: cast(Tensor, p.grad) for name, p in objective.parameters.items()}
    expected["W_dec"] = expected["W_dec"] - (expected["W_dec"] * W_dec).sum(dim=1, keepdim=True) * W_dec
    for name in expected:
        assert torch.allclose(gradients[name], expected[name], atol=1e-6), name
    assert step.l0 == 4.0


def test_standard_loss_is_the_papers() -> None:
    objective = Standard(64, torch.zeros(16), 5.0, 0, "float32")
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    W_enc, b_enc, W_dec, b_dec = objective.parameters.values()
    assert torch.allclose(W_dec.norm(dim=1), torch.full((64,), 0.1))
    f = torch.relu(x @ W_enc.T + b_enc)
    squared = (x - f @ W_dec - b_dec).square().sum(dim=1)
    penalty = (f * W_dec.norm(dim=1)).sum(dim=1)
    nothing_dead = torch.zeros(64, dtype=torch.bool)
    assert objective.gradients(x, 0.5, nothing_dead).loss == pytest.approx(
        (squared + 5 * penalty).mean().item(), rel=1e-5
    )
    assert objective.gradients(x, 0.025, nothing_dead).loss == pytest.approx(
        (squared + 2.5 * penalty).mean().item(), rel=1e-5
    )


def tiny_llama() -> Subject:
    vocabulary = {f"w{n}": n for n in range(64)}
    backend = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast  # untyped
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    return Subject(LlamaForCausalLM(config), make(tokenizer_object=backend), name="tiny", fingerprint="tiny")


class Killed(Exception):
    pass


@pytest.mark.parametrize("architecture", ["batchtopk", "standard"])
def test_a_killed_training_goes_on_to_the_same_weights(architecture: Any, tmp_path: Path) -> None:
    subject, corpus = tiny_llama(), random_corpus(64, 60, 20)
    config = TrainConfig(
        architecture=architecture, d_sae=300, k=2, tokens=6400, batch_tokens=64, buffer_tokens=640, reuse=2,
        forward_tokens=300, checkpoint_steps=7, dead_tokens=64,
    )  # fmt: skip
    seen: list[TrainProgress] = []
    whole = train(subject, corpus, "resid_post.1", config, tmp_path / "whole", seen.append)
    assert [p.step for p in seen] == list(range(1, 101))
    assert max(p.dead_fraction for p in seen) > 0 or architecture == "standard"  # AuxK took part

    def kill_at(step: int) -> Any:
        def progress(at: TrainProgress) -> None:
            if at.step == step:
                raise Killed

        return progress

    for step in (3, 38, 52, 99):  # before the first checkpoint, between two, and between refills
        with pytest.raises(Killed):
            train(subject, corpus, "resid_post.1", config, tmp_path / "parts", kill_at(step))
    resumed: list[TrainProgress] = []
    parts = train(subject, corpus, "resid_post.1", config, tmp_path / "parts", resumed.append)
    assert resumed[0].step == 99
    a, b = load_dictionary(str(tmp_path / "whole")), load_dictionary(str(tmp_path / "parts"))
    assert a.fingerprint == b.fingerprint
    assert (parts.fvu, parts.l0, parts.dead_fraction) == (whole.fvu, whole.l0, whole.dead_fraction)
    assert not (tmp_path / "parts" / CHECKPOINT).exists()


def test_a_finished_folder_is_reused_and_another_training_refused(tmp_path: Path) -> None:
    subject, corpus = Planted(), random_corpus(VOCABULARY, 100)
    config = replace(SMALL, tokens=2048, buffer_tokens=1024)
    first = train(subject, corpus, HOOK, config, tmp_path)
    seen: list[TrainProgress] = []
    assert train(subject, corpus, HOOK, config, tmp_path, seen.append) == first
    assert seen == []
    with pytest.raises(DictionaryError, match="another training"):
        train(subject, corpus, HOOK, replace(config, seed=1), tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / CHECKPOINT).write_bytes(b"\x80\x04not a checkpoint")
    with pytest.raises(DictionaryError, match="remove it to start over"):
        train(subject, corpus, HOOK, config, other)
    for wrong in ({"k": 65}, {"tokens": 0}, {"lr": 0.0}, {"architecture": "x"}):
        with pytest.raises(DictionaryError):
            replace(config, **wrong)


def test_the_stream_serves_every_counted_token_once_an_epoch_without_massive_norms() -> None:
    subject, corpus = Planted(), random_corpus(VOCABULARY, 70)
    stream = ActivationStream(subject, corpus, HOOK, np.arange(70), 0, 512)
    stream.calibrate()
    tokens, counted = corpus.batch(np.arange(70))
    counted[:, 0] = False
    wanted = subject.table[tokens[counted & (tokens != 4)]]
    served = stream.take(len(wanted)) / stream.scale
    sums, expected = served.sum(dim=1).sort().values, wanted.sum(dim=1).sort().values
    assert torch.allclose(sums, expected, atol=1e-3)
    assert (served * stream.scale).square().sum(dim=1).mean() == pytest.approx(D, rel=0.1)
    first = stream.take(100)
    assert not torch.equal(first, served[:100] * stream.scale)  # a new epoch has a new order


def test_the_buffer_serves_each_row_as_often_as_asked() -> None:
    class Counter:
        """A stream that numbers its rows."""

        given = 0

        def take(self, count: int) -> Tensor:
            self.given += count
            return torch.arange(self.given - count, self.given, dtype=torch.float32)[:, None]

    stream = Counter()
    buffer = MixingBuffer(cast(ActivationStream, stream), batch=8, half=64, reuse=3, seed=0)
    buffer.fill()
    served = torch.cat([buffer.next() for _ in range(8 * 3 * 9)])[:, 0].long()
    times = torch.bincount(served, minlength=stream.given).float()
    assert stream.given == 128 + 64 * 8  # one refill after each 3 x 64 served rows
    assert times.sum() == 64 * 3 * 9
    assert times[:256].mean() == pytest.approx(3, rel=0.15)
    assert len(set(served[:64].tolist())) == 64


def test_held_out_documents_are_not_trained_on() -> None:
    corpus = random_corpus(VOCABULARY, 200)
    corpus.contexts["document"] = np.arange(200) // 4
    corpus = replace(corpus, n_documents=50)
    trained, held_out = split(corpus, 0, 10**6)
    assert sorted([*trained, *held_out]) == list(range(200))
    documents = corpus.contexts["document"]
    assert not set(documents[trained]) & set(documents[held_out])
    assert 0.05 <= len(held_out) / 200 <= 0.1
    single = replace(corpus, contexts=corpus.contexts.copy(), n_documents=1)
    single.contexts["document"] = 0
    assert len(split(single, 0, 10**6)[1]) >= 10


def test_evaluation_is_exact_for_a_perfect_dictionary() -> None:
    subject, corpus = Planted(), random_corpus(VOCABULARY, 50)
    stream = ActivationStream(subject, corpus, HOOK, np.arange(50), 0, 512)
    stream.calibrate()
    from sae.dictionary import Dictionary

    identity = torch.cat([torch.eye(D), -torch.eye(D)])
    perfect = Dictionary(identity, torch.zeros(2 * D), identity, torch.zeros(D), activation="relu", hook_point=HOOK)
    l0, fvu, tokens = evaluate(perfect, stream, np.arange(50))
    assert l0 == pytest.approx(D, rel=0.01)
    assert fvu == pytest.approx(0, abs=1e-6)
    assert 50 * (LENGTH - 1) - 20 < tokens <= 50 * (LENGTH - 1)
