"""Does a dictionary fit this subject? Measured on a few thousand tokens, before anything is spent on its features.

    x, y   values at the hook points read and reconstructed, at the tokens that a harvest counts; y = x for an autoencoder
    variance explained   1 - sum ||y - y_hat||^2 / sum ||y - mean(y)||^2
    loss recovered       (zeroed - reconstructed) / (zeroed - clean), the subject's loss with y replaced by 0, by y_hat, by nothing

Where little is explained, the other layers and other normalisations are tried, because files often say them wrongly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sae.analysis import alternatives, token_sample
from sae.analysis.alternatives import Alternative
from sae.analysis.chunked import activity, reconstruct, variance_explained
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, DictionaryError, SaeError, SubjectError
from sae.subject.model import Subject

TOKENS = 8192
LOSS_TOKENS = 1024
"""Tokens of the sample over which the loss is measured, three times through the whole subject. Paired over tokens, it is sharp enough."""
FORWARD_TOKENS = 2048
LOGIT_TOKENS = 512
"""Tokens in a pass that computes logits: 512 of Gemma's 256,000 are 0.5 GB."""
SUSPECT = 0.5
"""Below this share of the variance other readings are tried. Published residual dictionaries explain 0.65 and more (Scaling
Monosemanticity: at least 0.65); very sparse ones fall below it and are right."""
POOR = 0.1
"""Below this share even a sparse dictionary is worth a second look."""
BETTER = 0.2
"""Another reading must explain this much more to be named: neighbouring layers of a right dictionary come within 0.1."""

Verdict = Literal["fits", "doubtful", "nothing"]


class Loss(NamedTuple):
    """Mean cross-entropy in nats a token, predictions at counted tokens only, over `tokens` of them."""

    clean: float
    reconstructed: float
    zeroed: float
    tokens: int

    @property
    def recovered(self) -> float | None:
        """1 when the reconstruction is as good as the value, 0 when as bad as none; None where zeroing costs nothing."""
        cost = self.zeroed - self.clean
        return (self.zeroed - self.reconstructed) / cost if cost > 0 and math.isfinite(cost) else None


@dataclass(frozen=True)
class Check:
    """What was measured over `tokens` counted tokens, and what it means. What needs a reconstruction is None where there is none.

    `dead_fraction`: features silent on all of them. `norm_ratio`: mean ||y_hat|| over mean ||y||. `cosine`: mean cosine of y and
    y_hat. `loss_recovered` is None where it has no meaning. `said` is the verdict in one line, empty when the dictionary fits.
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


class _Seen(NamedTuple):
    """A sample as read: its batches with the counted tokens (B, T) of each, and the values there, (n, d_in) and (n, d_out)."""

    batches: list[tuple[Tensor, Tensor]]
    x: Tensor
    y: Tensor


@torch.no_grad()
def check(
    subject: Subject,
    dictionary: Dictionary,
    corpus: Corpus,
    *,
    tokens: int = TOKENS,
    seed: int = 0,
    skip_positions: int = 1,
    max_norm_ratio: float = 10.0,
    norm_limit: float | None = None,
) -> Check:
    """Measure a dictionary on about `tokens` tokens of the corpus.

    Tokens whose norm exceeds `norm_limit`, or `max_norm_ratio` times the sample's median, do not count, and keep their value where
    the loss is measured. Raises `SaeError` where no token counts, `SubjectError` for hook points that are not there.
    """
    drawn = token_sample.draw(corpus, tokens, seed, skip_positions)
    seen = _read(subject, dictionary, drawn, max_norm_ratio, norm_limit)
    if not dictionary.reconstructs:
        l0, fired = activity(dictionary, seen.x)
        l0_mean, dead = float(l0.float().mean()), float((fired == 0).float().mean())
        return Check(len(seen.x), l0_mean, None, dead, None, None, None, None, "fits", "")
    y_hat, l0, fired = reconstruct(dictionary, seen.x)
    explained = variance_explained(seen.y, y_hat)
    loss = _loss(subject, dictionary.hook_point_out or dictionary.hook_point, seen.batches, y_hat)
    recovered = loss.recovered if loss else None
    found: list[Alternative] = []
    if not explained >= SUSPECT:
        found = alternatives.tried(subject, dictionary, drawn, seen.x, seen.y)
    verdict, said = judged(dictionary, explained, recovered, found)
    return Check(
        tokens=len(seen.x),
        l0=float(l0.float().mean()),
        variance_explained=explained,
        dead_fraction=float((fired == 0).float().mean()),
        norm_ratio=float(y_hat.norm(dim=1).mean() / seen.y.norm(dim=1).mean()),
        cosine=float(cosine_similarity(y_hat, seen.y).mean()),
        loss=loss,
        loss_recovered=recovered,
        verdict=verdict,
        said=said,
    )


def judged(
    dictionary: Dictionary, explained: float, recovered: float | None, found: list[Alternative]
) -> tuple[Verdict, str]:
    """The verdict, and why in one line. `found` are other readings, the best first.

    Little is explained by very sparse dictionaries too, and by ones trained for the loss alone: only what explains no variance
    and recovers no loss, or computes no numbers, explains nothing.
    """
    at = dictionary.hook_point_out or dictionary.hook_point
    figures = f"variance explained {explained:.2f}" + ("" if recovered is None else f", loss recovered {recovered:.2f}")
    finite = math.isfinite(explained) and (recovered is None or math.isfinite(recovered))
    nothing = not finite or (explained <= 0 and recovered is not None and recovered <= 0)
    best = next((other for other in found if not other.explained < explained + BETTER and other.explained > 0), None)
    if explained >= POOR and finite and best is None:
        return "fits", ""
    verdict: Verdict = "nothing" if nothing else "doubtful"
    start = f"explains {'nothing' if nothing else 'little'} of {at} ({figures}): "
    if not finite:
        return verdict, start + "its values are not finite; the weights are damaged, or of another format"
    if best is not None:
        return verdict, f"{start}{best.meaning}, where it would explain {best.explained:.2f}; {best.remedy}"
    return (
        verdict,
        start + "no other layer and no other normalisation does better; it may be of another model or revision",
    )


def _written(dictionary: Dictionary) -> str:
    """The hook point that it reconstructs; of one that reconstructs none, the one it reads."""
    return (dictionary.reconstructs and dictionary.hook_point_out) or dictionary.hook_point


def _read(
    subject: Subject,
    dictionary: Dictionary,
    drawn: token_sample.Sample,
    max_norm_ratio: float,
    norm_limit: float | None,
) -> _Seen:
    reads, writes = dictionary.hook_point, _written(dictionary)
    batches, xs, ys = [], [], []
    for tokens, text in drawn.batches(FORWARD_TOKENS, subject.device):
        sites = subject.run(tokens, list(dict.fromkeys([reads, writes])))
        batches.append((tokens, text))
        xs.append(sites[reads][text])
        ys.append(sites[writes][text])
    x, y = torch.cat(xs), torch.cat(ys)
    if dictionary.reconstructs and y.shape[1] != dictionary.d_out:
        raise DictionaryError(
            f"{dictionary.path} writes {dictionary.d_out} dimensions, but {writes} of the subject has {y.shape[1]}: it was trained"
            " on another model"
        )
    norms = x.norm(dim=1)
    if not len(norms):
        raise SaeError(NOTHING_COUNTED)
    if not bool(norms.isfinite().all()):
        raise SubjectError(
            f"the subject computes NaN or infinite values at {reads}: mend its weights, or raise subject.precision to float32"
        )
    limit = max_norm_ratio * float(norms.median()) if norm_limit is None else norm_limit
    kept = norms <= limit
    counted, before = [], 0
    for tokens, text in batches:
        n = int(text.sum())
        counted.append((tokens, text.masked_scatter(text, kept[before : before + n])))
        before += n
    if not bool(kept.any()):
        raise SaeError(f"every token's norm at {reads} exceeds {limit:g}: raise harvest.max_norm_ratio")
    return _Seen(counted, x[kept], y[kept])


def _loss(subject: Subject, writes: str, batches: list[tuple[Tensor, Tensor]], y_hat: Tensor) -> Loss | None:
    """The three losses over the first contexts; None where the subject has none with another value there."""
    sums, n, before = torch.zeros(3, dtype=torch.float64), 0, 0
    for tokens, counted in batches:
        value = y_hat.new_zeros(*counted.shape, y_hat.shape[1])
        value[counted] = y_hat[before : before + int(counted.sum())]
        before += int(counted.sum())
        # The model is causal: a context's beginning is as good as the whole.
        short = [tensor[:, :LOGIT_TOKENS] for tensor in (tokens, counted, value)]
        rows = max(1, LOGIT_TOKENS // short[0].shape[1])
        for start in range(0, len(tokens), rows):
            try:
                losses = _three_losses(subject, writes, *(tensor[start : start + rows] for tensor in short))
            except SubjectError:
                return None
            sums += losses.sum(dim=1)
            n += losses.shape[1]
            if n >= LOSS_TOKENS:
                break
        if n >= LOSS_TOKENS:
            break
    clean, reconstructed, zeroed = (sums / max(n, 1)).tolist()
    return Loss(clean, reconstructed, zeroed, n) if n else None


def _three_losses(subject: Subject, writes: str, tokens: Tensor, counted: Tensor, value: Tensor) -> Tensor:
    """Losses (3, n) of the n predictions from a counted token of a counted one: clean, with `value` there, with 0 there."""
    predicted = counted[:, :-1] & counted[:, 1:]

    def losses(replacement: Tensor | None) -> Tensor:
        def edit(y: Tensor) -> Tensor:
            assert replacement is not None
            return torch.where(counted[..., None], replacement, y)

        found = subject.losses(tokens, reads=writes, edit=None if replacement is None else edit)
        return found[predicted].cpu().double()

    return torch.stack([losses(None), losses(value), losses(torch.zeros_like(value))])
