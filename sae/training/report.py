"""Reports of a training: its progress while it runs, and the result, measured on held-out activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sae.dictionary import Dictionary
from sae.training.activation_buffer import ActivationStream

REPORT = "train.json"
"""Name of a report's file, in the dictionary's folder."""


@dataclass(frozen=True)
class TrainReport:
    """The result of a training. l0, fvu, explained_variance and loss are measured on held-out tokens with the saved dictionary.

    `fvu`: total squared error over total variance. `loss`: the quantity that scaling laws are fitted to, which is the objective,
    scaled as in training, for `standard`, and the fvu for the others, whose penalty does not measure quality. `dead_fraction`:
    features silent over the last `dead_tokens` of training. `seconds`: time to its end, including that of other dictionaries on
    the stream.
    """

    l0: float
    fvu: float
    explained_variance: float
    loss: float
    dead_fraction: float
    dead_tokens: int
    held_out_tokens: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Figures:
    """One dictionary's last step: loss, active features per token, fraction of variance unexplained, share of dead features."""

    loss: float
    l0: float
    fvu: float
    dead_fraction: float


@dataclass(frozen=True)
class TrainProgress:
    """Progress of a training, reported after every step and after every forward pass of the subject."""

    step: int
    steps: int
    tokens: int
    tokens_per_s: float
    seconds_left: float
    harvested: int
    to_harvest: int
    """Activations that the subject has produced, and has to produce: fewer than the tokens if they are reused."""
    figures: dict[str, Figures]
    """Figures of each dictionary by the name of its folder."""


Progress = Callable[[TrainProgress], None]


@dataclass(frozen=True)
class Evaluation:
    """A dictionary measured over `tokens` tokens: active features per token, error over variance, and per token the squared error and
    the total activation, the sum of `f_i ||W_dec_i||`."""

    l0: float
    fvu: float
    squared_error: float
    activation: float
    tokens: int


@torch.no_grad()
def evaluate(
    dictionaries: Sequence[Dictionary], stream: ActivationStream, contexts: npt.NDArray[np.int64]
) -> list[Evaluation]:
    """Measure dictionaries on the same unscaled activations, in one pass over the contexts."""
    total = torch.zeros(stream.width, dtype=torch.float64, device=stream.subject.device)
    sums = torch.zeros(len(dictionaries), 3, dtype=torch.float64)
    squares, count = 0.0, 0
    for x in stream.unscaled(contexts):
        x = x[x.norm(dim=1) <= stream.limit]
        for row, dictionary in enumerate(dictionaries):
            f = dictionary.encode(x)
            error = (x - dictionary.decode(f, x)).double().square().sum()
            active = torch.count_nonzero(f)
            sums[row] += torch.tensor([active, error, (f @ dictionary.decoder_norm.to(f)).double().sum()]).double()
        squares += float(x.double().square().sum())
        total += x.double().sum(dim=0)
        count += len(x)
    n = max(count, 1)
    variance = max(squares - float(total.square().sum()) / n, 1e-12)
    return [Evaluation(a / n, e / variance, e / n, s / n, count) for a, e, s in sums.tolist()]
