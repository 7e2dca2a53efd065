"""Trains the dictionary of the full demo, once on a machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from autointerp.demo.assets import CONTEXT_TOKENS, FULL, MODEL_SHA256, DemoAssets
from autointerp.dictionaries.training_file import progress_bars
from autointerp.harvest.inputs import open_corpus, open_subject
from autointerp.progress import OnProgress
from autointerp.spec.sections import Corpus, Subject
from sae.cache import cache_dir
from sae.training.trainer import REPORT, TrainConfig, train

TRAINING_CORPUS_TOKENS = 2_000_000
"""More than the text has: training reads all of it."""


def training_config() -> TrainConfig:
    """Training settings: about five minutes on two cores, most of them in the subject's forward pass."""
    return TrainConfig(
        architecture="batchtopk", d_sae=4096, k=32, tokens=1_800_000, reuse=4, batch_tokens=2048, lr=2e-3,
        buffer_tokens=131_072, checkpoint_steps=200, seed=0,
    )  # fmt: skip


def train_dictionary(assets: DemoAssets, on_progress: OnProgress) -> Path:
    """The folder of the full demo's dictionary in SAELens' format. It is trained unless it is cached; an interrupted training resumes."""
    config = training_config()
    settings = [
        asdict(config),
        MODEL_SHA256,
        FULL.hook_point,
        CONTEXT_TOKENS,
        [_file_key(p) for p in assets.corpus_files],
    ]
    name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir() / "demo" / f"dictionary-{name}"
    if (folder / REPORT).is_file():
        return folder
    subject = open_subject(Subject(model=str(assets.model)), on_progress)
    corpus = open_corpus(
        Corpus(
            sources=tuple(str(path) for path in assets.corpus_files),
            context_tokens=CONTEXT_TOKENS,
            max_tokens=TRAINING_CORPUS_TOKENS,
        ),
        subject,
        on_progress,
    )

    train(subject, corpus, FULL.hook_point, config, folder, progress_bars(on_progress))
    return folder


def _file_key(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
