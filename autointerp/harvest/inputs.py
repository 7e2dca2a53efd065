"""The inputs of a spec, opened and fingerprinted: subject, dictionary and corpus.

A run is named by the content of its inputs, not by their paths: moving a folder changes nothing, changing a weight does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from autointerp.harvest import given_explanations
from autointerp.harvest.input_paths import check_paths
from autointerp.hashing import content_hash
from autointerp.progress import OnProgress
from autointerp.spec import sections
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec
from sae.corpus import corpus as corpora
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import CorpusError
from sae.formats.outline import DictionaryOutline, DictionarySource
from sae.harvest.units import UnitKey, sample_units
from sae.subject.capacity import check_context, check_ids
from sae.subject.loading import choose_device, choose_precision
from sae.subject.model import Subject, load_subject, outline_subject
from sae.subject.token_text import token_texts

HARVEST_VERSION = 6
"""Version of the harvest's content, part of its key: increase it with every change that can alter exemplars."""
EARLIER_VERSION = 5
"""The version before, whose finished harvests still serve the runs that began with them."""


@dataclass(frozen=True)
class Identified:
    """The inputs of a spec by content: fingerprints of subject, dictionary and corpus."""

    spec: Spec
    subject: str
    dictionary: str
    hook_point: str
    corpus: str
    drawn: tuple[str, ...] = ()
    """The units, if they are drawn from those with given explanations; empty if the spec alone says which they are."""

    def identity(self, rubric: Rubric) -> dict[str, Any]:
        """The spec's identity with every path replaced by the fingerprint of its content."""
        identity = self.spec.identity()
        identity["subject"] |= {"model": self.subject, "revision": None}
        identity["dictionary"] |= {"path": self.dictionary, "revision": None, "hook_point": self.hook_point, "k": None}
        identity["corpus"] = {"fingerprint": self.corpus}
        identity["score"]["rubric"] = rubric.hash
        if given := given_explanations.of_spec(self.spec):
            identity["explain"]["given"] = given.fingerprint
        return identity

    def run_id(self, rubric: Rubric) -> str:
        """The run's id: the spec's name and the first digits of the identity's hash."""
        return f"{self.spec.name}-{content_hash(self.identity(rubric))[:8]}"

    def harvest_key(self, precision: str, version: int = HARVEST_VERSION) -> str:
        """Hash of everything that decides the harvest in a precision."""
        spec = self.spec
        chosen = {
            "harvest": spec.identity()["harvest"],
            "kept": [spec.explain.top, spec.explain.spread, spec.explain.quiet, spec.explain.min_exemplars],
            "judged": [spec.score.per_bin, spec.silent_windows],
        }
        return content_hash(self._read(precision, version) | chosen)

    def reading_key(self, precision: str, version: int = HARVEST_VERSION) -> str:
        """Hash of everything that decides which activations are read, however many of them are kept, judged or shown."""
        harvest = self.spec.harvest
        counted = [harvest.window_tokens, harvest.skip_positions, harvest.max_norm_ratio]
        return content_hash(self._read(precision, version) | {"counted": counted})

    def _read(self, precision: str, version: int) -> dict[str, Any]:
        return {
            "subject": [self.subject, precision],
            "dictionary": [self.dictionary, self.hook_point],
            "corpus": self.corpus,
            "units": self.spec.identity()["units"] | ({"drawn": list(self.drawn)} if self.drawn else {}),
            "version": version,
        }


@dataclass(frozen=True)
class Inputs:
    """A spec's subject, dictionary and corpus, and the version of their harvest.

    `subject_outline` and `dictionary_outline` may be without weights. `subject` and `dictionary` have them: `load` reads them the first
    time that one is asked for, and raises `SaeError`.
    """

    spec: Spec
    subject_outline: Subject
    dictionary_outline: Dictionary | DictionaryOutline
    corpus: Corpus
    load: Callable[[], tuple[Subject, Dictionary]]
    version: int = HARVEST_VERSION

    @classmethod
    def loaded(cls, spec: Spec, subject: Subject, dictionary: Dictionary, corpus: Corpus) -> Inputs:
        """Inputs whose weights are in memory."""
        return cls(spec, subject, dictionary, corpus, lambda: (subject, dictionary))

    @property
    def subject(self) -> Subject:
        """The subject with its weights."""
        return self.load()[0]

    @property
    def dictionary(self) -> Dictionary:
        """The dictionary with its weights."""
        return self.load()[1]

    @property
    def identified(self) -> Identified:
        """These inputs by content."""
        return _by_content(self.spec, self.subject_outline, self.dictionary_outline, self.corpus)

    def run_id(self, rubric: Rubric) -> str:
        """As `Identified.run_id`."""
        return self.identified.run_id(rubric)

    def harvest_key(self) -> str:
        """Hash of everything that decides the harvest, including the precision in use."""
        return self.identified.harvest_key(self.subject_outline.precision, self.version)

    def reading_key(self) -> str:
        """Hash of everything that decides which activations are read."""
        return self.identified.reading_key(self.subject_outline.precision, self.version)

    def pass_key(self) -> str:
        """Hash of everything that decides how the subject is run. Harvests with the same pass key can be read in one pass."""
        harvest = self.spec.harvest
        subject = self.subject_outline.fingerprint, self.subject_outline.precision
        return content_hash([*subject, self.corpus.fingerprint, harvest.shard_tokens, harvest.batch_tokens])

    def token_texts(self, ids: np.ndarray) -> list[str]:
        """One string for each of the token ids (n,); joined, they are the decoded text."""
        return token_texts(self.subject_outline.tokenizer, ids.tolist())

    def units(self) -> tuple[UnitKey, ...]:
        """The units that the spec names or draws, or draws from those whose explanations it gives.

        Raises `SaeError` if the model has no such units.
        """
        return _units(self.spec, self.subject_outline, self.dictionary_outline)


def _sample(names: Sequence[Any], number: int, seed: int) -> tuple[Any, ...]:
    """At most `number` of the names, in the order of a draw by the seed."""
    order = np.random.default_rng([seed, 3]).permutation(len(names))[:number]
    return tuple(names[i] for i in order)


def open_inputs(spec: Spec, on_progress: OnProgress, *, precision: str | None = None) -> Inputs:
    """Load the spec's inputs. Raises `SaeError` if something is missing, broken or does not fit.

    `precision`, if another worker has decided it, replaces the spec's.
    """
    check_paths(spec.dictionary, spec.subject, spec.corpus)
    dictionary = open_dictionary(spec.dictionary, on_progress)
    subject = open_subject(spec.subject, on_progress, precision=precision)
    return joined(spec, subject, dictionary, on_progress)


def open_unread(spec: Spec, on_progress: OnProgress) -> Inputs:
    """As `open_inputs`, but weights are read when they are first asked for, unless the dictionary's outline is not remembered."""
    check_paths(spec.dictionary, spec.subject, spec.corpus)
    outline = source_of(spec.dictionary).remembered()
    if outline is None:
        return open_inputs(spec, on_progress)
    subject, corpus = _outlined(spec, outline, on_progress, precision_of(spec.subject))

    @cache
    def load() -> tuple[Subject, Dictionary]:
        dictionary = open_dictionary(spec.dictionary, on_progress)
        whole = with_bos(open_subject(spec.subject, on_progress), spec.corpus, dictionary)
        dictionary.check_fits(whole.width(dictionary.hook_point))
        return whole, dictionary

    return Inputs(spec, subject, outline, corpus, load)


OpenInputs = Callable[[Spec, OnProgress], Inputs]
"""Opens the inputs of a spec: `open_inputs`, or a function that has some of them in memory."""


def joined(spec: Spec, subject: Subject, dictionary: Dictionary, on_progress: OnProgress) -> Inputs:
    """Inputs of a loaded subject and dictionary, with the spec's corpus. Raises `SaeError` if they do not fit each other."""
    subject = with_bos(subject, spec.corpus, dictionary)
    dictionary.check_fits(subject.width(dictionary.hook_point))
    corpus = open_corpus(spec.corpus, subject, on_progress)
    _check_documents(spec, corpus)
    return Inputs.loaded(spec, subject, dictionary, corpus)


def identify(spec: Spec, on_progress: OnProgress) -> Identified:
    """Fingerprint the spec's inputs without reading the subject's weights.

    Raises `SaeError` as `open_inputs` does, except for damaged weights, and if the units that the spec requests do not exist.
    """
    check_paths(spec.dictionary, spec.subject, spec.corpus)
    source = source_of(spec.dictionary)
    outline = source.remembered() or DictionaryOutline.of(open_dictionary(spec.dictionary, on_progress))
    return _identified(spec, outline, on_progress)


def identify_unread(spec: Spec, on_progress: OnProgress) -> Identified | None:
    """As `identify`, but None if the dictionary's weights would have to be read too."""
    check_paths(spec.dictionary, spec.subject, spec.corpus)
    outline = source_of(spec.dictionary).remembered()
    return _identified(spec, outline, on_progress) if outline else None


def precision_of(section: sections.Subject) -> str:
    """The precision in which a subject runs on this machine. Raises `SubjectError`."""
    return choose_precision(section.precision, choose_device(section.device))


def _identified(spec: Spec, outline: DictionaryOutline, on_progress: OnProgress) -> Identified:
    subject, corpus = _outlined(spec, outline, on_progress)
    return _by_content(spec, subject, outline, corpus)


def _outlined(
    spec: Spec, outline: DictionaryOutline, on_progress: OnProgress, precision: str = "float32"
) -> tuple[Subject, Corpus]:
    """The subject without its weights, which would be in `precision`, and the corpus.

    Raises `SaeError` as `open_inputs` does, and for units that do not exist.
    """
    on_progress("reading the configuration", 0, 0)
    subject = outline_subject(spec.subject.model, revision=spec.subject.revision, precision=precision)
    subject = with_bos(subject, spec.corpus, outline)
    outline.check_fits(subject.width(outline.hook_point))
    corpus = open_corpus(spec.corpus, subject, on_progress)
    _check_documents(spec, corpus)
    _units(spec, subject, outline)
    return subject, corpus


def _by_content(spec: Spec, subject: Subject, dictionary: Dictionary | DictionaryOutline, corpus: Corpus) -> Identified:
    fingerprints = subject.fingerprint, dictionary.fingerprint, dictionary.hook_point, corpus.fingerprint
    return Identified(spec, *fingerprints, _drawn_from_given(spec, subject, dictionary))


def _units(spec: Spec, subject: Subject, dictionary: Dictionary | DictionaryOutline) -> tuple[UnitKey, ...]:
    given, requested = given_explanations.of_spec(spec), spec.units
    own = _requested_units(requested, subject, dictionary)
    if given is None or all(unit.unit_id in given.texts for unit in own):
        return own
    drawn: dict[str, Any] = {}
    if requested.feature_ids is None:
        drawn["feature_ids"] = _sample(given.features, requested.features, requested.seed)
    if requested.neuron_ids is None:
        drawn["neuron_ids"] = _sample(given.neurons, requested.neurons, requested.seed)
    return _requested_units(requested.model_copy(update=drawn), subject, dictionary)


def _drawn_from_given(spec: Spec, subject: Subject, dictionary: Dictionary | DictionaryOutline) -> tuple[str, ...]:
    """The ids of the units, if they are drawn from those with given explanations and the spec alone does not say which."""
    if not spec.explain.given:
        return ()
    units = _units(spec, subject, dictionary)
    is_own = units == _requested_units(spec.units, subject, dictionary)
    return () if is_own else tuple(unit.unit_id for unit in units)


def _requested_units(
    requested: sections.Units, subject: Subject, dictionary: Dictionary | DictionaryOutline
) -> tuple[UnitKey, ...]:
    n_mlp = 0
    if requested.neurons or requested.neuron_ids:
        n_mlp = subject.width(subject.neuron_hook_point(dictionary.hook_point))
    return sample_units(
        dictionary.d_sae,
        n_mlp,
        features=requested.features,
        neurons=requested.neurons,
        seed=requested.seed,
        feature_ids=requested.feature_ids,
        neuron_ids=requested.neuron_ids,
    )


def open_subject(section: sections.Subject, on_progress: OnProgress, *, precision: str | None = None) -> Subject:
    """The subject that a spec names. Raises `SaeError`."""
    on_progress("loading the subject", 0, 0)
    return load_subject(
        section.model, revision=section.revision, precision=precision or section.precision, device=section.device
    )


def open_dictionary(section: sections.Dictionary, on_progress: OnProgress) -> Dictionary:
    """The dictionary that a spec names, whose outline is remembered. Raises `SaeError`."""
    on_progress("loading the dictionary", 0, 0)
    return source_of(section).load()


def source_of(section: sections.Dictionary) -> DictionarySource:
    """Where the dictionary of a spec is read from."""
    return DictionarySource(section.path, section.format, section.hook_point, section.revision, section.k)


def with_bos(
    subject: Subject, section: sections.Corpus, dictionary: Dictionary | DictionaryOutline | None = None
) -> Subject:
    """The subject with BOS before contexts, or without, as `corpus.bos` and the dictionary's files state. Raises `SaeError`."""
    setting = None if section.bos == "auto" else section.bos
    return subject.with_bos(setting, dictionary.trained_with_bos if dictionary else None)


def open_corpus(section: sections.Corpus, subject: Subject, on_progress: OnProgress) -> Corpus:
    """The corpus that a spec names, in the subject's tokens. Raises `SaeError`, also if the subject has no position or embedding
    for a token."""
    check_context(subject, section.context_tokens)
    corpus = corpora.open_corpus(
        section.sources,
        tokenizer=subject.tokenizer,
        tokenizer_fingerprint=subject.fingerprint,
        context_tokens=section.context_tokens,
        max_tokens=section.max_tokens,
        text_field=section.text_field,
        split=section.split,
        count_template=section.count_template,
        bos_id=subject.bos_id,
        special_ids=subject.special_ids,
        progress=lambda done, total: on_progress("reading the corpus", done, total),
    )
    check_ids(subject, corpus.largest_id)
    return corpus


def _check_documents(spec: Spec, corpus: Corpus) -> None:
    """Raises `CorpusError` if the corpus has fewer documents than a unit must be active in to be explained."""
    if corpus.n_documents < (least := spec.explain.min_exemplars):
        raise CorpusError(
            f"the corpus has {corpus.n_documents} {'document' if corpus.n_documents == 1 else 'documents'}"
            f" ({corpus.contents.statement}), and a unit is explained only if it is active in explain.min_exemplars = {least}: name"
            " more files in corpus.sources (a short text file is one document, a line of JSONL another), or raise corpus.max_tokens"
            " if documents are long"
        )
