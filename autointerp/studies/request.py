"""What a study is made of, as a user names it: runs, a spec, or a model with dictionaries and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from autointerp.dictionaries.saelens_names import path_of
from autointerp.errors import UsageError
from autointerp.harvest.input_paths import check_paths
from autointerp.report.run_folder import folder_of
from autointerp.spec.sections import Corpus, Dictionary, Subject
from autointerp.spec.spec import Spec, load
from autointerp.spec.toml_files import wrong_key
from autointerp.studies.given import Given


@dataclass(frozen=True)
class Source:
    """A dictionary, and the finished run that explained its features, if there is one."""

    dictionary: Dictionary
    run: Path | None = None


@dataclass(frozen=True)
class Request:
    """The inputs of a study, not yet opened."""

    subject: Subject
    sources: tuple[Source, ...]
    corpus: Corpus | None = None

    @property
    def runs(self) -> list[Path]:
        """The folders of the runs."""
        return [source.run for source in self.sources if source.run]

    def check(self) -> None:
        """Raise `SaeError` if a local file is missing."""
        for source in self.sources:
            check_paths(source.dictionary, self.subject, self.corpus)


def request_of(given: Given) -> Request:
    """The request of a command line. The first run or spec gives the subject and the corpus, unless they are given.

    Raises `UsageError` for runs of different subjects, and if there is no subject or no dictionary.
    """
    specs = [_spec(name, given.results) for name in given.runs]
    subjects = [spec.subject for spec, _ in specs]
    subject = _section(Subject, {"model": given.subject}, "subject") if given.subject else None
    if subject is None and not subjects:
        raise UsageError("no subject: name a run or a spec, or give --subject MODEL with --dictionary")
    if subject is None and any(other != subjects[0] for other in subjects):
        raise UsageError(
            f"{', '.join(given.runs)} have different subjects: name runs of one subject, or give --subject"
        )
    sources = [Source(spec.dictionary, run) for spec, run in specs]
    for path in given.dictionaries:
        keys = {"path": path_of(path), "hook_point": given.hook_point}
        sources.append(Source(_section(Dictionary, keys, "dictionary")))
    if not sources:
        raise UsageError("no dictionary: name a run or a spec, or give --dictionary PATH")
    corpus = specs[0][0].corpus if specs else None
    if given.corpus:
        corpus = with_sources(corpus, given.corpus)
    return Request(subject or subjects[0], tuple(sources), corpus)


def with_sources(corpus: Corpus | None, sources: Sequence[str]) -> Corpus:
    """The corpus with other text, in the same contexts."""
    keys = corpus.model_dump() if corpus else {}
    replaced: Corpus = _section(Corpus, keys | {"sources": tuple(sources)}, "corpus")
    return replaced


def _spec(name: str, results: Path) -> tuple[Spec, Path | None]:
    """The spec of a run's folder with the folder, or of a file."""
    if name.endswith(".toml") and not Path(name).is_dir():
        return load(Path(name)), None
    folder = folder_of(name, results)
    return load(folder / "spec.toml"), folder


def _section(kind: type[Any], keys: dict[str, Any], name: str) -> Any:
    try:
        section: BaseModel = kind.model_validate(keys)
    except ValidationError as error:
        raise UsageError(wrong_key(error, kind, name)) from None
    return section
