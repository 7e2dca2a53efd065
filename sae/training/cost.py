"""The cost of a training, estimated by a short probe on the machine that will train."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

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
    """Tokens of the corpus, activations to harvest, activations to train on (over all dictionaries), and seconds for both."""

    corpus_tokens: int
    harvested: int
    trained: int
    harvest_s: float
    train_s: float

    @property
    def seconds(self) -> float:
        """Seconds of harvesting and training together."""
        return self.harvest_s + self.train_s


def estimate(subject: Subject, corpus: Corpus, hook_point: str, groups: Iterable[Iterable[TrainConfig]]) -> Cost:
    """Estimate the cost of training groups of dictionaries, each group from one stream. Takes a few seconds."""
    all_groups = [list(group) for group in groups]
    first = all_groups[0][0]
    rows, _ = split(corpus, first.seed, HELD_OUT_TOKENS)
    stream = ActivationStream(subject, corpus, hook_point, rows, first.seed, first.forward_tokens)
    stream.take(1)
    before = stream.harvested
    seconds_per_row = _timed(lambda: stream.take(PROBE_TOKENS)) / max(stream.harvested - before, 1)
    x = torch.randn(first.batch_tokens, stream.width, generator=torch.Generator().manual_seed(0)).to(subject.device)
    step_s: dict[tuple[str, int, int], float] = {}
    harvested, train_s = 0, 0.0
    for group in all_groups:
        buffer = MixingBuffer(stream, first.batch_tokens, first.buffer_tokens // 2, first.reuse, first.seed)
        harvested += buffer.rows_for(max(config.steps for config in group))
        for config in group:
            key = (config.architecture, config.d_sae, config.k)
            if key not in step_s:
                learner = Learner(config, x.mean(dim=0), subject.precision)
                step_s[key] = min(_timed(partial(learner.learn, x)) for _ in range(PROBE_STEPS))
            train_s += step_s[key] * config.steps
    trained = sum(config.steps * config.batch_tokens for group in all_groups for config in group)
    return Cost(corpus.n_tokens, harvested, trained, harvested * seconds_per_row, train_s)


def _timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
