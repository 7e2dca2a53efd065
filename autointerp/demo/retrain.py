"""Trains the shipped dictionary anew from `training.toml`, and compares its figures with those of the shipped one.

`python -m autointerp.demo.retrain FOLDER` trains into the folder; `--ship` then writes the result over the shipped dictionary, in float16.
Bits differ between machines, so the comparison is of L0 and explained variance.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from autointerp.demo.assets import SHIPPED, prepare
from autointerp.demo.training import train_on_demo
from autointerp.errors import UsageError
from autointerp.progress import Progress
from sae.training.trainer import REPORT

WEIGHTS = "sae_weights.safetensors"
L0_TOLERANCE, VARIANCE_TOLERANCE = 1.0, 0.01


def main(folder: Path, *, ship: bool) -> int:
    """Train into `folder`, or resume there, and print both dictionaries' figures. Returns 1 if they differ."""
    with Progress() as progress:
        train_on_demo(Path(__file__).with_name("training.toml"), prepare(progress.update), folder, progress.update)
    new = _figures(folder)
    if ship:
        _ship(folder)
    shipped = _figures(SHIPPED)
    for name, figures in (("trained", new), ("shipped", shipped)):
        print(f"{name}: L0 {figures['l0']:.2f}, explained variance {figures['explained_variance']:.4f}")
    same = abs(new["l0"] - shipped["l0"]) <= L0_TOLERANCE
    same = same and abs(new["explained_variance"] - shipped["explained_variance"]) <= VARIANCE_TOLERANCE
    return 0 if same else 1


def _figures(folder: Path) -> dict[str, float]:
    report: dict[str, float] = json.loads((folder / REPORT).read_text(encoding="utf-8"))["report"]
    return report


def _ship(folder: Path) -> None:
    """Copy the dictionary, its weights in float16."""
    SHIPPED.mkdir(exist_ok=True)
    tensors = {name: tensor.to(torch.float16) for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(tensors, SHIPPED / WEIGHTS)
    (SHIPPED / WEIGHTS).chmod(0o644)
    for name in ("cfg.json", REPORT):
        shutil.copy(folder / name, SHIPPED / name)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m autointerp.demo.retrain FOLDER [--ship]")
    try:
        raise SystemExit(main(Path(sys.argv[1]), ship="--ship" in sys.argv))
    except UsageError as error:
        raise SystemExit(str(error)) from None
