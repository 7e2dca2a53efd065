"""Untrained controls: a dictionary of random directions, and a subject with random weights.

Explanations score above zero even if nothing was learnt, because texts share common words. How much they score can only be measured
on untrained units that are read, explained and judged in the same way. Published floors disagree (Paulo et al. 2024, arXiv
2410.13928, find a low one; Heap et al. 2025, arXiv 2501.17727, a high one), so each dictionary needs its own.
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
from sae.errors import NOTHING_COUNTED, DictionaryError, SaeError, SubjectError, one_line
from sae.harvest.harvest import HarvestPlan, UnitReader, check_finite
from sae.harvest.units import UnitKey
from sae.memory import available_memory
from sae.subject.model import Subject

TOKENS = 8192
"""Tokens on which a random dictionary is calibrated. A feature that is active less often than once in them cannot be matched."""
FORWARD_TOKENS = 2048
_SAME = 1e-3
"""Standard deviations within which two values count as equal, so that rounding does not decide whether a feature is active."""
_FLOAT_BYTES = 4
_COPIES = 3
"""Times that the rows of a random dictionary are in memory: as drawn, with norm 1, and in the encoder."""


class UnitSource(NamedTuple):
    """A reader of units, and the largest norm of a counted token there."""

    reader: UnitReader
    limit: float


def of_dictionary(
    subject: Subject, dictionary: Dictionary, corpus: Corpus, plan: HarvestPlan, limit: float, features: Sequence[int]
) -> UnitSource:
    """The counterparts of `features` in a random dictionary, read from the subject. Raises `SaeError` if no token counts."""
    x = counted_values(subject, dictionary.hook_point, corpus, plan, limit)
    random = random_dictionary(dictionary, x, features, plan.seed)
    keys = [UnitKey("feature", row, "") for row in range(len(features))]
    return UnitSource(UnitReader(subject, random, keys), limit)


def of_subject(
    subject: Subject, dictionary: Dictionary, corpus: Corpus, plan: HarvestPlan, limit: float, features: Sequence[int]
) -> UnitSource:
    """The dictionary's own `features`, read from a random subject whose values are scaled to the subject's mean squared norm.

    `limit` is the subject's norm limit; the random one gets its own. Raises `SaeError` if no token counts, and `SubjectError` as
    `random_subject` does.
    """
    hook_point = dictionary.hook_point
    expected = counted_values(subject, hook_point, corpus, plan, limit)
    random = random_subject(subject, plan.seed)
    values = _values(random, hook_point, corpus, plan)
    own_limit = plan.max_norm_ratio * float(values.norm(dim=1).median())
    fitted = rescaled(dictionary, _counted(values, own_limit), expected)
    return UnitSource(UnitReader(random, fitted, [UnitKey("feature", index, "") for index in features]), own_limit)


def counted_values(subject: Subject, hook_point: str, corpus: Corpus, plan: HarvestPlan, limit: float) -> Tensor:
    """Values (n, width) of a hook point at about `TOKENS` counted tokens drawn by the seed. Raises `SaeError` if none counts."""
    return _counted(_values(subject, hook_point, corpus, plan), limit)


def _values(subject: Subject, hook_point: str, corpus: Corpus, plan: HarvestPlan) -> Tensor:
    """Values (n, width) of a hook point at about `TOKENS` tokens drawn by the seed."""
    sample = token_sample.draw(corpus, TOKENS, plan.seed, plan.skip_positions)
    batches = sample.batches(FORWARD_TOKENS, subject.device)
    x = torch.cat([subject.run(tokens, [hook_point])[hook_point][text] for tokens, text in batches])
    check_finite(x.norm(dim=1), hook_point)
    return x


def _counted(x: Tensor, limit: float) -> Tensor:
    """The rows of x (n, width) that a harvest would count."""
    counted = x[x.norm(dim=1) <= limit]
    if not len(counted):
        raise SaeError(NOTHING_COUNTED)
    return counted


@torch.no_grad()
def random_dictionary(dictionary: Dictionary, x: Tensor, features: Sequence[int], seed: int) -> Dictionary:
    """A dictionary of the same activation and normalisation whose row j is the random counterpart of feature `features[j]`.

    Encoder rows are uniform directions of norm 1, centred on the mean of x (n, d_in), as in a dictionary whose b_dec starts at the
    data's mean; the decoder is their transpose, at the hook point that is read. Each feature is active at as many rows of x as its
    counterpart, and at one at least: under relu by its bias, under jumprelu by its threshold. Features of topk and groupmax
    compete, so all other features are drawn too, and k is the dictionary's. A feature's row depends only on `seed` and its number.
    Raises `DictionaryError` if there is too little memory for all of them.
    """
    competing = dictionary.activation in ("topk", "groupmax")
    if competing and not _fits(_COPIES * dictionary.d_sae * dictionary.d_in * _FLOAT_BYTES):
        raise DictionaryError(
            f"too little memory for the {dictionary.d_sae} features of {dictionary.path} with random weights, which compete and are"
            " drawn together: set controls.random_dictionary = false"
        )
    others = sorted(set(range(dictionary.d_sae)) - set(features)) if competing else []
    rows = unit_vectors([*features, *others], dictionary.d_in, seed)
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
    device = dictionary.W_enc.device
    n_active = (dictionary.encode(x.to(device), torch.tensor(features, device=device)) > 0).sum(dim=0).cpu()
    z = prepared @ rows.T
    limit = _limits(z.T, n_active)
    if dictionary.threshold is None:
        return replace(blank, b_enc=-limit)
    bias = -torch.minimum(z.mean(dim=0), limit)  # centred, but never so that the threshold would be negative
    return replace(blank, b_enc=bias, activation="jumprelu", threshold=limit + bias)


def unit_vectors(numbers: Sequence[int], width: int, seed: int, stream: int = 12) -> Tensor:
    """Unit vectors (n, width), uniform on the sphere, each drawn from a generator seeded with its own number and the stream."""
    rows = np.empty((len(numbers), width), dtype=np.float32)
    for row, number in zip(rows, numbers, strict=True):
        np.random.default_rng([seed, stream, number]).standard_normal(out=row, dtype=np.float32)
    return torch.nn.functional.normalize(torch.from_numpy(rows), dim=1)


def _limits(z: Tensor, n_active: Tensor) -> Tensor:
    """For each row of z (m, n), a limit that about `n_active` (m,) of its values exceed, but one at least.

    Values that are equal but for rounding stay on one side, so the limit is the middle of the gap above or below the group of
    equals that the last active value belongs to, whichever brings the count nearer.
    """
    n = z.shape[1]
    target = n_active.clamp(1, max(1, n - 1)).unsqueeze(1)
    last = z.sort(dim=1, descending=True).values.gather(1, target - 1)
    margin = _SAME * z.std(dim=1, correction=0, keepdim=True).clamp_min(1e-6)
    above, below = z > last + margin, z < last - margin
    without_group, with_group = above.sum(dim=1, keepdim=True), n - below.sum(dim=1, keepdim=True)
    next_above = z.masked_fill(~above, torch.inf).amin(dim=1, keepdim=True)
    next_below = z.masked_fill(~below, -torch.inf).amax(dim=1, keepdim=True)
    next_below = torch.maximum(next_below, z.amin(dim=1, keepdim=True) - margin)
    leave_out = (without_group > 0) & (target - without_group < with_group - target)
    return torch.where(leave_out, (next_above + last) / 2, (last + next_below) / 2).squeeze(1)


def random_subject(subject: Subject, seed: int) -> Subject:
    """A subject of the same configuration, tokenizer and precision with new weights, as transformers initialises them.

    Needs the subject's memory a second time. Raises `SubjectError` if there is too little, or if transformers cannot make the model.
    """
    make: Any = AutoModelForCausalLM.from_config  # untyped
    config = copy.deepcopy(subject.model.config)
    weights = [*subject.model.parameters(), *subject.model.buffers()]
    try:
        if not _fits(sum(weight.numel() * weight.element_size() for weight in weights)):
            raise MemoryError
        with torch.random.fork_rng(devices=[]):  # on the CPU, so that every machine draws the same weights
            torch.default_generator.manual_seed(seed)
            model = make(config, dtype=subject.model.dtype, trust_remote_code=False)
        model = model.to(subject.device)
    except Exception as error:  # from_config is code of each architecture, and raises errors of any class
        lacks_memory = isinstance(error, MemoryError) or "memory" in str(error).lower()
        problem = (
            f"too little memory for {subject.name} a second time, with random weights"
            if lacks_memory
            else f"{subject.name} cannot be made with random weights ({one_line(error)})"
        )
        raise SubjectError(f"{problem}: set controls.random_subject = false") from None
    known = json.dumps(["random", subject.fingerprint, seed])
    return Subject(
        model,
        subject.tokenizer,
        name=f"{subject.name} with random weights",
        fingerprint=hashlib.sha256(known.encode()).hexdigest(),
        precision=subject.precision,
        bos=subject.bos,
    )


def _fits(n_bytes: int) -> bool:
    """Whether this much memory is available, or unknown. A process that takes more may be killed without an error."""
    available = available_memory()
    return available is None or n_bytes < available


def rescaled(dictionary: Dictionary, values: Tensor, expected: Tensor) -> Dictionary:
    """The dictionary with its input scaled so that `values` (n, d_in) get the mean squared norm of `expected` (m, d_in).

    A dictionary that normalises each token by itself is returned unchanged.
    """
    if dictionary.input_norm in ("layer_norm", "per_token"):
        return dictionary
    power = [float(x.double().square().sum(dim=1).mean()) for x in (values.cpu(), expected.cpu())]
    factor = (power[1] / power[0]) ** 0.5 if power[0] > 0 else 1.0
    before = dictionary.input_scale if dictionary.input_norm == "scale" else 1.0
    return replace(dictionary, input_norm="scale", input_scale=before * factor)
