"""The file that `autointerp train` reads: TOML that names the subject, the corpus, the hook point and the training's configuration.

`[train]` holds the configuration. `[[dictionary]]` tables, each with a name, train several dictionaries from one stream: a
table's keys override those of `[train]`. `[sweep]` holds the lists of a scaling study.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

from autointerp.errors import UsageError
from autointerp.harvest.inputs import open_corpus, open_subject, with_bos
from autointerp.progress import OnProgress
from autointerp.spec.section import Section
from autointerp.spec.sections import Corpus, Subject, known_hook_point
from autointerp.spec.toml_files import read_toml, wrong_key
from sae.corpus import corpus as token_corpus
from sae.subject import model as subject_model
from sae.training import sweep as sweeps
from sae.training.cost import Cost, estimate
from sae.training.scaling_laws import Cell, Scaling, fit
from sae.training.sweep import Grid, training_groups
from sae.training.trainer import CHECKPOINT, Progress, TrainConfig, TrainProgress, TrainReport, train_together


class Sweep(Section):
    """A scaling study: every combination of these values is trained."""

    d_sae: list[int] = Field(min_length=1)
    """Numbers of features."""
    tokens: list[int] = Field(min_length=1)
    """Numbers of activations to train on; the number of steps follows from them."""
    lr: list[float] = Field(min_length=1)
    """Learning rates."""


class Training(Section):
    """One training file."""

    subject: Subject
    corpus: Corpus
    hook_point: str
    """The hook point that the dictionary reads, such as `resid_post.12`."""
    train: dict[str, Any] = Field(default_factory=dict)
    """Fields of `sae.training.config.TrainConfig`: architecture, d_sae, k, l1, tokens, lr, seed and others."""
    dictionary: list[dict[str, Any]] = Field(default_factory=list)
    """Dictionaries trained from one stream, each into the folder of its `name`; keys left out are those of `train`."""
    sweep: Sweep | None = None
    """Lists to combine, for `--sweep`."""

    @field_validator("hook_point")
    @classmethod
    def _known_hook_point(cls, hook_point: str) -> str:
        return known_hook_point(hook_point)

    def config(self) -> TrainConfig:
        """The table `train` as a configuration. Raises `UsageError` and `DictionaryError`."""
        return _config(self.train, "train")

    def configs(self, folder: Path) -> dict[Path, TrainConfig]:
        """The configuration of every dictionary, by its folder in `folder`; by `folder` itself if there is only one.

        Raises `UsageError` and `DictionaryError`.
        """
        if not self.dictionary:
            return {folder: self.config()}
        configs: dict[Path, TrainConfig] = {}
        for table in self.dictionary:
            name = table.get("name")
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
                raise UsageError(
                    f"training file: dictionary.name = {name!r} must be a folder's name: letters, digits, . _ -"
                )
            if folder / name in configs:
                raise UsageError(f"training file: dictionary.name = {name!r} occurs twice: choose another")
            own = {key: value for key, value in table.items() if key != "name"}
            configs[folder / name] = _config(self.train | own, f"dictionary {name}")
        return configs

    def grid(self) -> Grid:
        """The grid of the study. Raises `UsageError`."""
        if self.sweep is None:
            raise UsageError("training file: a sweep needs a table [sweep] with the lists d_sae, tokens and lr")
        if self.dictionary:
            raise UsageError("training file: [[dictionary]] and [sweep] cannot be combined: the sweep varies [train]")
        return Grid(tuple(self.sweep.d_sae), tuple(self.sweep.tokens), tuple(map(float, self.sweep.lr)))


def load(path: Path, overrides: Iterable[str] = ()) -> Training:
    """Read a training file. Raises `UsageError`."""
    data = read_toml(path, overrides)
    try:
        return Training.model_validate(data)
    except ValidationError as error:
        raise UsageError(wrong_key(error, Training, "training file")) from None


def train_from(training: Training, folder: Path, on_progress: OnProgress) -> dict[Path, TrainReport]:
    """Train into `folder`, or resume from its checkpoint. Returns the report of each dictionary by its folder."""
    configs = training.configs(folder)
    subject_and_corpus = _open(training, on_progress)
    return train_together(
        *subject_and_corpus, training.hook_point, configs, folder / CHECKPOINT, progress_bars(on_progress)
    )


def sweep_from(training: Training, folder: Path, on_progress: OnProgress) -> tuple[list[Cell], Scaling]:
    """Train every cell of the study into `folder`, or resume the study, and fit the laws."""
    grid, base = training.grid(), training.config()
    grid.configs(base)  # checked before anything is loaded
    cells = sweeps.sweep(
        *_open(training, on_progress), training.hook_point, base, grid, folder, progress_bars(on_progress)
    )
    return cells, fit(cells)


def cost_of(training: Training, on_progress: OnProgress, *, sweep: bool) -> Cost:
    """The cost of the training or the study, estimated from a probe of a few seconds."""
    configs = training.grid().configs(training.config()) if sweep else {}
    single = list(training.configs(Path()).values())
    subject, corpus = _open(training, on_progress)
    width = subject.width(training.hook_point)
    groups = [list(group.values()) for group in training_groups(configs, width)] if sweep else [single]
    return estimate(subject, corpus, training.hook_point, groups)


def _open(training: Training, on_progress: OnProgress) -> tuple[subject_model.Subject, token_corpus.Corpus]:
    subject = with_bos(open_subject(training.subject, on_progress), training.corpus)
    subject.width(training.hook_point)  # raises if the subject lacks it, before the corpus is read
    return subject, open_corpus(training.corpus, subject, on_progress)


def progress_bars(on_progress: OnProgress) -> Progress:
    """Reports a training's progress as two bars: one moves while activations are read, the other while they are trained on."""
    read = -1

    def progress(at: TrainProgress) -> None:
        nonlocal read
        if at.harvested != read:
            read = at.harvested
            on_progress("reading activations", at.harvested, at.to_harvest)
        elif at.step:
            on_progress("training", at.tokens, at.steps * (at.tokens // at.step))

    return progress


def _config(fields: dict[str, Any], table: str) -> TrainConfig:
    """A table as the trainer's configuration, checked key by key. Raises `UsageError` and `DictionaryError`."""
    types = get_type_hints(TrainConfig)
    known: dict[str, Any] = {f.name: (types[f.name], f.default) for f in dataclasses.fields(TrainConfig)}
    strict = ConfigDict(extra="forbid", strict=True)
    model: type[BaseModel] = create_model("TrainTable", __config__=strict, **known)
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    try:
        return TrainConfig(**model.model_validate(fields).model_dump())
    except ValidationError as error:
        raise UsageError(wrong_key(error, model, f"training file: {table}")) from None
