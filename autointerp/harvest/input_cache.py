"""Subjects, dictionaries and corpora in memory, for specs that share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from autointerp.harvest.input_paths import check_paths, stamps
from autointerp.harvest.inputs import Inputs, open_corpus, open_dictionary, open_subject, with_bos
from autointerp.hashing import content_hash
from autointerp.progress import OnProgress, quiet
from autointerp.spec import sections
from autointerp.spec.spec import Spec
from sae.corpus.encoding import template_fingerprint
from sae.dictionary import Dictionary
from sae.subject.model import Subject

T = TypeVar("T")


class InputCache:
    """Subjects, dictionaries and corpora that a worker keeps in memory for jobs that share them; the least recently used one is
    dropped first."""

    SIZES: ClassVar[dict[str, int]] = {"subject": 1, "dictionary": 9, "corpus": 4}
    """Largest number kept of each kind."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {kind: {} for kind in self.SIZES}

    def subject(self, section: sections.Subject, on_progress: OnProgress, precision: str | None = None) -> Subject:
        """As `open_subject`."""
        identity: list[Any] = [section.model_dump(), precision or section.precision, stamps(section.model)]
        return self._get("subject", identity, lambda: open_subject(section, on_progress, precision=precision))

    def dictionary(self, section: sections.Dictionary, on_progress: OnProgress) -> Dictionary:
        """As `open_dictionary`."""
        identity = [section.model_dump(), stamps(section.path)]
        return self._get("dictionary", identity, lambda: open_dictionary(section, on_progress))

    def inputs(self, spec: Spec, precision: str | None = None, on_progress: OnProgress = quiet) -> Inputs:
        """As `open_inputs`, but loads only what is not in memory. Local files that have changed are loaded again."""
        check_paths(spec.dictionary, spec.subject, spec.corpus)
        subject = self.subject(spec.subject, on_progress, precision)
        dictionary = self.dictionary(spec.dictionary, on_progress)
        subject = with_bos(subject, spec.corpus, dictionary)
        dictionary.check_fits(subject.width(dictionary.hook_point))
        identity = [
            spec.corpus.model_dump(),
            subject.bos_id,
            subject.fingerprint,
            template_fingerprint(subject.tokenizer),
            [stamps(source) for source in spec.corpus.sources],
        ]
        corpus = self._get("corpus", identity, lambda: open_corpus(spec.corpus, subject, on_progress))
        return Inputs.loaded(spec, subject, dictionary, corpus)

    def _get(self, kind: str, identity: Any, load: Callable[[], T]) -> T:
        kept, key = self._kept[kind], content_hash(identity)  # a dict in order of use, the last used at its end
        loaded: T | None = kept.pop(key, None)
        while loaded is None and len(kept) >= self.SIZES[kind]:
            del kept[next(iter(kept))]  # before loading, so that memory never holds one more
        kept[key] = made = load() if loaded is None else loaded
        return made
