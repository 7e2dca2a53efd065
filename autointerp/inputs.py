"""What a spec points at, opened and fingerprinted: subject, dictionary, corpus; and the harvest made from them.

A run is named by the content of its inputs, not by where they lie: moving a folder changes nothing, changing a weight does.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp import spec as spec_
from autointerp.rubric import Rubric
from autointerp.spec import Spec, content_hash

if TYPE_CHECKING:
    import numpy as np

    from sae.corpus import Corpus
    from sae.dictionary import Dictionary
    from sae.subject import Subject

Tell = Callable[[str, int, int], None]
"""Progress: what is going on, how much is done, how much there is."""

SILENT_POOL = 64
"""Silent windows kept a unit and side, of which the quietest are taken: the same pool, so that asking for more keeps the earlier."""


@dataclass(frozen=True)
class Inputs:
    """A spec's subject, dictionary and corpus, loaded."""

    spec: Spec
    subject: Subject
    dictionary: Dictionary
    corpus: Corpus

    def identity(self, rubric: Rubric) -> dict[str, Any]:
        """The spec's identity with every path replaced by the fingerprint of what lies there."""
        identity = self.spec.identity()
        identity["subject"] |= {"model": self.subject.fingerprint, "revision": None}
        identity["dictionary"] |= {"path": self.dictionary.fingerprint, "revision": None}
        identity["dictionary"]["hook_point"] = self.dictionary.hook_point
        identity["corpus"] = {"fingerprint": self.corpus.fingerprint}
        identity["score"]["rubric"] = rubric.hash
        return identity

    def run_id(self, rubric: Rubric) -> str:
        """The run's name and the first digits of its identity's hash."""
        return f"{self.spec.name}-{content_hash(self.identity(rubric))[:8]}"

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
                "judged": [spec.score.per_bin, spec.score.base_rate],
                "version": 2,
            }
        )


def open_inputs(spec: Spec, tell: Tell) -> Inputs:
    """Load what the spec names. Raises `SaeError` where something is missing, broken or does not fit."""
    from sae.dictionary import load_dictionary

    tell("loading the dictionary", 0, 0)
    given = spec.dictionary
    dictionary = load_dictionary(given.path, format=given.format, hook_point=given.hook_point, revision=given.revision)
    subject = open_subject(spec.subject, tell)
    dictionary.check_fits(subject.width(dictionary.hook_point))
    corpus = open_corpus(spec.corpus, subject, tell)
    return Inputs(spec, subject, dictionary, corpus)


def open_subject(given: spec_.Subject, tell: Tell) -> Subject:
    """The subject that a spec names. Raises `SaeError`."""
    from sae.subject import load_subject

    tell("loading the subject", 0, 0)
    return load_subject(given.model, revision=given.revision, precision=given.precision, device=given.device)


def open_corpus(given: spec_.Corpus, subject: Subject, tell: Tell) -> Corpus:
    """The corpus that a spec names, in the subject's tokens. Raises `SaeError`."""
    from sae import corpus

    return corpus.open_corpus(
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


def harvest(inputs: Inputs, artifacts: Path, tell: Tell) -> Path:
    """The harvest's folder: `units.parquet`, `exemplars.parquet`, `facts.json`. Made once, then reused."""
    from sae.harvest import UnitKey, sample_units
    from sae.harvest import harvest as run_harvest

    folder = artifacts / f"harvest-{inputs.harvest_key()[:16]}"
    if (folder / "facts.json").exists():
        return folder
    spec, subject, dictionary = inputs.spec, inputs.subject, inputs.dictionary
    neuron_hook_point = subject.neuron_hook_point(dictionary.hook_point)
    wants_neurons = bool(spec.units.neurons or spec.units.neuron_ids)
    units: tuple[UnitKey, ...] = sample_units(
        dictionary.d_sae,
        subject.width(neuron_hook_point) if wants_neurons else 0,
        features=spec.units.features,
        neurons=spec.units.neurons,
        seed=spec.units.seed,
        feature_ids=spec.units.feature_ids,
        neuron_ids=spec.units.neuron_ids,
    )
    started = time.monotonic()
    plan = _plan(spec, units)
    sketch = run_harvest(
        subject, dictionary, inputs.corpus, plan, folder, lambda done, total: tell("harvesting", done, total)
    )
    _write(inputs, folder, sketch, units, neuron_hook_point, time.monotonic() - started)
    return folder


def _plan(spec: Spec, units: Any) -> Any:
    from sae.harvest import HarvestPlan
    from sae.sketch import Quota

    quota = Quota(
        explain=max(2, -(-2 * spec.explain.spread // spec.harvest.bins)),
        judge=spec.score.per_bin,
        quiet=max(SILENT_POOL, 4 * spec.score.base_rate, 4 * spec.explain.quiet),
        top=max(spec.harvest.top, 2 * spec.explain.top),
    )
    return HarvestPlan(
        units=units,
        quota=quota,
        window=spec.harvest.window_tokens,
        skip_positions=spec.harvest.skip_positions,
        max_norm_ratio=spec.harvest.max_norm_ratio,
        seed=spec.units.seed,
        batch_tokens=spec.harvest.batch_tokens,
    )


def _write(inputs: Inputs, folder: Path, sketch: Any, units: Any, neuron_hook_point: str, seconds: float) -> None:
    from sae.exemplars import Selection, tables
    from sae.text import token_texts

    spec, dictionary, corpus = inputs.spec, inputs.dictionary, inputs.corpus
    want = Selection(
        bins=spec.harvest.bins,
        per_bin=spec.score.per_bin,
        top=spec.explain.top,
        shown_top=spec.harvest.top,
        spread=spec.explain.spread,
        explain_quiet=spec.explain.quiet,
        quiet=spec.score.base_rate,
        min_documents=spec.explain.min_exemplars,
    )

    def texts(ids: np.ndarray) -> list[str]:
        return token_texts(inputs.subject.tokenizer, ids.tolist())

    hook_points = {"feature": dictionary.hook_point, "neuron": neuron_hook_point}
    unit_table, exemplar_table = tables(sketch, corpus, units, hook_points, want, texts)
    _save_parquet(unit_table, folder / "units.parquet")
    _save_parquet(exemplar_table, folder / "exemplars.parquet")
    facts = _facts(inputs, neuron_hook_point) | {"n_counted": sketch.n_counted, "harvest_s": seconds}
    partial = folder / "facts.partial"
    partial.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, folder / "facts.json")
    for shard in folder.glob("shard-*.npz"):
        shard.unlink()


def _facts(inputs: Inputs, neuron_hook_point: str) -> dict[str, Any]:
    subject, dictionary, corpus = inputs.subject, inputs.dictionary, inputs.corpus
    return {
        "subject": {"name": subject.name, "fingerprint": subject.fingerprint, "precision": subject.precision},
        "dictionary": {
            "name": Path(dictionary.path).name,
            "format": dictionary.format,
            "architecture": dictionary.architecture,
            "d_in": dictionary.d_in,
            "d_sae": dictionary.d_sae,
            "fingerprint": dictionary.fingerprint,
        },
        "hook_point": dictionary.hook_point,
        "neuron_hook_point": neuron_hook_point,
        "corpus": {
            "sources": [s if s.startswith("datasets:") else Path(s).name for s in inputs.spec.corpus.sources],
            "n_documents": corpus.n_documents,
            "n_contexts": len(corpus.contexts),
            "n_tokens": corpus.n_tokens,
            "fingerprint": corpus.fingerprint,
        },
    }


def _save_parquet(table: Any, path: Path) -> None:
    partial = path.with_suffix(".partial")
    table.to_parquet(partial, index=False)
    os.replace(partial, path)
