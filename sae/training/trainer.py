"""A small trainer: from a subject and a corpus to dictionaries in SAELens format, resumable at any time.

On one machine, the same configuration and seed result in the same weights, whether or not the training was interrupted, and
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
from sae.training.session import TrainingSession

__all__ = [
    "CHECKPOINT", "HELD_OUT_TOKENS", "REPORT", "Architecture", "Evaluation", "Figures", "Progress", "TrainConfig",
    "TrainProgress", "TrainReport", "evaluate", "train", "train_together",
]  # fmt: skip

HELD_OUT_TOKENS = 32_768
CHECKPOINT = "checkpoint.pt"
SHARED = ("seed", "reuse", "batch_tokens", "buffer_tokens", "forward_tokens")
"""Fields of `TrainConfig` that decide the stream, and so have to be the same for all dictionaries trained from it."""


def train(
    subject: Subject,
    corpus: Corpus,
    hook_point: str,
    config: TrainConfig,
    folder: Path,
    progress: Progress | None = None,
) -> TrainReport:
    """Train one dictionary into `folder`, with its checkpoint in the same folder. Raises as `train_together` does."""
    return train_together(subject, corpus, hook_point, {folder: config}, folder / CHECKPOINT, progress)[folder]


def train_together(
    subject: Subject,
    corpus: Corpus,
    hook_point: str,
    configs: Mapping[Path, TrainConfig],
    checkpoint: Path,
    progress: Progress | None = None,
) -> dict[Path, TrainReport]:
    """Train a dictionary into each folder, all from one stream. Resumes from the checkpoint, and skips finished dictionaries.

    Saves each dictionary as a SAELens folder with a `train.json`, as soon as its own tokens are done. Raises `DictionaryError`
    if a folder or the checkpoint belongs to another training, or if the configurations disagree on the stream; `SubjectError` for
    a hook point that the subject lacks; `CorpusError` for too little text.
    """
    _check_shared(configs)
    identities = {folder: _identity(subject, corpus, hook_point, config) for folder, config in configs.items()}
    reports = {folder: report for folder, i in identities.items() if (report := _finished(folder, i)) is not None}
    if len(reports) < len(configs):
        first = next(iter(configs.values()))
        train_rows, held_out = split(corpus, first.seed, HELD_OUT_TOKENS)
        stream = ActivationStream(subject, corpus, hook_point, train_rows, first.seed, first.forward_tokens)
        left = {folder: config for folder, config in configs.items() if folder not in reports}
        session = TrainingSession(left, identities, stream, held_out, checkpoint, progress)
        session.start()
        reports |= session.run()
        checkpoint.unlink(missing_ok=True)
    return {folder: reports[folder] for folder in configs}


def _check_shared(configs: Mapping[Path, TrainConfig]) -> None:
    for name in SHARED:
        values = {getattr(config, name) for config in configs.values()}
        if len(values) > 1:
            listed = ", ".join(str(value) for value in sorted(values))
            raise DictionaryError(f"training: {name} = {listed}: dictionaries from one stream must have the same value")


def _identity(subject: Subject, corpus: Corpus, hook_point: str, config: TrainConfig) -> str:
    """Hash of everything that decides the trained weights."""
    settings = {name: value for name, value in asdict(config).items() if name != "checkpoint_steps"}
    identity = [subject.fingerprint, subject.precision, corpus.fingerprint, hook_point, settings]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _finished(folder: Path, identity: str) -> TrainReport | None:
    """The report of a finished training, None if the folder has no dictionary. Raises `DictionaryError` if it has another one."""
    if not (folder / "cfg.json").is_file():
        return None
    try:
        saved = json.loads((folder / REPORT).read_text())
        if saved["identity"] == identity:
            return TrainReport(**saved["report"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DictionaryError(f"{folder} holds a dictionary of another training: remove it, or choose another folder")
