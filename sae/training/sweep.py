"""A scaling study: trains every cell of a grid, as many as fit into memory from one stream."""

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
"""Largest size of the weights, gradients and optimiser states that are trained together."""
FLOPS_PER_WEIGHT = 6
"""Operations per token and weight if all products were dense. A convention for comparing budgets: a step here costs less."""


@dataclass(frozen=True)
class Grid:
    """Lists of values whose combinations are trained."""

    d_sae: tuple[int, ...]
    tokens: tuple[int, ...]
    lr: tuple[float, ...]

    def configs(self, base: TrainConfig) -> dict[str, TrainConfig]:
        """The configuration of each cell by its name. Raises `DictionaryError`."""
        for name, values in asdict(self).items():
            if not values or len(set(values)) < len(values):
                raise DictionaryError(f"sweep: {name} = {list(values)} must have at least one value, and none twice")
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
    """Train every cell into `folder/cells`, or resume an interrupted study. Raises as `train_together` does."""
    width = subject.width(hook_point)
    cells = []
    for group in training_groups(grid.configs(base), width):
        configs = {folder / "cells" / name: config for name, config in group.items()}
        reports = train_together(subject, corpus, hook_point, configs, folder / CHECKPOINT, progress)
        cells += [cell(path.name, configs[path], report, width) for path, report in reports.items()]
    return cells


def training_groups(configs: dict[str, TrainConfig], width: int) -> Iterator[dict[str, TrainConfig]]:
    """Groups of consecutive cells that are trained together: as many as fit into `GROUP_BYTES`."""
    group: dict[str, TrainConfig] = {}
    group_bytes = 0
    for name, config in configs.items():
        # W_enc and W_dec, each with its gradient and Adam's two averages, in float32.
        cell_bytes = 16 * 2 * config.d_sae * width
        if group and group_bytes + cell_bytes > GROUP_BYTES:
            yield group
            group, group_bytes = {}, 0
        group[name] = config
        group_bytes += cell_bytes
    yield group


def cell(name: str, config: TrainConfig, report: TrainReport, width: int) -> Cell:
    """The cell that the laws are fitted to, from a training's report."""
    compute = FLOPS_PER_WEIGHT * 2.0 * width * config.d_sae * report.tokens
    return Cell(
        name, config.d_sae, report.tokens, config.steps, config.lr, compute, report.loss, report.l0,
        report.explained_variance, report.dead_fraction,
    )  # fmt: skip
