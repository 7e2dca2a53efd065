"""The inputs of a spec, opened and fingerprinted: subject, dictionary, corpus.

A run is named by the content of its inputs, not by where they lie: moving a folder changes nothing, changing a weight does.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from autointerp.hashing import content_hash
from autointerp.progress import Tell, quiet
from autointerp.spec import sections
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec
from sae.corpus import corpus as corpora
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.harvest.units import UnitKey, sample_units
from sae.subject.model import Subject, load_subject, outline_subject
from sae.subject.token_text import token_texts


@dataclass(frozen=True)
class Identified:
    """The inputs of a spec by content: the fingerprints of subject, dictionary and corpus."""

    spec: Spec
    subject: str
    dictionary: str
    hook_point: str
    corpus: str

    def identity(self, rubric: Rubric) -> dict[str, Any]:
        """The spec's identity with every path replaced by the fingerprint of what lies there."""
        identity = self.spec.identity()
        identity["subject"] |= {"model": self.subject, "revision": None}
        identity["dictionary"] |= {"path": self.dictionary, "revision": None, "hook_point": self.hook_point, "k": None}
        identity["corpus"] = {"fingerprint": self.corpus}
        identity["score"]["rubric"] = rubric.hash
        return identity

    def run_id(self, rubric: Rubric) -> str:
        """The run's name and the first digits of its identity's hash."""
        return f"{self.spec.name}-{content_hash(self.identity(rubric))[:8]}"


@dataclass(frozen=True)
class Inputs:
    """A spec's subject, dictionary and corpus, loaded."""

    spec: Spec
    subject: Subject
    dictionary: Dictionary
    corpus: Corpus

    @property
    def identified(self) -> Identified:
        """The same by content."""
        dictionary = self.dictionary
        fingerprints = self.subject.fingerprint, dictionary.fingerprint, dictionary.hook_point, self.corpus.fingerprint
        return Identified(self.spec, *fingerprints)

    def run_id(self, rubric: Rubric) -> str:
        """See `Identified.run_id`."""
        return self.identified.run_id(rubric)

    def harvest_key(self) -> str:
        """Hash of everything that decides the harvest, the precision in use included."""
        spec = self.spec
        return content_hash(
            {
                "subject": [self.subject.fingerprint, self.subject.precision],
                "dictionary": [self.dictionary.fingerprint, self.dictionary.hook_point],
                "corpus": self.corpus.fingerprint,
                "units": spec.identity()["units"],
                "harvest": spec.identity()["harvest"],
                "kept": [spec.explain.top, spec.explain.spread, spec.explain.quiet, spec.explain.min_exemplars],
                "judged": [spec.score.per_bin, spec.silent_windows],
                "version": 5,
            }
        )

    def pass_key(self) -> str:
        """Hash of everything that decides how the subject is run: harvests that share it can be read in one pass."""
        harvest = self.spec.harvest
        subject = self.subject.fingerprint, self.subject.precision
        return content_hash([*subject, self.corpus.fingerprint, harvest.shard_tokens, harvest.batch_tokens])

    def token_texts(self, ids: np.ndarray) -> list[str]:
        """One string for each token id, shape (n,), together the decoded text."""
        return token_texts(self.subject.tokenizer, ids.tolist())

    def units(self) -> tuple[UnitKey, ...]:
        """The units that the spec names or draws. Raises `SaeError` where the model has no such units."""
        wanted = self.spec.units
        width = 0
        if wanted.neurons or wanted.neuron_ids:
            width = self.subject.width(self.subject.neuron_hook_point(self.dictionary.hook_point))
        return sample_units(
            self.dictionary.d_sae,
            width,
            features=wanted.features,
            neurons=wanted.neurons,
            seed=wanted.seed,
            feature_ids=wanted.feature_ids,
            neuron_ids=wanted.neuron_ids,
        )


def open_inputs(spec: Spec, tell: Tell, *, precision: str | None = None) -> Inputs:
    """Load what the spec names. Raises `SaeError` where something is missing, broken or does not fit.

    `precision` takes the place of the spec's where another machine has settled it.
    """
    dictionary = open_dictionary(spec.dictionary, tell)
    subject = open_subject(spec.subject, tell, precision=precision)
    dictionary.check_fits(subject.width(dictionary.hook_point))
    return Inputs(spec, subject, dictionary, open_corpus(spec.corpus, subject, tell))


def identify(spec: Spec, tell: Tell) -> Identified:
    """Fingerprint what the spec names, without reading the subject's weights. Raises `SaeError` as `open_inputs` does,
    except for weights that are damaged, and where the units that the spec wants are not there."""
    dictionary = open_dictionary(spec.dictionary, tell)
    tell("reading the subject's configuration", 0, 0)
    subject = outline_subject(spec.subject.model, revision=spec.subject.revision)
    dictionary.check_fits(subject.width(dictionary.hook_point))
    inputs = Inputs(spec, subject, dictionary, open_corpus(spec.corpus, subject, tell))
    inputs.units()
    return inputs.identified


def open_subject(given: sections.Subject, tell: Tell, *, precision: str | None = None) -> Subject:
    """The subject that a spec names. Raises `SaeError`."""
    tell("loading the subject", 0, 0)
    return load_subject(
        given.model, revision=given.revision, precision=precision or given.precision, device=given.device
    )


def open_dictionary(given: sections.Dictionary, tell: Tell) -> Dictionary:
    """The dictionary that a spec names. Raises `SaeError`."""
    tell("loading the dictionary", 0, 0)
    return load_dictionary(
        given.path, format=given.format, hook_point=given.hook_point, revision=given.revision, k=given.k
    )


def open_corpus(given: sections.Corpus, subject: Subject, tell: Tell) -> Corpus:
    """The corpus that a spec names, in the subject's tokens. Raises `SaeError`."""
    return corpora.open_corpus(
        given.sources,
        tokenizer=subject.tokenizer,
        tokenizer_fingerprint=subject.fingerprint,
        context_tokens=given.context_tokens,
        max_tokens=given.max_tokens,
        text_field=given.text_field,
        split=given.split,
        bos_id=subject.bos_id,
        special_ids=subject.special_ids,
        progress=lambda done, total: tell("reading the corpus", done, total),
    )


class Opened:
    """Subjects, dictionaries and corpora that a worker keeps between jobs that share them, the least recently used given up first."""

    MOST: ClassVar[dict[str, int]] = {"subject": 1, "dictionary": 9, "corpus": 4}

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {kind: {} for kind in self.MOST}

    def inputs(self, spec: Spec, precision: str | None = None, tell: Tell = quiet) -> Inputs:
        """As `open_inputs`, loading only what is not at hand. Local files that changed since are loaded again."""
        given, sources = spec.subject, spec.corpus.sources
        about: list[Any] = [given.model_dump(), precision or given.precision, _stamps(given.model)]
        subject = self._keep("subject", about, lambda: open_subject(given, tell, precision=precision))
        about = [spec.dictionary.model_dump(), _stamps(spec.dictionary.path)]
        dictionary = self._keep("dictionary", about, lambda: open_dictionary(spec.dictionary, tell))
        dictionary.check_fits(subject.width(dictionary.hook_point))
        about = [spec.corpus.model_dump(), subject.fingerprint, [_stamps(source) for source in sources]]
        corpus = self._keep("corpus", about, lambda: open_corpus(spec.corpus, subject, tell))
        return Inputs(spec, subject, dictionary, corpus)

    def _keep(self, kind: str, about: Any, load: Callable[[], Any]) -> Any:
        kept, key = self._kept[kind], content_hash(about)
        found = kept.pop(key, None)
        while found is None and len(kept) >= self.MOST[kind]:
            del kept[next(iter(kept))]  # before loading, so that memory never holds one more
        kept[key] = load() if found is None else found
        return kept[key]


def _stamps(path: str) -> list[tuple[str, int, int]]:
    """Size and modification time of every local file that a path or glob names; of hub ids and data sets, none."""
    here = Path(path).expanduser()
    found = here.iterdir() if here.is_dir() else map(Path, glob.glob(str(here), recursive=True))
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(found) if p.is_file()]
