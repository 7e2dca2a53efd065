"""A small trainer: from a subject and a corpus to dictionaries in SAELens format, resumable at any moment.

The same configuration and seed on the same machine give the same weights, whether or not the training was interrupted, and
whichever other dictionaries were trained from the same stream.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sae.corpus.corpus import Corpus
from sae.errors import DictionaryError
from sae.subject.model import Subject
from sae.training.activation_buffer import ActivationStream, split
from sae.training.config import Architecture, TrainConfig
from sae.training.report import REPORT, Evaluation, Figures, Progress, TrainProgress, TrainReport, evaluate
from sae.training.session import Run

__all__ = [
    "CHECKPOINT", "HELD_OUT_TOKENS", "REPORT", "Architecture", "Evaluation", "Figures", "Progress", "TrainConfig",
    "TrainProgress", "TrainReport", "evaluate", "train", "train_together",
]  # fmt: skip

HELD_OUT_TOKENS = 32_768
CHECKPOINT = "checkpoint.pt"
SHARED = ("seed", "reuse", "batch_tokens", "buffer_tokens", "forward_tokens")
"""What decides the stream, and so has to be the same for all dictionaries that are trained from one."""


def train(
    subject: Subject,
    corpus: Corpus,
    hook_point: str,
    config: TrainConfig,
    folder: Path,
    progress: Progress | None = None,
) -> TrainReport:
    """Train one dictionary into `folder`, with its checkpoint there: see `train_together`."""
    return train_together(subject, corpus, hook_point, {folder: config}, folder / CHECKPOINT, progress)[folder]


def train_together(
    subject: Subject,
    corpus: Corpus,
    hook_point: str,
    configs: Mapping[Path, TrainConfig],
    checkpoint: Path,
    progress: Progress | None = None,
) -> dict[Path, TrainReport]:
    """Train a dictionary into each folder, all from one stream, or go on from the checkpoint, or return what is finished.

    Saves SAELens folders with `train.json` beside them, each as soon as its own tokens are done. Raises `DictionaryError`
    when a folder or the checkpoint is of another training or when the configurations disagree on the stream,
    `SubjectError` for a hook point that is not there, `CorpusError` for too little text.
    """
    _check_shared(configs)
    identities = {folder: _identity(subject, corpus, hook_point, config) for folder, config in configs.items()}
    reports = {folder: report for folder, i in identities.items() if (report := _finished(folder, i)) is not None}
    if len(reports) < len(configs):
        first = next(iter(configs.values()))
        train_rows, held_out = split(corpus, first.seed, HELD_OUT_TOKENS)
        stream = ActivationStream(subject, corpus, hook_point, train_rows, first.seed, first.forward_tokens)
        left = {folder: config for folder, config in configs.items() if folder not in reports}
        run = Run(left, identities, stream, held_out, checkpoint, progress)
        run.start()
        reports |= run.go()
        checkpoint.unlink(missing_ok=True)
    return {folder: reports[folder] for folder in configs}


def _check_shared(configs: Mapping[Path, TrainConfig]) -> None:
    for name in SHARED:
        values = {getattr(config, name) for config in configs.values()}
        if len(values) > 1:
            listed = ", ".join(str(value) for value in sorted(values))
            raise DictionaryError(f"training: {name} = {listed}: dictionaries on one stream have to share it")


def _identity(subject: Subject, corpus: Corpus, hook_point: str, config: TrainConfig) -> str:
    decides = {name: value for name, value in asdict(config).items() if name != "checkpoint_steps"}
    what = [subject.fingerprint, subject.precision, corpus.fingerprint, hook_point, decides]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _finished(folder: Path, identity: str) -> TrainReport | None:
    if not (folder / "cfg.json").is_file():
        return None
    try:
        saved = json.loads((folder / REPORT).read_text())
        if saved["identity"] == identity:
            return TrainReport(**saved["report"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DictionaryError(f"{folder} holds a dictionary of another training: remove it, or choose another folder")
