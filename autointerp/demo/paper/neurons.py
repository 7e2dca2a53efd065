"""How like a neuron the features of a dictionary are, as in *Scaling Monosemanticity*, "Features vs. Neurons"."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.harvest.input_cache import InputCache
from autointerp.harvest.inputs import open_corpus
from autointerp.json_values import plain
from autointerp.progress import Progress
from autointerp.studies.given import Given
from autointerp.studies.request import request_of
from autointerp.studies.workbench import opened
from sae.analysis import dictionary_studies
from sae.files import write_text
from sae.harvest.uncounted import SKIP_POSITIONS
from sae.studies.counted_tokens import norm_limit

FEATURES = 512
"""Features that are drawn at random; those that are silent on the text do not count."""
TOKENS = 32_768
SEED = 0
FILE = "neurons.json"


def kept(dictionary: Path, given: Given, progress: Progress) -> dict[str, Any]:
    """The figures of the dictionary in a folder, which are kept beside it."""
    path = dictionary / FILE
    if not path.is_file():
        write_text(path, json.dumps(plain(_measured(dictionary, given, progress)), allow_nan=False) + "\n")
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def _measured(dictionary: Path, given: Given, progress: Progress) -> dict[str, Any]:
    request = request_of(replace(given, dictionaries=(str(dictionary),)))
    assert request.corpus is not None
    subject, (studied,) = opened(request, progress, InputCache())
    corpus = open_corpus(request.corpus, subject, progress.update)
    own = studied.dictionary.to(subject.device)
    drawn = np.random.default_rng(SEED).permutation(own.d_sae)[:FEATURES]
    figures = dictionary_studies.study(
        subject, own, corpus, tokens=TOKENS, features=np.sort(drawn).tolist(), seed=SEED, skip_positions=SKIP_POSITIONS,
        norm_limit=norm_limit(subject, corpus, own.hook_point),
        progress=lambda done, total: progress.update(f"neurons, {dictionary.name}", min(done, total), total),
    )  # fmt: skip
    correlation = figures["correlation"]
    signed, absolute = correlation["signed"], correlation["absolute"]
    return {
        "dictionary": dictionary.name,
        "tokens": figures["tokens"],
        "features": correlation["features"],
        "silent": correlation["silent"],
        "limit": signed["at_most"],
        "unlike": signed["share"],
        "unlike_absolute": absolute["share"],
        "median": signed["median"],
        "dead_share": figures["density"]["dead_share"],
        "l0": figures["l0"]["mean"],
    }
