"""The spec: one evaluation, read from TOML and validated before anything is loaded or spent.

Fields marked as settings in `sections` decide how a run is executed (concurrency, device, budget), not its result. They are not part
of the spec's hash, so changing one resumes the same run. Every other field is part of the hash.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import Field, ValidationError, model_validator

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.spec.judge_sections import Cascade, Judge
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import is_llm
from autointerp.spec.section import Section
from autointerp.spec.sections import (
    Adaptive,
    Budget,
    Controls,
    Corpus,
    Dictionary,
    Explain,
    Harvest,
    Report,
    Score,
    Studies,
    Subject,
    Units,
)
from autointerp.spec.toml_files import read_toml, wrong_key

SectionType = TypeVar("SectionType", bound=Section)
MOST_SILENT = 50
"""The most silent windows kept for a unit."""
MATRIX = "matrix"
"""The table of a file that holds several specs (see `spec.matrix`)."""


class Spec(Section):
    """One evaluation: inputs, sample, questions, judges, budget."""

    name: str = Field("run", pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    """Name of the run's folder in `results/`, followed by a short hash of the spec."""
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
    """The model that explains. Default: the judge. A model of another family avoids self-preference."""
    cascade: Cascade | None = None
    """A better judge for a sample of the items. Default: none."""
    budget: Budget = Budget()
    report: Report = Report()

    @model_validator(mode="after")
    def _combinations(self) -> Spec:
        if self.harvest.window_tokens > self.corpus.context_tokens:
            raise ValueError(
                f"harvest.window_tokens = {self.harvest.window_tokens} exceeds corpus.context_tokens ="
                f" {self.corpus.context_tokens}: lower the first or raise the second"
            )
        if self.harvest.skip_positions + 1 >= self.corpus.context_tokens:
            raise ValueError(
                f"harvest.skip_positions = {self.harvest.skip_positions} leaves no token of a context of corpus.context_tokens ="
                f" {self.corpus.context_tokens}, BOS included: lower the first or raise the second"
            )
        if on := [aid for aid in self.explain.compare if getattr(self.explain, aid)]:
            raise ValueError(
                f"explain.compare names {on[0]}, which explain.{on[0]} switches on for every explanation: remove one of the two"
            )
        if self.explain.given and (self.explain.compare or self.explain.revise):
            key = "revise" if self.explain.revise else "compare"
            raise ValueError(
                f"explain.from gives the explanations, and explain.{key} asks an explainer: remove one of the two"
            )
        if "distinction" in self.score.also and not self.controls.neighbours:
            raise ValueError(
                "score.also names distinction, which needs windows of neighbours, but controls.neighbours = 0: set it to 10"
            )
        if self.score.ask == "logprobs" and self.score.per_call > 1:
            raise ValueError(
                f"score.per_call = {self.score.per_call} does not go with score.ask = logprobs, which reads one digit: ask for"
                " grade, or one item a call"
            )
        asking = [study.study for study in self.studies.chosen if study.asks_judge]
        if asking and not is_llm(self.judge.model):
            raise ValueError(
                f"studies.{asking[0]}.judged = true needs an LLM, and judge.model = {self.judge.model} is none: name one, or remove judged"
            )
        if self.corpus.context_tokens > self.corpus.max_tokens:
            raise ValueError(
                f"corpus.context_tokens = {self.corpus.context_tokens} exceeds corpus.max_tokens ="
                f" {self.corpus.max_tokens}: lower the first or raise the second"
            )
        return self

    @property
    def explained_by(self) -> Judge:
        """Settings of the explainer: `explainer` if it is set, else `judge`."""
        return self.explainer or self.judge

    @property
    def scorers(self) -> tuple[str, ...]:
        """The other evaluations of the run: those of `score.also`, and `distinction` if the run has windows of neighbours."""
        by_default: tuple[str, ...] = ("distinction",) if self.controls.neighbours else ()
        return tuple(dict.fromkeys((*self.score.also, *by_default)))

    @property
    def silent_windows(self) -> int:
        """Silent windows kept for a unit. Other scorers need about as many as active ones to notice explanations that claim too much."""
        wanted = self.harvest.bins * self.score.per_bin if self.score.also else 0
        return max(self.controls.base_rate, min(MOST_SILENT, wanted))

    @property
    def judges(self) -> tuple[Judge, ...]:
        """Settings of the explainer and the judges, without repeats."""
        second = () if self.cascade is None else (self.cascade.judge,)
        return tuple(dict.fromkeys((self.explained_by, self.judge, *second)))

    def identity(self) -> dict[str, Any]:
        """Every field that decides the result, as JSON values; settings are left out."""
        return _identity(self)

    def hash(self) -> str:
        """sha-256 over the canonical JSON of `identity()`, in hex."""
        return content_hash(self.identity())

    def as_before(self) -> Spec:
        """The same spec as earlier versions understood it: keys that they lack, or whose default they had otherwise, and that are not set, as they did without them."""
        return _as_before(self)

    def relative_to(self, folder: Path) -> Spec:
        """The same spec for a run's `folder`: paths in the folder that holds its results are relative to `folder`, others absolute.

        So the saved spec runs where it is, after the whole project was moved, and, as far as its files are elsewhere, anywhere here.
        """
        project = os.path.abspath(folder.parent.parent)

        def saved(path: str) -> str:
            absolute = os.path.abspath(path)
            return os.path.relpath(path, folder) if Path(absolute).is_relative_to(project) else absolute

        return self._with_paths(saved)

    def absolute(self) -> Spec:
        """The same spec with absolute local paths, so that a process in another folder finds them."""
        return self._with_paths(os.path.abspath)

    def _with_paths(self, change: Callable[[str], str]) -> Spec:
        """The same spec with every local path changed. Hub ids, `datasets:` sources and rubric names are kept."""

        def seen(value: str) -> str:
            local = os.path.expanduser(value)
            if not (os.path.isabs(local) or os.path.exists(local) or any(c in value for c in "*?[")):
                return value
            return change(local)

        subject = self.subject.model_copy(update={"model": seen(self.subject.model)})
        dictionary = self.dictionary.model_copy(update={"path": seen(self.dictionary.path)})
        corpus = self.corpus.model_copy(update={"sources": tuple(seen(s) for s in self.corpus.sources)})
        score = self.score.model_copy(update={"rubric": seen(self.score.rubric)})
        given = self.explain.given and change(os.path.expanduser(self.explain.given))
        explain = self.explain.model_copy(update={"given": given}) if given else self.explain
        parts = {"subject": subject, "dictionary": dictionary, "corpus": corpus, "score": score, "explain": explain}
        parts |= {"studies": self.studies.with_paths(seen)} if self.studies.chosen else {}
        return self.model_copy(update=parts)

    def to_toml(self) -> str:
        """The spec with all defaults written out; `load` reads it back as an equal spec."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json", by_alias=True)))


def load(path: Path, overrides: Iterable[str] = ()) -> Spec:
    """Read a spec from TOML. Raises `UsageError`, also for a file of several specs."""
    data = read_toml(path, overrides)
    if MATRIX in data:
        raise UsageError(
            f"{path} holds a matrix of specs, and one is needed: remove [{MATRIX}], or use `autointerp run`"
        )
    return parse(data)


def from_toml(text: str) -> Spec:
    """Read the text that `Spec.to_toml` returned, in this version or an earlier one. Raises `UsageError`."""
    return parse(tomllib.loads(text)).as_before()


def parse(data: Mapping[str, Any]) -> Spec:
    """Validate plain data. Raises `UsageError` with the first wrong key, its value and the remedy."""
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
        if isinstance(extra, dict) and "hidden" in extra and value == extra["hidden"]:
            continue
        result[name] = _identity(value) if isinstance(value, Section) else value
    return result


def _as_before(section: SectionType) -> SectionType:
    changed: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value, extra = getattr(section, name), field.json_schema_extra
        if isinstance(value, Section):
            changed[name] = _as_before(value)
        elif isinstance(extra, dict) and "before" in extra and name not in section.model_fields_set:
            changed[name] = extra["before"]
    # `model_copy` adds the changed fields to those that are set, which keys that were given no value are not.
    return section.model_copy(update=changed)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def judge_of(spec: Spec, stage: str) -> JudgeSettings:
    """Settings of the model that a stage asks: explainer, judge or second judge."""
    if stage == "regrade" and spec.cascade is not None:
        return spec.cascade.judge
    return spec.explained_by if stage == "explain" else spec.judge
