"""Does a dictionary fit this subject? Measured on a few thousand tokens, before anything is spent on its features.

    x, y   values at the hook points read and reconstructed, at the tokens that a harvest counts; y = x for an autoencoder
    variance explained   1 - sum ||y - y_hat||^2 / sum ||y - mean(y)||^2
    loss recovered       (zeroed - reconstructed) / (zeroed - clean), the subject's losses with y set to 0, set to y_hat, unchanged

If little is explained, other layers and other normalisations are tried, because files often give them wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sae.analysis import token_sample
from sae.analysis.alternatives import Alternative, find_alternatives
from sae.analysis.chunked import activity, reconstruct, variance_explained
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, DictionaryError, SaeError, SubjectError
from sae.harvest.harvest import check_finite
from sae.subject.model import Subject

TOKENS = 8192
LOSS_TOKENS = 1024
"""Tokens over which the loss is measured, in three passes through the whole subject. The differences are paired by token, so these
are enough."""
FORWARD_TOKENS = 2048
LOGIT_TOKENS = 512
"""Tokens in a pass that computes logits: 512 rows of Gemma's vocabulary of 256,000 are 0.5 GB."""
SUSPECT = 0.5
"""Below this share of the variance, alternatives are tried. Published residual dictionaries explain 0.65 or more (Scaling
Monosemanticity: at least 0.65); very sparse ones explain less than this and are right."""
POOR = 0.1
"""Below this share, even a sparse dictionary is doubtful."""
BETTER = 0.2
"""An alternative must explain this much more to be named: layers next to the right one come within 0.1."""

Verdict = Literal["fits", "doubtful", "nothing"]


class Loss(NamedTuple):
    """Mean cross-entropy in nats per token, over `tokens` predictions of a counted token from a counted token."""

    clean: float
    reconstructed: float
    zeroed: float
    tokens: int

    @property
    def recovered(self) -> float | None:
        """1 if the reconstruction is as good as the value itself, 0 if it is as bad as zeros; None if zeroing costs nothing."""
        cost = self.zeroed - self.clean
        return (self.zeroed - self.reconstructed) / cost if cost > 0 and math.isfinite(cost) else None


@dataclass(frozen=True)
class FitCheck:
    """How well a dictionary fits, measured over `tokens` counted tokens. Figures of a reconstruction are None if there is none.

    `dead_fraction`: features silent on all of the tokens. `norm_ratio`: mean ||y_hat|| over mean ||y||. `cosine`: mean cosine of y
    and y_hat. `loss_recovered` is None if it is undefined. `said` explains the verdict in one line, empty if the dictionary fits.
    """

    tokens: int
    l0: float
    variance_explained: float | None
    dead_fraction: float
    norm_ratio: float | None
    cosine: float | None
    loss: Loss | None
    loss_recovered: float | None
    verdict: Verdict
    said: str


Progress = Callable[[int, int], None]
"""Tokens run so far, and in all."""


class _TokensRun:
    """Counts the tokens that the subject has run, for a progress display. Alternatives are not counted."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.done, self.total, self.progress = 0, total, progress
        progress(0, total)

    def add(self, tokens: int) -> None:
        """Count further tokens; all but the last are at most `total`, because samples only roughly have the size asked for."""
        self.done = min(self.done + tokens, self.total - 1)
        self.progress(self.done, self.total)

    def end(self) -> None:
        """Report that all is done."""
        self.progress(self.total, self.total)


class _Values(NamedTuple):
    """A sample as read: its batches of token ids and masks of the counted tokens (B, T), and the values at these, (n, d_in) and
    (n, d_out)."""

    batches: list[tuple[Tensor, Tensor]]
    x: Tensor
    y: Tensor


@torch.no_grad()
def check_fit(
    subject: Subject,
    dictionary: Dictionary,
    corpus: Corpus,
    *,
    tokens: int = TOKENS,
    seed: int = 0,
    skip_positions: int = 1,
    max_norm_ratio: float = 10.0,
    norm_limit: float | None = None,
    progress: Progress = lambda done, total: None,
) -> FitCheck:
    """Measure a dictionary on about `tokens` tokens of the corpus.

    Tokens whose norm exceeds `norm_limit`, or by default `max_norm_ratio` times the sample's median, do not count, and keep their
    values when the loss is measured. `progress` is told of the tokens run. Raises `SaeError` if no token counts, `SubjectError` for a hook point that the subject lacks.
    """
    sample = token_sample.draw(corpus, tokens, seed, skip_positions)
    run = _TokensRun(tokens + 3 * min(LOSS_TOKENS, tokens), progress)
    values = _read(subject, dictionary, sample, max_norm_ratio, norm_limit, run)
    if not dictionary.reconstructs:
        l0, n_active = activity(dictionary, values.x)
        run.end()
        l0_mean, dead = float(l0.float().mean()), float((n_active == 0).float().mean())
        return FitCheck(len(values.x), l0_mean, None, dead, None, None, None, None, "fits", "")
    y_hat, l0, n_active = reconstruct(dictionary, values.x)
    explained = variance_explained(values.y, y_hat)
    loss = _loss(subject, dictionary.hook_point_out or dictionary.hook_point, values.batches, y_hat, run)
    recovered = loss.recovered if loss else None
    others: list[Alternative] = []
    if not explained >= SUSPECT:  # so that NaN is suspect too
        others = find_alternatives(subject, dictionary, sample, values.x, values.y)
    run.end()
    verdict, said = verdict_of(dictionary, explained, recovered, others)
    return FitCheck(
        tokens=len(values.x),
        l0=float(l0.float().mean()),
        variance_explained=explained,
        dead_fraction=float((n_active == 0).float().mean()),
        norm_ratio=float(y_hat.norm(dim=1).mean() / values.y.norm(dim=1).mean()),
        cosine=float(cosine_similarity(y_hat, values.y).mean()),
        loss=loss,
        loss_recovered=recovered,
        verdict=verdict,
        said=said,
    )


def verdict_of(
    dictionary: Dictionary, explained: float, recovered: float | None, others: list[Alternative]
) -> tuple[Verdict, str]:
    """The verdict, and the reason in one line. `others` are the alternatives, the best first.

    Very sparse dictionaries, and those trained for the loss alone, explain little and are right. So `nothing` is only the verdict
    if no variance is explained and no loss recovered, or if values are not finite.
    """
    hook_point = dictionary.hook_point_out or dictionary.hook_point
    figures = f"variance explained {explained:.2f}" + ("" if recovered is None else f", loss recovered {recovered:.2f}")
    finite = math.isfinite(explained) and (recovered is None or math.isfinite(recovered))
    nothing = not finite or (explained <= 0 and recovered is not None and recovered <= 0)
    best = next((other for other in others if not other.explained < explained + BETTER and other.explained > 0), None)
    if explained >= POOR and finite and best is None:
        return "fits", ""
    verdict: Verdict = "nothing" if nothing else "doubtful"
    start = f"explains {'nothing' if nothing else 'little'} of {hook_point} ({figures}): "
    if not finite:
        return verdict, start + "its values are not finite; the weights are damaged, or of another format"
    if best is not None:
        return verdict, f"{start}{best.meaning}, where it would explain {best.explained:.2f}; {best.remedy}"
    return (
        verdict,
        start + "no other layer and no other normalisation does better; it may belong to another model or revision",
    )


def _read(
    subject: Subject,
    dictionary: Dictionary,
    sample: token_sample.TokenSample,
    max_norm_ratio: float,
    norm_limit: float | None,
    run: _TokensRun,
) -> _Values:
    reads, writes = dictionary.hook_point, dictionary.reconstructed_hook_point
    batches, xs, ys = [], [], []
    for tokens, text in sample.batches(FORWARD_TOKENS, subject.device):
        values = subject.run(tokens, list(dict.fromkeys([reads, writes])))
        batches.append((tokens, text))
        xs.append(values[reads][text])
        ys.append(values[writes][text])
        run.add(tokens.numel())
    x, y = torch.cat(xs), torch.cat(ys)
    if dictionary.reconstructs and y.shape[1] != dictionary.d_out:
        raise DictionaryError(
            f"{dictionary.path} writes {dictionary.d_out} dimensions, but {writes} of the subject has {y.shape[1]}: it was trained"
            " on another model"
        )
    norms = x.norm(dim=1)
    if not len(norms):
        raise SaeError(NOTHING_COUNTED)
    check_finite(norms, reads)
    limit = max_norm_ratio * float(norms.median()) if norm_limit is None else norm_limit
    kept = norms <= limit
    counted, before = [], 0
    for tokens, text in batches:
        n = int(text.sum())
        counted.append((tokens, text.masked_scatter(text, kept[before : before + n])))
        before += n
    if not bool(kept.any()):
        raise SaeError(f"every token's norm at {reads} exceeds {limit:g}: raise harvest.max_norm_ratio")
    return _Values(counted, x[kept], y[kept])


def _loss(
    subject: Subject, writes: str, batches: list[tuple[Tensor, Tensor]], y_hat: Tensor, run: _TokensRun
) -> Loss | None:
    """The three losses over the first contexts; None if the subject's loss cannot be measured with its values at `writes` replaced."""
    sums, n, before = torch.zeros(3, dtype=torch.float64), 0, 0
    for tokens, counted in batches:
        value = y_hat.new_zeros(*counted.shape, y_hat.shape[1])
        value[counted] = y_hat[before : before + int(counted.sum())]
        before += int(counted.sum())
        # The model is causal: the beginning of a context has the same losses by itself.
        short = [tensor[:, :LOGIT_TOKENS] for tensor in (tokens, counted, value)]
        rows = max(1, LOGIT_TOKENS // short[0].shape[1])
        for start in range(0, len(tokens), rows):
            try:
                losses = _three_losses(subject, writes, *(tensor[start : start + rows] for tensor in short))
            except SubjectError:
                return None
            sums += losses.sum(dim=1)
            n += losses.shape[1]
            run.add(losses.numel())
            if n >= LOSS_TOKENS:
                break
        if n >= LOSS_TOKENS:
            break
    clean, reconstructed, zeroed = (sums / max(n, 1)).tolist()
    return Loss(clean, reconstructed, zeroed, n) if n else None


def _three_losses(subject: Subject, writes: str, tokens: Tensor, counted: Tensor, value: Tensor) -> Tensor:
    """Losses (3, n) of the n predictions of a counted token from a counted token: unchanged, with `value` and with 0 at `writes`."""
    predicted = counted[:, :-1] & counted[:, 1:]

    def losses(replacement: Tensor | None) -> Tensor:
        def edit(y: Tensor) -> Tensor:
            assert replacement is not None
            return torch.where(counted[..., None], replacement, y)

        all_losses = subject.losses(tokens, reads=writes, edit=None if replacement is None else edit)
        return all_losses[predicted].cpu().double()

    return torch.stack([losses(None), losses(value), losses(torch.zeros_like(value))])
