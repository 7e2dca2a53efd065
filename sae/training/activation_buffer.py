"""Activations for training: streamed from the subject, mixed in a buffer, and served in shuffled batches.

Every order is drawn from the seed and a running number, never from a generator's state. So a checkpoint of the rows and a few
counters is enough to resume with the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.corpus.corpus import Corpus
from sae.errors import CorpusError
from sae.subject.model import Subject

GROUP_CONTEXTS = 64
"""Contexts that are sorted by length together, so that little of a forward pass is padding."""
CALIBRATION_TOKENS = 8192
MAX_NORM_RATIO = 10.0
"""Tokens whose norm exceeds this many medians are left out: a few of them would dominate the scale and the loss."""


class ActivationStream:
    """Activations of one hook point over the contexts `rows`, epoch after epoch, each epoch in another order.

    The first position of each context, BOS, padding, special ids and tokens of massive norm are run but never served. After
    `calibrate`, activations are scaled by one number to a mean squared norm of d (Scaling Monosemanticity, "Our SAE experiments").
    """

    def __init__(
        self,
        subject: Subject,
        corpus: Corpus,
        hook_point: str,
        rows: npt.NDArray[np.int64],
        seed: int,
        forward_tokens: int,
    ) -> None:
        self.subject, self.corpus, self.hook_point = subject, corpus, hook_point
        self.rows, self.seed, self.forward_tokens = rows, seed, forward_tokens
        self.width = subject.width(hook_point)
        self.scale, self.limit = 1.0, float("inf")
        self.mean = torch.zeros(self.width, device=subject.device)
        self.harvested = 0
        """Activations that the subject has produced so far."""
        self.on_forward_pass: Callable[[], None] | None = None
        """Called after each forward pass."""
        self._group = 0
        self._pending = torch.empty(0, self.width, device=subject.device)

    def calibrate(self) -> None:
        """Set `limit`, `scale` and `mean` from the first tokens of the stream, and rewind the stream to its beginning."""
        sample = self.take(CALIBRATION_TOKENS)
        norms = sample.norm(dim=1)
        self.limit = float(norms.median()) * MAX_NORM_RATIO
        kept = sample[norms <= self.limit]
        square = float(kept.square().sum(dim=1).mean())
        if not square > 0:
            raise CorpusError(
                f"all activations of {self.hook_point} are zero or not finite: check the subject's weights"
            )
        self.scale = (self.width / square) ** 0.5
        self.mean = kept.mean(dim=0) * self.scale
        self._group, self._pending, self.harvested = 0, sample[:0], 0

    def take(self, count: int) -> Tensor:
        """The next `count` activations, float32 (count, d), scaled."""
        parts, n = [self._pending], len(self._pending)
        while n < count:
            part = self._next_group()
            parts.append(part)
            n += len(part)
        rows = torch.cat(parts)
        self._pending = rows[count:].clone()
        return rows[:count]

    def state(self) -> dict[str, Any]:
        """The stream's position and calibration, for a checkpoint."""
        return {
            "scale": self.scale, "limit": self.limit, "mean": self.mean, "group": self._group, "held": self._pending,
            "harvested": self.harvested,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.scale, self.limit, self._group = state["scale"], state["limit"], state["group"]
        self.mean, self._pending, self.harvested = state["mean"], state["held"], state["harvested"]

    def _next_group(self) -> Tensor:
        groups = -(-len(self.rows) // GROUP_CONTEXTS)
        epoch, number = divmod(self._group, groups)
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(self.rows)
        group = order[number * GROUP_CONTEXTS : (number + 1) * GROUP_CONTEXTS]
        self._group += 1
        parts = []
        for x in self.unscaled(group):
            parts.append(x[x.norm(dim=1) <= self.limit] * self.scale)
            self.harvested += len(parts[-1])
            if self.on_forward_pass is not None:
                self.on_forward_pass()
        return torch.cat(parts)

    def unscaled(self, contexts: npt.NDArray[np.int64]) -> Iterator[Tensor]:
        """Counted activations of these contexts, not scaled, float32 (n, d) per forward pass. Those of massive norm are included."""
        lengths = self.corpus.contexts["length"][contexts]
        ordered = contexts[np.argsort(lengths, kind="stable")]
        per_pass = max(1, self.forward_tokens // (int(lengths.max()) + 1))
        for start in range(0, len(ordered), per_pass):
            tokens, counted = self.corpus.batch(ordered[start : start + per_pass])
            counted[:, 0] = False
            values = self.subject.run(torch.from_numpy(tokens), [self.hook_point])[self.hook_point]
            yield values[torch.from_numpy(counted).to(values.device)].float()


class MixingBuffer:
    """Shuffled batches from a buffer of 2 * `half` rows, half of which are replaced by new activations at a time.

    In each cycle a random half of the rows is drawn `reuse` times, without replacement each time, and served in batches; the half
    drawn last is then replaced. So a row is trained on `reuse` times on average: harvesting it costs more than training on it.
    `half` is rounded down to whole batches. Rows are kept in float16, because after scaling their entries are near 1.
    """

    def __init__(self, stream: ActivationStream, batch: int, half: int, reuse: int, seed: int) -> None:
        self.stream, self.batch, self.reuse, self.seed = stream, batch, reuse, seed
        self.half = max(1, half // batch) * batch
        self.cycle = self.cursor = 0
        self.rows = torch.empty(0)

    def fill(self) -> None:
        """Fill the whole buffer for the first time."""
        self.rows = self.stream.take(2 * self.half).half()

    def rows_for(self, batches: int) -> int:
        """Number of activations that have to be harvested for this many batches."""
        return self.half * (1 + max(1, -(-batches * self.batch // (self.reuse * self.half))))

    def next(self) -> Tensor:
        """The next batch, float32 (batch, d)."""
        turn, start = divmod(self.cursor, self.half)
        if turn == self.reuse:
            served = torch.from_numpy(self._order(self.reuse - 1)).to(self.rows.device)
            self.rows[served] = self.stream.take(self.half).half()
            self.cycle, self.cursor, turn, start = self.cycle + 1, 0, 0, 0
        chosen = torch.from_numpy(self._order(turn)[start : start + self.batch]).to(self.rows.device)
        self.cursor += self.batch
        return self.rows[chosen].float()

    def state(self) -> dict[str, Any]:
        """The buffer's rows and position, and the stream's state, for a checkpoint."""
        return {"cycle": self.cycle, "cursor": self.cursor, "rows": self.rows, "stream": self.stream.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.cycle, self.cursor, self.rows = state["cycle"], state["cursor"], state["rows"]
        self.stream.restore(state["stream"])

    def _order(self, turn: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self.seed, 1, self.cycle, turn]).permutation(2 * self.half)[: self.half]


def split(corpus: Corpus, seed: int, tokens: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Contexts for training, and held-out contexts of at least `tokens` tokens or a twentieth of the corpus, whichever is less.

    Whole documents are held out, or single contexts if there are fewer than 20 documents.
    """
    document = np.asarray(corpus.contexts["document"])
    group = document if corpus.n_documents >= 20 else np.arange(len(document))
    lengths = np.bincount(group, weights=corpus.contexts["length"])
    order = np.random.default_rng([seed, 2]).permutation(len(lengths))
    enough = int(np.searchsorted(np.cumsum(lengths[order]), min(tokens, corpus.n_tokens / 20))) + 1
    held_out = np.isin(group, order[:enough])
    if held_out.all():
        raise CorpusError(f"the corpus has too few contexts to train on ({len(document)}): give it more text")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
