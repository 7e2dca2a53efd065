"""The spec: what to evaluate, with what, and how. Read from TOML and checked before anything is loaded or spent.

Fields that `sections` marks as settings decide how a run is carried out (concurrency, device, budget), not what it finds: they
are left out of the spec's hash, so changing one resumes the same run. Every other field is part of the hash.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field, ValidationError, model_validator

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.spec.sections import (
    Adaptive,
    Budget,
    Cascade,
    Controls,
    Corpus,
    Dictionary,
    Explain,
    Harvest,
    Judge,
    Report,
    Score,
    Section,
    Studies,
    Subject,
    Units,
)
from autointerp.spec.sections import Judge as JudgeSettings
from autointerp.spec.toml_files import read_toml, wrong_key

MOST_SILENT = 50
"""Silent windows kept of a unit for other scorers at most."""


class Spec(Section):
    """One evaluation, start to end."""

    name: str = Field("run", pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    """Names the run's folder in `results/`, before a short hash of the spec."""
    subject: Subject
    dictionary: Dictionary
    corpus: Corpus
    units: Units = Units()
    harvest: Harvest = Harvest()
    studies: Studies = Studies()
    explain: Explain = Explain()
    score: Score = Score()
    controls: Controls = Controls()
    adaptive: Adaptive = Adaptive()
    judge: Judge = Judge()
    explainer: Judge | None = None
    """Who explains. Left out: the judge does. A different family of models avoids self-preference."""
    cascade: Cascade | None = None
    """A better judge for a sample. Left out: there is none."""
    budget: Budget = Budget()
    report: Report = Report()

    @model_validator(mode="after")
    def _combinations(self) -> Spec:
        if self.harvest.window_tokens > self.corpus.context_tokens:
            raise ValueError(
                f"harvest.window_tokens = {self.harvest.window_tokens} exceeds corpus.context_tokens ="
                f" {self.corpus.context_tokens}: lower the first or raise the second"
            )
        if on := [aid for aid in self.explain.compare if getattr(self.explain, aid)]:
            raise ValueError(
                f"explain.compare names {on[0]}, which explain.{on[0]} switches on for every explanation: remove one of the two"
            )
        if self.score.ask == "logprobs" and self.score.per_call > 1:
            raise ValueError(
                f"score.per_call = {self.score.per_call} does not go with score.ask = logprobs, which reads one digit: ask for"
                " grade, or one item a call"
            )
        if self.corpus.context_tokens > self.corpus.max_tokens:
            raise ValueError(
                f"corpus.context_tokens = {self.corpus.context_tokens} exceeds corpus.max_tokens ="
                f" {self.corpus.max_tokens}: lower the first or raise the second"
            )
        return self

    @property
    def explained_by(self) -> Judge:
        """The explainer: `explainer` where given, else `judge`."""
        return self.explainer or self.judge

    @property
    def silent_windows(self) -> int:
        """Silent windows kept of a unit. Other scorers want about as many as active ones, or they cannot see what is claimed too much."""
        wanted = self.harvest.bins * self.score.per_bin if self.score.also else 0
        return max(self.controls.base_rate, min(MOST_SILENT, wanted))

    @property
    def judges(self) -> tuple[Judge, ...]:
        """All who are asked, each once."""
        second = () if self.cascade is None else (self.cascade.judge,)
        return tuple(dict.fromkeys((self.explained_by, self.judge, *second)))

    def identity(self) -> dict[str, Any]:
        """Every field that decides what the run finds, as JSON values; settings are left out."""
        return _identity(self)

    def hash(self) -> str:
        """sha-256 over the canonical JSON of `identity()`, in hex."""
        return content_hash(self.identity())

    def relative_to(self, folder: Path) -> Spec:
        """The same spec with local paths written as seen from `folder`, so that a copy saved there runs again."""
        return self._with_paths(lambda path: os.path.relpath(path, folder))

    def absolute(self) -> Spec:
        """The same spec with local paths made absolute, so that a process in another folder finds them."""
        return self._with_paths(os.path.abspath)

    def _with_paths(self, change: Callable[[str], str]) -> Spec:
        """The same spec with every local path changed; hub ids, `datasets:` sources and names of rubrics stay as they are."""

        def seen(value: str) -> str:
            local = os.path.expanduser(value)
            if not (os.path.isabs(local) or os.path.exists(local) or any(c in value for c in "*?[")):
                return value
            return change(local)

        subject = self.subject.model_copy(update={"model": seen(self.subject.model)})
        dictionary = self.dictionary.model_copy(update={"path": seen(self.dictionary.path)})
        corpus = self.corpus.model_copy(update={"sources": tuple(seen(s) for s in self.corpus.sources)})
        score = self.score.model_copy(update={"rubric": seen(self.score.rubric)})
        parts = {"subject": subject, "dictionary": dictionary, "corpus": corpus, "score": score}
        return self.model_copy(update=parts)

    def to_toml(self) -> str:
        """The spec as resolved, all defaults written out; `load` reads it back to an equal spec."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def load(path: Path, overrides: Iterable[str] = ()) -> Spec:
    """Read a spec from TOML. Raises `UsageError`."""
    return parse(read_toml(path, overrides))


def from_toml(text: str) -> Spec:
    """Read back what `Spec.to_toml` wrote. Raises `UsageError`."""
    return parse(tomllib.loads(text))


def parse(data: Mapping[str, Any]) -> Spec:
    """Check plain data against the spec. Raises `UsageError` naming the first wrong key, its value and the remedy."""
    try:
        return Spec.model_validate(dict(data))
    except ValidationError as error:
        raise UsageError(wrong_key(error, Spec, "spec")) from None


def _identity(section: Section) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("setting"):
            continue
        value = getattr(section, name)
        result[name] = _identity(value) if isinstance(value, Section) else value
    return result


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def judge_of(spec: Spec, stage: str) -> JudgeSettings:
    """Who is asked in a stage: the explainer, the judge, or the second judge."""
    if stage == "regrade" and spec.cascade is not None:
        return spec.cascade.judge
    return spec.explained_by if stage == "explain" else spec.judge
