"""Opens the subject and the dictionary of an index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.index.schema import About
from autointerp.explorer.live.model import LiveModel
from autointerp.explorer.live.questions import Source
from autointerp.harvest.input_cache import InputCache
from autointerp.harvest.inputs import with_bos
from autointerp.progress import Progress
from autointerp.spec import sections
from autointerp.spec.spec import load
from autointerp.studies.request import Request
from autointerp.studies.request import Source as Named
from autointerp.studies.workbench import opened
from sae.subject.few_rows import speed_up
from sae.subject.loading import choose_device

_THREADS = 8
"""Most threads of a pass: so few tokens are not read faster by more."""


def open_model(source: Source) -> LiveModel:
    """The subject and the dictionary that an index was made of, as its run's spec names them, or `index.json` if it has no run.

    On a CPU the pass runs in float32: a pass over few tokens in bfloat16 spends its time on the conversion of weights. Raises
    `UsageError` and `SaeError` if something is missing, broken, or no longer that of the index.
    """
    about = IndexFolder(Path(source.index)).about
    torch.set_num_threads(min(torch.get_num_threads(), _THREADS))
    spec = load(Path(source.run) / "spec.toml") if source.run else None
    request = Request(spec.subject, (Named(spec.dictionary),)) if spec else _named_in(about)
    if choose_device(request.subject.device).type == "cpu":
        request = replace(request, subject=request.subject.model_copy(update={"precision": "float32"}))
    subject, (studied,) = opened(request, Progress(quiet=True), InputCache())
    if spec:
        subject = with_bos(subject, spec.corpus, studied.dictionary)
    dictionary = studied.dictionary
    if (dictionary.d_sae, dictionary.hook_point) != (about.n_features, about.dictionary.hook_point):
        raise UsageError(
            f"{dictionary.path} has {dictionary.d_sae} features of {dictionary.hook_point}, and the index {about.n_features} of"
            f" {about.dictionary.hook_point}: make the index again"
        )
    speed_up(subject.model)
    return LiveModel(subject, studied, spec.harvest if spec else sections.Harvest())


def _named_in(about: About) -> Request:
    dictionary = sections.Dictionary(path=about.dictionary.path, hook_point=about.dictionary.hook_point)
    return Request(sections.Subject(model=about.subject.model), (Named(dictionary),))
