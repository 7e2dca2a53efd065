"""A model, a dictionary and texts, each an object, an id or a path, as a spec names them and as a run opens them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autointerp.dictionaries.saelens_names import path_of
from autointerp.errors import UsageError
from autointerp.harvest import inputs as harvest_inputs
from autointerp.harvest.inputs import Inputs
from autointerp.progress import OnProgress, quiet
from autointerp.spec.spec import Spec
from sae.dictionary import Dictionary
from sae.objects.calls import evaluating
from sae.objects.dictionary import TOKENS, dictionary_of
from sae.objects.statements import bos_of, hook_point_of
from sae.objects.subject import Named, subject_of
from sae.subject.model import Subject

OBJECT = "object:"
"""The beginning of the name of an object in memory, as a spec has it."""
_CONTEXTS = 32
"""Contexts from which the values are taken on which a dictionary is checked."""


@dataclass(frozen=True)
class Given:
    """The model and the dictionary of a call, each as it was given."""

    model: Any
    dictionary: Any
    tokenizer: Any = None

    def subject_table(self) -> dict[str, Any]:
        """The spec's table of the subject."""
        return {"model": _name(self.model, "model")}

    def dictionary_table(self, hook_point: str | None) -> dict[str, Any]:
        """The spec's table of the dictionary, by its path for one that SAELens names. Raises `UsageError` if nothing says where it reads."""
        if not _is_named(self.dictionary):
            hook_point = hook_point or hook_point_of(self.dictionary)
            if hook_point is None:
                raise UsageError(
                    f"dictionary {type(self.dictionary).__name__} does not say where it reads: give hook_point=, such as 'resid_post.8'"
                )
        return {"path": path_of(_name(self.dictionary, "dictionary")), "hook_point": hook_point}

    def opener(self, spec: Spec, named: Named | None = None) -> Opener:
        """The function that opens these inputs, with the model's subject, or `named` if it is known. Raises `SaeError` if the model
        cannot be used."""
        if named is not None:
            return Opener(self, named)
        if _is_named(self.model):
            if self.tokenizer is not None:
                raise UsageError(
                    "tokenizer is for a model in memory: a model that is named has its own, so leave it out"
                )
            return Opener(self, None)
        return Opener(self, subject_of(self.model, self.tokenizer, precision=spec.subject.precision))

    def evaluating(self) -> AbstractContextManager[None]:
        """Within the block, a model in memory is out of training mode."""
        return evaluating(self.model)


@dataclass(frozen=True)
class Opener:
    """Opens the inputs of a spec, those in memory as they are."""

    given: Given
    named: Named | None

    def spec(self, spec: Spec) -> Spec:
        """The spec, with the name by which a model in memory can be loaded again."""
        if self.named is None:
            return spec
        return spec.model_copy(update={"subject": spec.subject.model_copy(update={"model": self.named.source})})

    def subject(self, spec: Spec) -> Named:
        """The subject. Raises `SaeError`."""
        return self.named or Named(harvest_inputs.open_subject(spec.subject, quiet), spec.subject.model)

    def __call__(self, spec: Spec, on_progress: OnProgress) -> Inputs:
        """As `open_inputs`."""
        subject = self.named.subject if self.named else harvest_inputs.open_subject(spec.subject, on_progress)
        if _is_named(self.given.dictionary):
            dictionary = harvest_inputs.open_dictionary(spec.dictionary, on_progress)
        else:
            dictionary = self._dictionary(spec, subject, on_progress)
        return harvest_inputs.joined(spec, subject, dictionary, on_progress)

    def _dictionary(self, spec: Spec, subject: Subject, on_progress: OnProgress) -> Dictionary:
        """The dictionary in memory, checked on values of the corpus. Raises `SaeError`."""
        hook_point, bos = str(spec.dictionary.hook_point), bos_of(self.given.dictionary)
        setting = None if spec.corpus.bos == "auto" else spec.corpus.bos
        subject = subject.with_bos(setting, bos)
        corpus = harvest_inputs.open_corpus(spec.corpus, subject, on_progress)
        tokens, counted = corpus.batch(np.arange(min(_CONTEXTS, len(corpus.contexts))))
        counted[:, : 1 + spec.harvest.skip_positions] = False  # values at first positions are massive
        values = subject.run(torch.as_tensor(tokens), [hook_point])[hook_point]
        dictionary = dictionary_of(
            self.given.dictionary, hook_point, values[torch.as_tensor(counted)][:TOKENS], trained_with_bos=bos
        )
        for note in dictionary.notes:
            on_progress(f"dictionary {dictionary.architecture}: {note}", 0, 0)
        return dictionary


def _is_named(value: Any) -> bool:
    return isinstance(value, str | PathLike)


def _name(value: Any, what: str) -> str:
    """A path or id as the spec has it, or the class of an object. Raises `UsageError` for None."""
    if value is None:
        raise UsageError(f"{what} is None: give a path, a hub id or an object")
    return (
        str(Path(value).expanduser())
        if isinstance(value, Path)
        else value
        if isinstance(value, str)
        else f"{OBJECT}{type(value).__name__}"
    )
