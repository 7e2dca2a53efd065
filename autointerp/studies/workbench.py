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
from autointerp.harvest.input_cache import InputCache
from autointerp.harvest.inputs import open_corpus, with_bos
from autointerp.judges.embedded.explanation_parser import NOTHING
from autointerp.progress import OnProgress, Progress
from autointerp.studies import judging
from autointerp.studies.folder import StudyFolder
from autointerp.studies.judging import Asking, Question
from autointerp.studies.request import Request
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.formats.outline import DictionaryOutline
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
        return corpus_of(self.request, self.subject, self.study, self.progress.update)

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


def opened(request: Request, progress: Progress, memory: InputCache) -> tuple[Subject, tuple[Studied, ...]]:
    """The subject and the dictionaries of a request, loaded unless they are in memory. Raises `SaeError` if something is missing or does not fit."""
    request.check()
    dictionaries = [memory.dictionary(source.dictionary, progress.update) for source in request.sources]
    subject = with_bos_of(memory.subject(request.subject, progress.update), request, dictionaries[0])
    for dictionary in dictionaries:
        dictionary.check_fits(subject.width(dictionary.hook_point), subject.name)
    studied = [
        Studied(name, dictionary, explanations_of(source.run), source.run)
        for name, dictionary, source in zip(names_of(dictionaries), dictionaries, request.sources, strict=True)
    ]
    return subject, tuple(studied)


def with_bos_of(subject: Subject, request: Request, dictionary: Dictionary | DictionaryOutline) -> Subject:
    """The subject with BOS before contexts, or without, as the corpus and the first dictionary's files state. Raises `SaeError`."""
    if request.corpus:
        return with_bos(subject, request.corpus, dictionary)
    return subject.with_bos(None, dictionary.trained_with_bos)


def corpus_of(request: Request, subject: Subject, study: str, on_progress: OnProgress) -> Corpus:
    """The text of a request in the subject's tokens. Raises `SaeError`, and `UsageError` if the request has none."""
    if request.corpus is None:
        raise UsageError(f"{study} reads text: give --corpus FILE, or --from RUN")
    return open_corpus(request.corpus, subject, on_progress)


def explanations_of(run: Path | None) -> dict[str, str]:
    """The explanations of a finished run by unit id, without those that make no claim."""
    if run is None:
        return {}
    table = pq.read_table(run / "units.parquet", columns=["unit_id", "explanation"]).to_pylist()
    return {row["unit_id"]: row["explanation"] for row in table if row["explanation"] not in (None, "", NOTHING)}


def names_of(dictionaries: Sequence[Dictionary | DictionaryOutline]) -> list[str]:
    """Short names: the hook point, with the width where several dictionaries share it, and a number where they share both."""
    names = _distinct([each.hook_point for each in dictionaries], [str(each.d_sae) for each in dictionaries])
    return _distinct(names, [str(names[: i + 1].count(name)) for i, name in enumerate(names)])


def _distinct(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """The names, each of those that occur more than once with its part."""
    return [f"{name}/{part}" if names.count(name) > 1 else name for name, part in zip(names, parts, strict=True)]
