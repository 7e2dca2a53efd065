"""The opened inputs of a study: the subject, dictionaries with their explanations, text, and a judge if one is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

from autointerp.calls.answers import Answer
from autointerp.errors import UsageError
from autointerp.harvest.inputs import open_corpus, open_dictionary, open_subject, with_bos
from autointerp.progress import Progress
from autointerp.studies import judging
from autointerp.studies.folder import StudyFolder
from autointerp.studies.judging import Asking, Question
from autointerp.studies.request import Request
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.subject.model import Subject

T = TypeVar("T")


@dataclass(frozen=True)
class Studied:
    """A dictionary in a study: a short name that no other one has, and the explanations of its units by unit id."""

    name: str
    dictionary: Dictionary
    explanations: Mapping[str, str] = field(default_factory=dict)
    run: Path | None = None

    def explanation(self, unit_id: str) -> str:
        """A unit's explanation, or an empty text."""
        return self.explanations.get(unit_id, "")


@dataclass
class Workbench:
    """What a study works with. Raises `UsageError` for a corpus or a judge that was not given, once it is used."""

    request: Request
    subject: Subject
    studied: tuple[Studied, ...]
    folder: StudyFolder
    progress: Progress
    study: str
    asking: Asking | None = None
    study_id: str = ""
    """The study's name with the hash of everything that decides its finding."""

    @cached_property
    def corpus(self) -> Corpus:
        """The text in the subject's tokens."""
        if self.request.corpus is None:
            raise UsageError(f"{self.study} reads text: give --corpus FILE, or --from RUN")
        return open_corpus(self.request.corpus, self.subject, self.progress.update)

    @property
    def one(self) -> Studied:
        """The only dictionary. Raises `UsageError` if there are several."""
        if len(self.studied) > 1:
            raise UsageError(f"{self.study} takes one dictionary, not {len(self.studied)}: name one")
        return self.studied[0]

    def ask(self, questions: Sequence[Question[T]]) -> list[Answer[T]]:
        """The judge's answers, in the order of the questions, as `judging.ask`."""
        if self.asking is None:
            raise UsageError(f"{self.study} asks a judge: give --judge PROVIDER/MODEL")
        return judging.ask(self.asking, self.study_id, questions, self.progress)


def opened(request: Request, progress: Progress) -> tuple[Subject, tuple[Studied, ...]]:
    """Load the subject and the dictionaries of a request. Raises `SaeError` if something is missing or does not fit."""
    request.check()
    dictionaries = [open_dictionary(source.dictionary, progress.update) for source in request.sources]
    subject = open_subject(request.subject, progress.update)
    if request.corpus:
        subject = with_bos(subject, request.corpus, dictionaries[0])
    else:
        subject = subject.with_bos(None, dictionaries[0].trained_with_bos)
    for dictionary in dictionaries:
        dictionary.check_fits(subject.width(dictionary.hook_point), subject.name)
    studied = [
        Studied(name, dictionary, explanations_of(source.run), source.run)
        for name, dictionary, source in zip(_names(dictionaries), dictionaries, request.sources, strict=True)
    ]
    return subject, tuple(studied)


def explanations_of(run: Path | None) -> dict[str, str]:
    """The explanations of a finished run by unit id."""
    if run is None:
        return {}
    table = pq.read_table(run / "units.parquet", columns=["unit_id", "explanation"]).to_pylist()
    return {row["unit_id"]: row["explanation"] for row in table if row["explanation"]}


def _names(dictionaries: Sequence[Dictionary]) -> list[str]:
    """Short names: the hook point, with the width and a number where that is not enough."""
    names = [dictionary.hook_point for dictionary in dictionaries]
    if len(set(names)) < len(names):
        names = [f"{d.hook_point}/{d.d_sae}" for d in dictionaries]
    if len(set(names)) < len(names):
        names = [f"{name}/{number}" for number, name in enumerate(names, 1)]
    return names
