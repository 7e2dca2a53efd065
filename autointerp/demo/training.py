"""Trains dictionaries of a training file on the demo's model and text."""

from __future__ import annotations

import json
from pathlib import Path

from autointerp.demo.assets import DemoAssets
from autointerp.dictionaries import training_file
from autointerp.progress import OnProgress
from sae.training.trainer import TrainReport


def train_on_demo(file: Path, assets: DemoAssets, folder: Path, on_progress: OnProgress) -> dict[Path, TrainReport]:
    """Train into `folder`, or resume there, as `training_file.train_from`; the file's subject and sources stand for the demo's."""
    sources = ", ".join(json.dumps(str(path)) for path in assets.corpus_files)
    overrides = [f"subject.model={json.dumps(str(assets.model))}", f"corpus.sources=[{sources}]"]
    return training_file.train_from(training_file.load(file, overrides), folder, on_progress)
