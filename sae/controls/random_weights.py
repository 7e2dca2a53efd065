"""What was never trained, to compare with what was: a dictionary of random directions, and a subject with random weights.

Explanations of units earn grades even where nothing was learnt, for texts have common words. How much they earn is known only from
units that are read, explained and judged in the same way, and learnt nothing. Published floors of this kind disagree (Paulo et al.
2024, arXiv 2410.13928, find a low one; Heap et al. 2025, arXiv 2501.17727, one that is not), so each dictionary needs its own.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from sae.analysis import token_sample
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, SaeError, SubjectError
from sae.harvest.harvest import HarvestPlan, UnitReader, check_finite
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

TOKENS = 8192
"""Tokens on which a random dictionary is set: what fires less often than once in them cannot be matched."""
FORWARD_TOKENS = 2048
_APART = 1e-3
"""Standard deviations within which two values count as the same, so that rounding decides of no token whether a feature fires."""


class Source(NamedTuple):
    """Where units are read, and the largest norm of a counted token there."""

    reader: UnitReader
    limit: float


def of_dictionary(
    subject: Subject, dictionary: Dictionary, corpus: Corpus, plan: HarvestPlan, limit: float, features: Sequence[int]
) -> Source:
    """The stand-ins of `features` in a random dictionary, read from the subject. Raises `SaeError` where no token counts."""
    x = _within(_values(subject, dictionary.hook_point, corpus, plan), limit)
    drawn = random_dictionary(dictionary, x, features, plan.seed)
    keys = [UnitKey("feature", row, "") for row in range(len(features))]
    return Source(UnitReader(subject, drawn, keys), limit)


def of_subject(
    subject: Subject, dictionary: Dictionary, corpus: Corpus, plan: HarvestPlan, limit: float, features: Sequence[int]
) -> Source:
    """The dictionary's own `features`, read from a random subject whose values are brought to the subject's mean squared norm.

    `limit` is the subject's; the random one gets its own. Raises `SaeError` where no token counts, `SubjectError` as
    `random_subject` does.
    """
    hook_point = dictionary.hook_point
    expected = _within(_values(subject, hook_point, corpus, plan), limit)
    drawn = random_subject(subject, plan.seed)
    found = _values(drawn, hook_point, corpus, plan)
    own_limit = plan.max_norm_ratio * float(found.norm(dim=1).median())
    fitted = rescaled(dictionary, _within(found, own_limit), expected)
    return Source(UnitReader(drawn, fitted, [UnitKey("feature", index, "") for index in features]), own_limit)


def _values(subject: Subject, hook_point: str, corpus: Corpus, plan: HarvestPlan) -> Tensor:
    """What a hook point holds at `TOKENS` or so drawn tokens, (n, width)."""
    drawn = token_sample.draw(corpus, TOKENS, plan.seed, plan.skip_positions)
    batches = drawn.batches(FORWARD_TOKENS, subject.device)
    x = torch.cat([subject.run(tokens, [hook_point])[hook_point][text] for tokens, text in batches])
    check_finite(x.norm(dim=1), hook_point)
    return x


def _within(x: Tensor, limit: float) -> Tensor:
    """The rows of x (n, width) that a harvest would count."""
    counted = x[x.norm(dim=1) <= limit]
    if not len(counted):
        raise SaeError(NOTHING_COUNTED)
    return counted


@torch.no_grad()
def random_dictionary(dictionary: Dictionary, x: Tensor, features: Sequence[int], seed: int) -> Dictionary:
    """A dictionary of the same activation and normalisation whose row j is a random stand-in of feature `features[j]`.

    Encoder rows are uniform directions of norm 1, centred on the mean of x (n, d_in), as where b_dec starts at the data's mean;
    the decoder is their transpose, at the hook point that is read. Under relu each has the bias, and under jumprelu the
    threshold, by which it fires at as many rows of x as the feature does, or at one where that never fires. Features of
    topk and groupmax compete, so all others follow, and k is the dictionary's. A feature's row depends on `seed` and its number
    alone.
    """
    competing = dictionary.activation in ("topk", "groupmax")
    others = sorted(set(range(dictionary.d_sae)) - set(features)) if competing else []
    rows = _directions([*features, *others], dictionary.d_in, seed)
    n = len(rows)
    blank = Dictionary(
        W_enc=rows,
        b_enc=torch.zeros(n),
        W_dec=rows,
        b_dec=torch.zeros(dictionary.d_in),
        activation="relu",
        hook_point=dictionary.hook_point,
        input_norm=dictionary.input_norm,
        input_scale=dictionary.input_scale,
        architecture="random",
        path=f"random directions for {dictionary.path}",
    )
    prepared = blank.prepare(x.cpu())
    if competing:
        return replace(blank, b_enc=-(rows @ prepared.mean(dim=0)), activation=dictionary.activation, k=dictionary.k)
    where = dictionary.W_enc.device
    fired = (dictionary.encode(x.to(where), torch.tensor(features, device=where)) > 0).sum(dim=0).cpu()
    z = prepared @ rows.T
    limit = _limits(z.T, fired)
    if dictionary.threshold is None:
        return replace(blank, b_enc=-limit)
    bias = -torch.minimum(z.mean(dim=0), limit)
    return replace(blank, b_enc=bias, activation="jumprelu", threshold=limit + bias)


def _directions(numbers: Sequence[int], width: int, seed: int) -> Tensor:
    """Unit vectors (n, width), uniform on the sphere, each drawn by its own number."""
    rows = np.empty((len(numbers), width), dtype=np.float32)
    for row, number in zip(rows, numbers, strict=True):
        np.random.default_rng([seed, 12, number]).standard_normal(out=row, dtype=np.float32)
    return torch.nn.functional.normalize(torch.from_numpy(rows), dim=1)


def _limits(z: Tensor, fired: Tensor) -> Tensor:
    """What about `fired` (m,) of each row of z (m, n), but at least one, exceed: the middle of the gap next to the last of them, for
    what is alike stays together."""
    n = z.shape[1]
    wanted = fired.clamp(1, max(1, n - 1)).unsqueeze(1)
    last = z.sort(dim=1, descending=True).values.gather(1, wanted - 1)
    margin = _APART * z.std(dim=1, correction=0, keepdim=True).clamp_min(1e-6)
    above, below = z > last + margin, z < last - margin
    fewer, more = above.sum(dim=1, keepdim=True), n - below.sum(dim=1, keepdim=True)
    over = z.masked_fill(~above, torch.inf).amin(dim=1, keepdim=True)
    under = z.masked_fill(~below, -torch.inf).amax(dim=1, keepdim=True)
    under = torch.maximum(under, z.amin(dim=1, keepdim=True) - margin)
    nearer = (fewer > 0) & (wanted - fewer < more - wanted)
    return torch.where(nearer, (over + last) / 2, (last + under) / 2).squeeze(1)


def random_subject(subject: Subject, seed: int) -> Subject:
    """A subject of the same configuration, tokenizer and precision with new weights, as transformers initialises them.

    Needs as much memory again. Raises `SubjectError` where that is not there.
    """
    make: Any = AutoModelForCausalLM.from_config  # untyped
    config = copy.deepcopy(subject.model.config)
    try:
        with torch.random.fork_rng(devices=[]):  # on the CPU, so that every machine draws the same
            torch.default_generator.manual_seed(seed)
            model = make(config, dtype=subject.model.dtype, trust_remote_code=False)
        model = model.to(subject.device)
    except (MemoryError, RuntimeError) as error:
        if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
            raise
        raise SubjectError(
            f"no memory for {subject.name} a second time, with random weights: set controls.random_subject = false"
        ) from None
    known = json.dumps(["random", subject.fingerprint, seed])
    return Subject(
        model,
        subject.tokenizer,
        name=f"{subject.name} with random weights",
        fingerprint=hashlib.sha256(known.encode()).hexdigest(),
        precision=subject.precision,
    )


def rescaled(dictionary: Dictionary, found: Tensor, expected: Tensor) -> Dictionary:
    """The dictionary as it encodes values like `found` (n, d_in), multiplied by the one number that gives them the mean squared
    norm of `expected` (m, d_in). One that normalises each token's norm by itself needs none."""
    if dictionary.input_norm in ("layer_norm", "per_token"):
        return dictionary
    power = [float(x.double().square().sum(dim=1).mean()) for x in (found.cpu(), expected.cpu())]
    factor = (power[1] / power[0]) ** 0.5 if power[0] > 0 else 1.0
    before = dictionary.input_scale if dictionary.input_norm == "scale" else 1.0
    return replace(dictionary, input_norm="scale", input_scale=before * factor)
