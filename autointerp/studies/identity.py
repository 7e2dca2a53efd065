"""What decides a study's finding, known by content, so that a finished study is found without reading weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autointerp.harvest.input_paths import stamps
from autointerp.harvest.inputs import precision_of, source_of
from autointerp.hashing import content_hash
from autointerp.json_values import plain
from autointerp.progress import OnProgress
from autointerp.spec.sections import Corpus
from autointerp.studies.judging import Asking
from autointerp.studies.request import Request
from autointerp.studies.study import Study
from autointerp.studies.workbench import Workbench, corpus_of, explanations_of, with_bos_of
from sae.dictionary import Dictionary
from sae.formats.outline import DictionaryOutline
from sae.subject.model import Subject, outline_subject


@dataclass(frozen=True)
class Contents:
    """The subject and the dictionaries of a study by content. `subject` may be an outline; `precision` is that of its passes."""

    subject: Subject
    precision: str
    dictionaries: Sequence[Dictionary | DictionaryOutline]


def opened_contents(bench: Workbench) -> Contents:
    """The contents of loaded inputs."""
    return Contents(bench.subject, bench.subject.precision, [each.dictionary for each in bench.studied])


def unread_contents(request: Request, on_progress: OnProgress) -> Contents | None:
    """The contents of inputs whose weights are not read; None if those of a dictionary have to be.

    Raises `SaeError` for a subject or a dictionary that does not exist, and for a device that is missing.
    """
    request.check()
    outlines = [source_of(source.dictionary).remembered() for source in request.sources]
    known = [outline for outline in outlines if outline is not None]
    if len(known) < len(outlines):
        return None
    on_progress("reading the configuration", 0, 0)
    subject = outline_subject(request.subject.model, revision=request.subject.revision)
    return Contents(with_bos_of(subject, request, known[0]), precision_of(request.subject), known)


def study_id(study: Study, request: Request, contents: Contents, asking: Asking | None, on_progress: OnProgress) -> str:
    """The study's name with the hash of everything that decides its finding. Raises `SaeError` and `UsageError` for text."""
    if study.reads_text:
        text: Any = corpus_of(request, contents.subject, study.name, on_progress).fingerprint
    else:
        text = _unread(request.corpus)
    identity = {
        "study": [study.name, study.version, plain(asdict(study))],
        "subject": [contents.subject.fingerprint, contents.precision, contents.subject.bos_id],
        "dictionaries": [[each.fingerprint, each.hook_point] for each in contents.dictionaries],
        "explanations": [content_hash(explanations_of(source.run)) for source in request.sources],
        "corpus": text,
        "judge": plain(asking.settings.model_dump()) if asking else None,
    }
    return f"{study.name}-{content_hash(identity)[:8]}"


def _unread(corpus: Corpus | None) -> Any:
    """What identifies a corpus that is not read: its section of the spec, and sizes and times of its files."""
    return corpus and [plain(corpus), [stamps(source) for source in corpus.sources]]
