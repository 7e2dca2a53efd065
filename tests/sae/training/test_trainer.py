"""The trainer: it finds planted directions, and interruptions do not change its weights."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus
from sae.errors import DictionaryError
from sae.formats.load import load_dictionary
from sae.subject.model import Subject
from sae.training.activation_buffer import ActivationStream, MixingBuffer, split
from sae.training.cost import estimate
from sae.training.sweep import Grid, sweep
from sae.training.trainer import CHECKPOINT, TrainConfig, TrainProgress, evaluate, train, train_together

D, FEATURES, VOCABULARY, LENGTH = 32, 48, 4000, 32
HOOK = "resid_post.0"


def random_corpus(vocabulary: int, documents: int, length: int = LENGTH) -> Corpus:
    rng = np.random.default_rng(0)
    contexts = np.zeros(documents, dtype=CONTEXT)
    contexts["document"] = np.arange(documents)
    contexts["offset"] = np.arange(documents) * length
    contexts["length"] = length
    tokens = rng.integers(4, vocabulary, documents * length).astype(np.uint32)
    return Corpus(tokens, contexts, documents, len(tokens), "planted", None, frozenset({0}))


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
    "config",
    [SMALL, replace(SMALL, architecture="standard", l1=2.0)]
    + [replace(SMALL, architecture=name, prefixes=(56,)) for name in ("topk", "matryoshka", "jumprelu")],
    ids=lambda c: c.architecture,
)
def test_planted_directions_are_found_and_the_saved_dictionary_equals_the_trained_one(
    config: TrainConfig, tmp_path: Path
) -> None:
    subject = Planted()
    corpus = random_corpus(VOCABULARY, 1200)
    report = train(subject, corpus, HOOK, config, tmp_path, None)
    dictionary = load_dictionary(str(tmp_path))
    cosine = (torch.nn.functional.normalize(dictionary.W_dec, dim=1) @ subject.directions.T).max(dim=0).values
    assert (cosine > 0.9).float().mean() > (0.8 if config.architecture == "matryoshka" else 0.9)
    assert report.fvu < 0.2
    assert report.fvu == pytest.approx(1 - report.explained_variance)
    assert 1.5 < report.l0 < 6
    assert dictionary.hook_point == HOOK
    assert dictionary.activation == {"standard": "relu", "topk": "topk"}.get(config.architecture, "jumprelu")
    # On raw activations, scale folded: the reconstruction is in the subject's own units.
    x = subject.table[10:500]
    error = (x - dictionary.decode(dictionary.encode(x))).square().sum() / (x - x.mean(dim=0)).square().sum()
    assert error == pytest.approx(report.fvu, abs=0.1)
    assert torch.allclose(dictionary.decoder_norm, torch.ones(64), atol=1e-4)


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


@pytest.mark.parametrize("architecture", ["batchtopk", "standard", "topk", "matryoshka", "jumprelu"])
def test_a_killed_training_resumes_to_the_same_weights(architecture: Any, tmp_path: Path) -> None:
    subject, corpus = tiny_llama(), random_corpus(64, 60, 20)
    config = TrainConfig(
        architecture=architecture, d_sae=300, k=2, tokens=6400, batch_tokens=64, buffer_tokens=640, reuse=2,
        forward_tokens=300, checkpoint_steps=7, dead_tokens=64,
    )  # fmt: skip
    seen: list[TrainProgress] = []
    whole = train(subject, corpus, "resid_post.1", config, tmp_path / "whole", seen.append)
    assert sorted({p.step for p in seen}) == list(range(101))
    assert max(p.figures["whole"].dead_fraction for p in seen if p.figures) > 0 or architecture == "standard"

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
    assert resumed[0].step == 99  # the checkpoint's, and one more
    a, b = load_dictionary(str(tmp_path / "whole")), load_dictionary(str(tmp_path / "parts"))
    assert a.fingerprint == b.fingerprint
    assert (parts.fvu, parts.l0, parts.dead_fraction) == (whole.fvu, whole.l0, whole.dead_fraction)
    assert not (tmp_path / "parts" / CHECKPOINT).exists()


TOGETHER = {
    "plain": TrainConfig(
        d_sae=200, k=2, tokens=3200, batch_tokens=64, buffer_tokens=640, forward_tokens=300, checkpoint_steps=7,
        dead_tokens=64,
    )
}  # fmt: skip
TOGETHER["short"] = replace(TOGETHER["plain"], architecture="jumprelu", tokens=1600)
TOGETHER["fast"] = replace(TOGETHER["plain"], architecture="standard", d_sae=100, lr=1e-3)


def test_weights_do_not_depend_on_other_dictionaries_of_the_stream_or_on_interruptions(tmp_path: Path) -> None:
    subject, corpus = tiny_llama(), random_corpus(64, 60, 20)
    alone = {name: tmp_path / "alone" / name for name in TOGETHER}
    for name, config in TOGETHER.items():
        train(subject, corpus, "resid_post.1", config, alone[name])
    folders = {tmp_path / "all" / name: config for name, config in TOGETHER.items()}
    reports = {}
    for stop in (3, 24, 33, None):  # before a checkpoint, just before the short one is done, after it, never

        def progress(at: TrainProgress, stop: int | None = stop) -> None:
            if at.step == stop:
                raise Killed

        try:
            checkpoint = tmp_path / "all" / CHECKPOINT
            reports = train_together(subject, corpus, "resid_post.1", folders, checkpoint, progress)
        except Killed:
            assert stop is not None
    assert [folder.name for folder in reports] == list(TOGETHER)
    for folder in folders:
        assert load_dictionary(str(folder)).fingerprint == load_dictionary(str(alone[folder.name])).fingerprint
    assert not (tmp_path / "all" / CHECKPOINT).exists()
    other = {tmp_path / "x": TOGETHER["plain"], tmp_path / "y": replace(TOGETHER["fast"], seed=1)}
    with pytest.raises(DictionaryError, match="seed = 0, 1"):
        train_together(subject, corpus, "resid_post.1", other, checkpoint)


GRID = Grid((50, 100), (640, 1280), (1e-3, 3e-3))


def test_a_sweep_trains_its_cells_in_groups_and_resumes_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, corpus, base = tiny_llama(), random_corpus(64, 60, 20), TOGETHER["plain"]
    monkeypatch.setattr("sae.training.sweep.GROUP_BYTES", 5 * 32 * 50 * subject.width("resid_post.1"))
    asked = (subject, corpus, "resid_post.1", base, GRID)
    whole = sweep(*asked, tmp_path / "whole")
    assert [(c.d_sae, c.tokens, c.lr) for c in whole] == list(itertools.product(GRID.d_sae, GRID.tokens, GRID.lr))
    assert all(0 < c.loss < 2 and c.compute == 12 * 16 * c.d_sae * c.tokens for c in whole)
    told = 0

    def killed_at_15(at: TrainProgress) -> None:
        nonlocal told
        told += at.step == 15
        if told == 2:  # in the second group
            raise Killed

    with pytest.raises(Killed):
        sweep(*asked, tmp_path / "parts", killed_at_15)
    assert (tmp_path / "parts" / CHECKPOINT).exists()
    assert sweep(*asked, tmp_path / "parts") == whole
    assert not (tmp_path / "parts" / CHECKPOINT).exists()


def test_a_cost_counts_the_activations_to_harvest_and_to_train_on() -> None:
    corpus, config = random_corpus(64, 60, 20), replace(TOGETHER["plain"], reuse=2)
    pair = [config, replace(config, d_sae=100, tokens=6400)]
    cost = estimate(tiny_llama(), corpus, "resid_post.1", [pair, pair])
    assert cost.corpus_tokens == 1200
    assert cost.trained == 2 * (3200 + 6400)
    assert cost.harvested == 2 * (1 + 6400 // 640) * 320
    assert cost.seconds == cost.harvest_s + cost.train_s > 0


def test_progress_is_reported_while_activations_are_harvested(tmp_path: Path) -> None:
    seen: list[TrainProgress] = []
    config = replace(TOGETHER["plain"], reuse=2, tokens=6400)
    train(tiny_llama(), random_corpus(64, 60, 20), "resid_post.1", config, tmp_path, seen.append)
    harvested = [p.harvested for p in seen]
    assert harvested == sorted(harvested)
    assert len({p.harvested for p in seen if p.step == 0}) > 3  # the first filling, pass by pass
    assert {p.to_harvest for p in seen} == {harvested[-1]}
    assert harvested[-1] == (1 + 6400 // 640) * 320  # two halves, and one for each 640 served until the last


def test_the_standard_loss_of_a_report_is_the_objective_on_held_out_tokens(tmp_path: Path) -> None:
    subject, corpus = Planted(), random_corpus(VOCABULARY, 200)
    config = replace(SMALL, architecture="standard", tokens=20_000, buffer_tokens=4096, reuse=1)
    report = train(subject, corpus, HOOK, config, tmp_path)
    trained, held_out = split(corpus, 0, 32_768)
    stream = ActivationStream(subject, corpus, HOOK, trained, 0, 2048)
    stream.calibrate()
    x = torch.cat([part[part.norm(dim=1) <= stream.limit] for part in stream.unscaled(held_out)]) * stream.scale
    dictionary = load_dictionary(str(tmp_path))
    f = dictionary.encode(x / stream.scale)
    error = (x - dictionary.decode(f) * stream.scale).square().sum(dim=1)
    expected = (error + 5.0 * stream.scale * f.sum(dim=1)).mean()
    assert report.loss == pytest.approx(expected.item(), rel=1e-4)


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
    wrongs: list[dict[str, Any]] = [
        {"k": 65}, {"tokens": 0}, {"lr": 0.0}, {"architecture": "x"}, {"sparsity": "x"}, {"prefixes": (8, 4)},
        {"prefixes": (64,)},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(DictionaryError):
            replace(config, **wrong)


def test_the_stream_serves_every_counted_token_once_per_epoch_without_massive_norms() -> None:
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


def test_the_buffer_serves_each_row_reuse_times() -> None:
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
    nothing = replace(perfect, b_enc=torch.full((2 * D,), -1e9))
    whole, none = evaluate([perfect, nothing], stream, np.arange(50))
    assert whole.l0 == pytest.approx(D, rel=0.01)
    assert whole.fvu == pytest.approx(0, abs=1e-6)
    assert (none.l0, none.activation) == (0, 0)
    assert none.fvu > 0.99  # more than the variance: the mean is not 0
    assert 50 * (LENGTH - 1) - 20 < whole.tokens <= 50 * (LENGTH - 1)
