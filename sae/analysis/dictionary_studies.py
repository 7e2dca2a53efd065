"""Statistics of a whole dictionary, as Scaling Monosemanticity reports them, from one pass over a sample of tokens.

    density       the share of tokens at which each feature is active, dead features, and active features per token (L0)
    correlation   of some features with every neuron of the layers before them ("Features vs. Neurons")
    rounding      the variance explained when activations below a share of each feature's maximum are set to 0

The paper calls a feature dead if it is silent for 10 million tokens; here it is dead if it is silent on the sample, which is far
smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sae.analysis import correlation, token_sample
from sae.analysis.chunked import feature_chunks, reconstruct_rounded
from sae.analysis.correlation import Correlations
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, SaeError, SubjectError
from sae.subject.hook_points import KINDS, parse
from sae.subject.model import Subject

VERSION = 1
"""Increase it when the same inputs lead to other figures."""
FORWARD_TOKENS = 4096
NEURON_ELEMENTS = 1 << 28
"""Activations of the neurons of all layers in one forward pass: 1 GB."""
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Activations of at most this share of the feature's maximum are rounded to 0."""
ROUNDING_TOKENS = 8192
"""Number of tokens whose values are kept for the rounding, until the maxima are known."""
ROUNDING_ELEMENTS = 1 << 25
DENSITY_STEP = 0.25
"""Width of a cell in the histogram of densities, in powers of ten."""
UNLIKE = 0.3
"""The paper's limit: for 82% of features, the most correlated neuron has at most this correlation."""
_BEFORE_MLP = ("embed", "resid_pre", "resid_mid", "attn_z", "attn_out", "mlp_in")

Progress = Callable[[int, int], None]


@torch.no_grad()
def study(
    subject: Subject,
    dictionary: Dictionary,
    corpus: Corpus,
    *,
    tokens: int,
    features: Sequence[int],
    seed: int,
    skip_positions: int,
    norm_limit: float,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Measure all figures over about `tokens` tokens, with correlations for `features`.

    Returns nested dicts and lists of numbers and strings, with NaN for undefined figures. Memory depends on the widths of
    dictionary and subject, not on `tokens`. Raises `SaeError` if no token counts.
    """
    neurons, why_not = _neurons(subject, dictionary.hook_point)
    width = sum(neurons.values())
    chosen = list(features)[: correlation.ELEMENTS // width] if width else []
    reads, writes = dictionary.hook_point, dictionary.reconstructed_hook_point
    names = list(dict.fromkeys([reads, writes, *(neurons if chosen else ())]))
    sums = _Sums(dictionary, chosen, subject.device)
    most = min(FORWARD_TOKENS, max(1, NEURON_ELEMENTS // max(1, width)))
    for ids, text in token_sample.draw(corpus, tokens, seed, skip_positions).batches(most, subject.device):
        at_all = subject.run(ids, names)
        counted = text & (at_all[reads].norm(dim=-1) <= norm_limit)
        values = {name: value[counted] for name, value in at_all.items()}
        sums.update(values[reads], values[writes], {name: values[name] for name in neurons if chosen})
        progress(sums.n, tokens)
    if not sums.n:
        raise SaeError(NOTHING_COUNTED)
    progress(sums.n, sums.n)
    return {
        "version": VERSION,
        "tokens": sums.n,
        "density": _density(sums.n_active.cpu().numpy(), sums.n),
        "l0": _l0(np.concatenate(sums.l0)),
        "correlation": _correlation(sums.correlations, chosen, len(features), list(neurons), why_not),
        "rounding": _rounding(dictionary, torch.cat(sums.x), torch.cat(sums.y), sums.maximum),
    }


class _Sums:
    """What is kept of the `n` tokens read so far: per feature the count of active tokens and the maximum, per token its L0, and the
    first values x and y."""

    def __init__(self, dictionary: Dictionary, chosen: Sequence[int], device: torch.device) -> None:
        self.dictionary = dictionary
        self.chosen = torch.tensor(chosen, dtype=torch.int64, device=device)
        self.correlations = Correlations()
        self.n_active = torch.zeros(dictionary.d_sae, dtype=torch.int64, device=device)
        self.maximum = torch.zeros(dictionary.d_sae, device=device)
        self.l0: list[np.ndarray] = []
        self.x: list[Tensor] = []
        self.y: list[Tensor] = []
        self.n = 0

    def update(self, x: Tensor, y: Tensor, neurons: dict[str, Tensor]) -> None:
        """Add rows x (n, d_in), y (n, d_out) and every layer's neurons at the same n tokens."""
        if not len(x):
            return
        l0 = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        activations = torch.zeros(len(x), len(self.chosen), device=x.device)
        for chunk in feature_chunks(self.dictionary, x):
            active, here = chunk.f > 0, slice(chunk.start, chunk.stop)
            l0 += active.sum(dim=1)
            self.n_active[here] += active.sum(dim=0)
            self.maximum[here] = torch.maximum(self.maximum[here], chunk.f.amax(dim=0))
            in_chunk = (self.chosen >= chunk.start) & (self.chosen < chunk.stop)
            activations[:, in_chunk] = chunk.f[:, self.chosen[in_chunk] - chunk.start]
        if neurons:
            self.correlations.update(activations, neurons)
        self.l0.append(l0.cpu().numpy())
        if (left := ROUNDING_TOKENS - self.n) > 0:
            self.x.append(x[:left].clone())
            self.y.append(y[:left].clone())
        self.n += len(x)


def _neurons(subject: Subject, hook_point: str) -> tuple[dict[str, int], str]:
    """The hook points of the MLPs that run before a hook point, with their widths; or an empty dict and the reason."""
    kind, layer = parse(hook_point)
    assert kind in KINDS
    last = layer - 1 if kind in _BEFORE_MLP else layer
    if last < 0:
        return {}, f"no MLP runs before {hook_point}"
    try:
        return {f"mlp_act.{i}": subject.width(f"mlp_act.{i}") for i in range(last + 1)}, ""
    except SubjectError as error:
        return {}, str(error)


def _density(n_active: np.ndarray, n: int) -> dict[str, Any]:
    """The share of tokens at which each feature is active; the histogram is of the logarithms of the shares above 0."""
    density = n_active[n_active > 0] / n
    first = math.floor(-math.log10(n) / DENSITY_STEP)
    edges = np.arange(first, 1) * DENSITY_STEP
    # The largest possible density, 1, lies on the last edge: rounding must not move it beyond.
    counts = np.histogram(np.minimum(np.log10(density), 0.0), bins=edges)[0]
    return {
        "features": len(n_active),
        "dead": int((n_active == 0).sum()),
        "dead_share": float((n_active == 0).mean()),
        "median": float(np.median(density)) if len(density) else None,
        "log10_edges": edges.tolist(),
        "counts": counts.tolist(),
    }


def _l0(l0: np.ndarray) -> dict[str, Any]:
    """Active features per token: mean, median, 5th and 95th percentile, and a histogram of at most 30 cells of whole numbers."""
    step = max(1, -(-int(l0.max() + 1) // 30))
    edges = np.arange(0, int(l0.max()) + step + 1, step)
    low, median, high = (float(q) for q in np.percentile(l0, [5, 50, 95]))
    shares = np.histogram(l0, bins=edges)[0] / len(l0)
    figures = {"mean": float(l0.mean()), "median": median, "p5": low, "p95": high}
    return {**figures, "edges": edges.tolist(), "shares": shares.tolist()}


def _correlation(
    sums: Correlations, chosen: Sequence[int], asked: int, layers: list[str], why_not: str
) -> dict[str, Any]:
    if not chosen:
        return {"skipped": why_not or "no features were sampled"}
    signed, absolute = sums.best()
    rows = [
        {
            "feature": feature,
            "r": float(signed.r[i]),
            "neuron": f"{layers[int(signed.layer[i])]}:{int(signed.neuron[i])}",
            "r_absolute": float(absolute.r[i]),
            "neuron_absolute": f"{layers[int(absolute.layer[i])]}:{int(absolute.neuron[i])}",
        }
        for i, feature in enumerate(chosen)
    ]
    edges = np.linspace(0, 1, 21)
    figures: dict[str, Any] = {"edges": edges.round(2).tolist()}
    for name, best in (("signed", signed), ("absolute", absolute)):
        r = best.r[~best.r.isnan()].abs().numpy() if name == "absolute" else best.r[~best.r.isnan()].numpy()
        shares = {"at_most": UNLIKE, "share": float((r <= UNLIKE).mean()) if len(r) else None}
        median = float(np.median(r)) if len(r) else None
        figures[name] = {**shares, "median": median, "counts": np.histogram(r.clip(0, 1), bins=edges)[0].tolist()}
    silent = int(signed.r.isnan().sum())
    return {
        "features": len(chosen) - silent,
        "silent": silent,
        "asked": asked,
        "layers": layers,
        **figures,
        "best": rows,
    }


def _rounding(dictionary: Dictionary, x: Tensor, y: Tensor, maximum: Tensor) -> dict[str, Any]:
    """The share of y's variance explained for each of `SHARES`."""
    if not dictionary.reconstructs:
        return {"tokens": 0, "shares": list(SHARES), "variance_explained": [None] * len(SHARES)}
    shares = torch.tensor(SHARES, device=x.device)
    size = max(1, ROUNDING_ELEMENTS // (len(SHARES) * max(dictionary.d_in, dictionary.d_out)))
    error = torch.zeros(len(SHARES), dtype=torch.float64)
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        difference = reconstruct_rounded(dictionary, x[rows], maximum, shares) - y[rows]
        error += difference.square().sum(dim=2).cpu().double().sum(dim=1)
    variance = (y - y.mean(dim=0)).square().sum(dim=1).cpu().double().sum()
    explained = (1 - error / variance).tolist()
    return {"tokens": len(x), "shares": list(SHARES), "variance_explained": explained}
