"""The opened inputs of an index: a run's, a spec's, or a model with a dictionary and text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.explorer.index.schema import HISTOGRAM_PARTS
from autointerp.explorer.index.settings import NEURON_BYTES, TOGETHER_TOKENS, VERSION, IndexSettings
from autointerp.harvest.input_cache import InputCache
from autointerp.harvest.inputs import open_corpus
from autointerp.hashing import content_hash
from autointerp.progress import Progress
from autointerp.spec.sections import Harvest
from autointerp.spec.spec import Spec, load
from autointerp.studies.given import Given
from autointerp.studies.request import request_of
from autointerp.studies.workbench import opened
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.explorer.whole_sketch import WholePlan
from sae.harvest.units import UnitKey
from sae.subject.model import Subject


@dataclass(frozen=True)
class IndexInputs:
    """A subject, a dictionary and text, with the harvest's settings and the run that they are of, if any."""

    subject: Subject
    dictionary: Dictionary
    corpus: Corpus
    sources: tuple[str, ...]
    harvest: Harvest
    seed: int
    settings: IndexSettings
    run: Path | None
    model: str = ""
    """The subject as it was named, with the whole path if it is a file or folder."""

    @property
    def name(self) -> str:
        """The run's id, or the name of the dictionary's folder or file."""
        return self.run.name if self.run else Path(self.dictionary.path).name

    @property
    def n_neurons(self) -> int:
        """Signed neurons among the units."""
        return 2 * self.neuron_width if self.settings.neurons else 0

    @property
    def neuron_width(self) -> int:
        """Neurons of the layer; 0 if the subject has none that can be read, as in a mixture of experts, and none are asked for."""
        try:
            return self.subject.width(self.subject.neuron_hook_point(self.dictionary.hook_point))
        except SubjectError:
            if self.settings.neurons:
                raise
            return 0

    @property
    def n_units(self) -> int:
        """Rows of the index."""
        return self.dictionary.d_sae + self.n_neurons

    def identity(self) -> str:
        """Hash of everything that decides the statistics and examples."""
        subject, harvest = self.subject, self.harvest
        return content_hash(
            {
                "version": VERSION,
                "subject": [subject.fingerprint, subject.precision, subject.bos_id],
                "dictionary": [self.dictionary.fingerprint, self.dictionary.hook_point],
                "corpus": self.corpus.fingerprint,
                "counted": [harvest.skip_positions, harvest.max_norm_ratio],
                "read": [harvest.window_tokens, harvest.batch_tokens, self.seed],
                "shown": [asdict(self.settings.choice), HISTOGRAM_PARTS, self.settings.neurons],
                "sampled": [TOGETHER_TOKENS, NEURON_BYTES],
            }
        )

    def units(self, first: int, end: int) -> tuple[UnitKey, ...]:
        """The units of the rows from `first` up to `end`: features, then both signs of each neuron."""
        d_sae = self.dictionary.d_sae
        features = [UnitKey("feature", row, "") for row in range(first, min(end, d_sae))]
        signed = [row - d_sae for row in range(max(first, d_sae), end)]
        return (*features, *(UnitKey("neuron", i // 2, "+-"[i % 2]) for i in signed))

    def row(self, unit_id: str) -> int | None:
        """The row of a unit; None if the index lacks it."""
        kind, _, rest = unit_id.partition("-")
        if kind == "feature" and rest.isdecimal():
            return int(rest) if int(rest) < self.dictionary.d_sae else None
        if kind == "neuron" and rest[:-1].isdecimal() and rest[-1:] in "+-" and int(rest[:-1]) < self.n_neurons // 2:
            return self.dictionary.d_sae + 2 * int(rest[:-1]) + (rest[-1] == "-")
        return None

    def plan(self, first: int, end: int) -> WholePlan:
        """How the units of some rows are read."""
        tokens = max(1, self.corpus.n_tokens)
        neuron_tokens = NEURON_BYTES // max(1, 2 * self.neuron_width)
        return WholePlan(
            units=self.units(first, end),
            quota=self.settings.quota,
            window=self.harvest.window_tokens,
            skip_positions=self.harvest.skip_positions,
            max_norm_ratio=self.harvest.max_norm_ratio,
            seed=self.seed,
            batch_tokens=self.harvest.batch_tokens,
            sampled=min(1.0, TOGETHER_TOKENS / tokens),
            neuron_sampled=min(1.0, TOGETHER_TOKENS / tokens, neuron_tokens / tokens),
        )


def open_inputs(given: Given, settings: IndexSettings, progress: Progress) -> IndexInputs:
    """Open the inputs that a command line names. Raises `UsageError` and `SaeError` if something is missing, broken or does not fit."""
    request = request_of(given)
    if len(request.sources) != 1:
        raise UsageError(f"an index is of one dictionary, not {len(request.sources)}: name one")
    if request.corpus is None:
        raise UsageError("an index needs text: give --corpus FILE, or a run or spec that names it")
    corpus = request.corpus.model_copy(update={"max_tokens": settings.tokens} if settings.tokens else {})
    request = replace(request, corpus=corpus)
    subject, (studied,) = opened(request, progress, InputCache())
    spec = _spec(given, studied.run)
    local = Path(request.subject.model).expanduser()
    return IndexInputs(
        subject=subject,
        dictionary=studied.dictionary,
        corpus=open_corpus(corpus, subject, progress.update),
        sources=tuple(corpus.sources),
        harvest=spec.harvest if spec else Harvest(),
        seed=spec.units.seed if spec else 0,
        settings=settings,
        run=studied.run,
        model=str(local.absolute()) if local.exists() else request.subject.model,
    )


def _spec(given: Given, run: Path | None) -> Spec | None:
    """The spec of the run or file that was named, if one was."""
    if run is not None:
        return load(run / "spec.toml")
    return load(Path(given.runs[0])) if given.runs else None


def source_names(inputs: IndexInputs) -> str:
    """The names of the corpus's sources, without their folders."""
    names: list[Any] = [s if s.startswith("datasets:") else Path(s).name for s in inputs.sources]
    return ", ".join(names)
