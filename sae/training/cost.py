"""What a training will cost, from a short probe on the machine that is to carry it out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from sae.corpus.corpus import Corpus
from sae.subject.model import Subject
from sae.training.activation_buffer import ActivationStream, MixingBuffer, split
from sae.training.learner import Learner
from sae.training.trainer import HELD_OUT_TOKENS, TrainConfig

PROBE_TOKENS = 4096
PROBE_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """Tokens of the corpus, activations to harvest, activations to train on over all dictionaries, and seconds."""

    corpus_tokens: int
    harvested: int
    trained: int
    harvest_s: float
    train_s: float

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.harvest_s + self.train_s


def estimate(subject: Subject, corpus: Corpus, hook_point: str, groups: Iterable[Iterable[TrainConfig]]) -> Cost:
    """The cost of training groups of dictionaries, each group from a stream of its own. Takes seconds."""
    listed = [list(group) for group in groups]
    first = listed[0][0]
    rows, _ = split(corpus, first.seed, HELD_OUT_TOKENS)
    stream = ActivationStream(subject, corpus, hook_point, rows, first.seed, first.forward_tokens)
    stream.take(1)
    at = stream.harvested
    read = _timed(lambda: stream.take(PROBE_TOKENS)) / max(stream.harvested - at, 1)
    x = torch.randn(first.batch_tokens, stream.width, generator=torch.Generator().manual_seed(0)).to(subject.device)
    paces: dict[tuple[str, int, int], float] = {}
    harvested, train_s = 0, 0.0
    for group in listed:
        buffer = MixingBuffer(stream, first.batch_tokens, first.buffer_tokens // 2, first.reuse, first.seed)
        harvested += buffer.needs(max(config.steps for config in group))
        for config in group:
            key = (config.architecture, config.d_sae, config.k)
            if key not in paces:
                learner = Learner(config, x.mean(dim=0), subject.precision)
                paces[key] = min(_timed(lambda made=learner: made.learn(x)) for _ in range(PROBE_STEPS))  # type: ignore[misc]
            train_s += paces[key] * config.steps
    trained = sum(config.steps * config.batch_tokens for group in listed for config in group)
    return Cost(corpus.n_tokens, harvested, trained, harvested * read, train_s)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
