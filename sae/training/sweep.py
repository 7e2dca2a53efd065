"""A scaling study: every cell of a grid is trained, many from each reading of the stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sae.corpus.corpus import Corpus
from sae.errors import DictionaryError
from sae.subject.model import Subject
from sae.training.scaling_laws import Cell
from sae.training.trainer import CHECKPOINT, Progress, TrainConfig, TrainReport, train_together

GROUP_BYTES = 4 << 30
"""Weights, gradients and optimiser states that are trained together at most."""
FLOPS_PER_WEIGHT = 6
"""Operations a token and weight, were all products dense: a convention for comparing budgets, not a step's cost here."""


@dataclass(frozen=True)
class Grid:
    """Values to combine, each with each."""

    d_sae: tuple[int, ...]
    tokens: tuple[int, ...]
    lr: tuple[float, ...]

    def configs(self, base: TrainConfig) -> dict[str, TrainConfig]:
        """A configuration for each cell, by its name. Raises `DictionaryError`."""
        for name, values in asdict(self).items():
            if not values or len(set(values)) < len(values):
                raise DictionaryError(f"sweep: {name} = {list(values)} must hold at least one value, and none twice")
        return {
            f"{d_sae}-{tokens}-{lr:g}": replace(base, d_sae=d_sae, tokens=tokens, lr=lr)
            for d_sae in self.d_sae for tokens in self.tokens for lr in self.lr
        }  # fmt: skip


def sweep(
    subject: Subject,
    corpus: Corpus,
    hook_point: str,
    base: TrainConfig,
    grid: Grid,
    folder: Path,
    progress: Progress | None = None,
) -> list[Cell]:
    """Train every cell into `folder/cells`, as many as fit into memory from each reading of the stream; resumes.

    Raises what `train_together` does.
    """
    width = subject.width(hook_point)
    cells = []
    for group in groups(grid.configs(base), width):
        configs = {folder / "cells" / name: config for name, config in group.items()}
        reports = train_together(subject, corpus, hook_point, configs, folder / CHECKPOINT, progress)
        cells += [cell(path.name, configs[path], report, width) for path, report in reports.items()]
    return cells


def groups(configs: dict[str, TrainConfig], width: int) -> Iterator[dict[str, TrainConfig]]:
    """Cells that are trained together: consecutive ones whose float32 weights, gradients and Adam's averages fit."""
    group: dict[str, TrainConfig] = {}
    size = 0
    for name, config in configs.items():
        needs = 16 * 2 * config.d_sae * width
        if group and size + needs > GROUP_BYTES:
            yield group
            group, size = {}, 0
        group[name] = config
        size += needs
    yield group


def cell(name: str, config: TrainConfig, report: TrainReport, width: int) -> Cell:
    """What the laws are fitted to, from a training's report."""
    compute = FLOPS_PER_WEIGHT * 2.0 * width * config.d_sae * report.tokens
    return Cell(
        name, config.d_sae, report.tokens, config.steps, config.lr, compute, report.loss, report.l0,
        report.explained_variance, report.dead_fraction,
    )  # fmt: skip
