"""A training in progress: steps, checkpoints, and dictionaries that are saved as soon as each is done."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sae.errors import DictionaryError
from sae.files import write_text, written_whole
from sae.formats.saelens import writer
from sae.training.activation_buffer import ActivationStream, MixingBuffer
from sae.training.config import TrainConfig
from sae.training.learner import Learner
from sae.training.objectives import Step
from sae.training.report import REPORT, Figures, Progress, TrainProgress, TrainReport, evaluate


class TrainingSession:
    """Trains dictionaries, one for each folder, from one stream of activations. A checkpoint holds its whole state."""

    def __init__(
        self,
        configs: Mapping[Path, TrainConfig],
        identities: Mapping[Path, str],
        stream: ActivationStream,
        held_out: npt.NDArray[np.int64],
        checkpoint: Path,
        progress: Progress | None,
    ) -> None:
        self.configs, self.identities, self.checkpoint = configs, identities, checkpoint
        self.stream, self.held_out, self.progress = stream, held_out, progress
        first = next(iter(configs.values()))
        self.batch, self.steps = first.batch_tokens, max(config.steps for config in configs.values())
        self.every = first.checkpoint_steps
        self.buffer = MixingBuffer(stream, self.batch, first.buffer_tokens // 2, first.reuse, first.seed)
        self.learners: dict[Path, Learner] = {}
        self.figures: dict[str, Figures] = {}
        self.step = 0
        self.started, self.first_step, self.seconds_before = time.monotonic(), 0, 0.0

    def start(self) -> None:
        """Load the checkpoint if there is one, or else begin."""
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        state = self._saved()
        if state is None:
            self.stream.calibrate()
        else:
            self.buffer.restore(state["buffer"])
            self.step = self.first_step = state["step"]
            self.seconds_before = state["seconds"]
        for folder, config in self.configs.items():
            learner = Learner(config, self.stream.mean, self.stream.subject.precision)
            if state is not None:
                learner.restore(state["learners"][self.identities[folder]])
            self.learners[folder] = learner
        self.stream.on_forward_pass = self._report_progress
        if state is None:
            self.buffer.fill()

    def run(self) -> dict[Path, TrainReport]:
        """Train to the end, with a checkpoint every `checkpoint_steps` steps. Returns the report of each folder's dictionary."""
        reports: dict[Path, TrainReport] = {}
        while self.learners:
            x = self.buffer.next()
            for folder, learner in self.learners.items():
                self._note_figures(folder, learner, learner.learn(x))
            self.step += 1
            done = {folder: learner for folder, learner in self.learners.items() if learner.done}
            self._report_progress()
            if done:
                reports |= self._finish(done)
                self.learners = {folder: rest for folder, rest in self.learners.items() if folder not in done}
            if self.step % self.every == 0 and self.learners:
                self.save()
        return reports

    def _finish(self, done: Mapping[Path, Learner]) -> dict[Path, TrainReport]:
        """Measure and save dictionaries whose training is over."""
        stream, hook_point = self.stream, self.stream.hook_point
        dictionaries = [learner.dictionary(stream.scale, hook_point, str(folder)) for folder, learner in done.items()]
        evaluations = evaluate(dictionaries, stream, self.held_out)
        reports = {}
        for (folder, learner), dictionary, measured in zip(done.items(), dictionaries, evaluations, strict=True):
            config, dead = learner.config, learner.dead.float().mean().item()
            objective = measured.squared_error * stream.scale**2 + config.l1 * measured.activation * stream.scale
            report = reports[folder] = TrainReport(
                measured.l0, measured.fvu, 1 - measured.fvu, objective if config.architecture == "standard" else measured.fvu,
                dead, config.dead_after, measured.tokens, config.steps * config.batch_tokens, round(self._elapsed(), 1),
            )  # fmt: skip
            metadata = {"training": asdict(config), "report": asdict(report)}
            # The report first: a dictionary without one would be refused as that of another training.
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"identity": self.identities[folder], **metadata}, indent=2)
            write_text(folder / REPORT, text)
            facts = {**metadata, "prepend_bos": stream.corpus.bos_id is not None}
            writer.save(folder, dictionary, model_name=stream.subject.name, metadata=facts)
        return reports

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "identity": self._identity(), "step": self.step, "seconds": self._elapsed(), "buffer": self.buffer.state(),
            "learners": {self.identities[folder]: learner.state() for folder, learner in self.learners.items()},
        }  # fmt: skip
        with written_whole(self.checkpoint) as partial, partial.open("wb") as file:
            torch.save(state, file)

    def _saved(self) -> dict[str, Any] | None:
        if not self.checkpoint.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(
                self.checkpoint, map_location=self.stream.subject.device, weights_only=True
            )
            identity = state["identity"]
        except Exception as error:
            raise DictionaryError(
                f"checkpoint {self.checkpoint} cannot be read ({type(error).__name__}): remove it to start over"
            ) from None
        if identity != self._identity():
            raise DictionaryError(
                f"checkpoint {self.checkpoint} is of another training: remove it, or choose another folder"
            )
        return state

    def _identity(self) -> str:
        return hashlib.sha256(json.dumps(sorted(self.identities.values())).encode()).hexdigest()

    def _elapsed(self) -> float:
        """Seconds of training, including those before the checkpoint."""
        return self.seconds_before + time.monotonic() - self.started

    def _note_figures(self, folder: Path, learner: Learner, last: Step) -> None:
        if self.progress is not None:
            dead = learner.dead.float().mean().item()
            self.figures[folder.name] = Figures(last.loss, last.l0, last.fvu, dead)

    def _report_progress(self) -> None:
        if self.progress is not None:
            step_s = (time.monotonic() - self.started) / max(self.step - self.first_step, 1)
            to_harvest = self.buffer.rows_for(self.steps)
            self.progress(TrainProgress(
                self.step, self.steps, self.step * self.batch, self.batch / max(step_s, 1e-9), step_s * (self.steps - self.step),
                min(self.stream.harvested, to_harvest), to_harvest, dict(self.figures),
            ))  # fmt: skip
