"""A small trainer: from a subject and a corpus to a dictionary in SAELens format, resumable at any moment.

The same configuration and seed on the same machine give the same weights, whether or not the training was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.buffer import ActivationStream, MixingBuffer, split
from sae.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats import saelens
from sae.objectives import BatchTopK, Objective, Standard, Step
from sae.subject import Subject

HELD_OUT_TOKENS = 32_768
CHECKPOINT = "checkpoint.pt"
REPORT = "train.json"


@dataclass(frozen=True)
class TrainConfig:
    """How a dictionary is trained. All counts of tokens are activations trained on, repeats included."""

    architecture: Literal["batchtopk", "standard"] = "batchtopk"
    """`batchtopk` with AuxK, exported as jumprelu; or `standard`, Scaling Monosemanticity's ReLU with an L1 penalty."""
    d_sae: int = 4096
    """Number of features."""
    k: int = 32
    """Features active a token on average (batchtopk)."""
    l1: float = 5.0
    """Weight of the penalty (standard). Means what it does in the paper: activations have mean squared norm d."""
    tokens: int = 2_000_000
    """Activations to train on."""
    reuse: int = 1
    """Times that each harvested activation is trained on. More than 1 pays where the forward pass is the slower part."""
    batch_tokens: int = 2048
    """Activations in one step."""
    buffer_tokens: int = 131_072
    """Activations mixed at a time."""
    forward_tokens: int = 4096
    """Tokens in one forward pass of the subject."""
    lr: float = 3e-4
    """Adam's learning rate. Anthropic's April 2024 update has 5e-5 for 200,000 steps; short trainings need more."""
    warmup: float = 0.02
    """Share of the steps over which the learning rate rises. It falls to 0 over the last fifth."""
    dead_tokens: int | None = None
    """A feature silent for this many tokens is dead. Left out: a twentieth of `tokens`, at most the paper's 10 million."""
    checkpoint_steps: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Decides the initial weights, what is held out, and every order."""

    def __post_init__(self) -> None:
        for name in (
            "d_sae",
            "k",
            "tokens",
            "reuse",
            "batch_tokens",
            "buffer_tokens",
            "forward_tokens",
            "checkpoint_steps",
        ):
            if getattr(self, name) < 1:
                raise DictionaryError(f"training: {name} = {getattr(self, name)} must be at least 1")
        if self.architecture not in ("batchtopk", "standard"):
            raise DictionaryError(
                f"training: architecture = {self.architecture!r} is not known: use batchtopk or standard"
            )
        if self.architecture == "batchtopk" and self.k > self.d_sae:
            raise DictionaryError(f"training: k = {self.k} exceeds d_sae = {self.d_sae}: lower it")
        if not self.lr > 0:
            raise DictionaryError(f"training: lr = {self.lr} must be positive")

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""
        return -(-self.tokens // self.batch_tokens)

    @property
    def dead_after(self) -> int:
        """Tokens of silence after which a feature is dead."""
        return self.dead_tokens or max(1, min(10_000_000, self.tokens // 20))


@dataclass(frozen=True)
class TrainReport:
    """What came out. l0, fvu and explained_variance are measured on held-out tokens with the dictionary as saved.

    `fvu`: total squared error over total variance. `dead_fraction`: features silent over the last `dead_tokens` of training.
    """

    l0: float
    fvu: float
    explained_variance: float
    dead_fraction: float
    dead_tokens: int
    held_out_tokens: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands; the figures are of the last step's batch."""

    step: int
    steps: int
    tokens: int
    tokens_per_s: float
    seconds_left: float
    loss: float
    l0: float
    fvu: float
    dead_fraction: float


Progress = Callable[[TrainProgress], None]


def train(
    subject: Subject,
    corpus: Corpus,
    hook_point: str,
    config: TrainConfig,
    folder: Path,
    progress: Progress | None = None,
) -> TrainReport:
    """Train, or go on from `folder`'s checkpoint, or return the report of what is finished there with the same configuration.

    Saves a SAELens folder with `train.json` beside it. Raises `DictionaryError` when `folder` holds another training, `SubjectError`
    for a hook point that is not there, `CorpusError` for too little text.
    """
    identity = _identity(subject, corpus, hook_point, config)
    finished = _finished(folder, identity)
    if finished is not None:
        return finished
    train_rows, held_out = split(corpus, config.seed, HELD_OUT_TOKENS)
    stream = ActivationStream(subject, corpus, hook_point, train_rows, config.seed, config.forward_tokens)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(config, stream, folder / CHECKPOINT, identity)
    run.start()
    run.go(progress)
    dictionary = Dictionary(
        **run.objective.exported(stream.scale),
        hook_point=hook_point,
        architecture=config.architecture,
        path=str(folder),
    )
    l0, fvu, measured = evaluate(dictionary, stream, held_out)
    dead = (run.silent >= config.dead_after).float().mean().item()
    report = TrainReport(
        l0, fvu, 1 - fvu, dead, config.dead_after, measured, config.steps * config.batch_tokens, round(run.seconds, 1)
    )
    metadata = {"training": asdict(config), "report": asdict(report)}
    saelens.save(folder, dictionary, model_name=subject.name, metadata=metadata)
    _write_atomically(folder / REPORT, json.dumps({"identity": identity, **metadata}, indent=2).encode())
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return report


@torch.no_grad()
def evaluate(
    dictionary: Dictionary, stream: ActivationStream, contexts: npt.NDArray[np.int64]
) -> tuple[float, float, int]:
    """`(l0, fvu, tokens)` of a dictionary over contexts: mean active features a token, and squared error over variance."""
    total = torch.zeros(dictionary.d_in, dtype=torch.float64, device=dictionary.W_enc.device)
    squares = error = active = 0.0
    count = 0
    for x in stream.raw(contexts):
        x = x[x.norm(dim=1) <= stream.limit]
        f = dictionary.encode(x)
        active += float((f > 0).sum())
        error += float((x - dictionary.decode(f)).double().square().sum())
        squares += float(x.double().square().sum())
        total += x.double().sum(dim=0)
        count += len(x)
    variance = squares - float(total.square().sum()) / max(count, 1)
    return active / max(count, 1), error / max(variance, 1e-12), count


class _Run:
    """A training in progress: everything that a checkpoint holds."""

    def __init__(self, config: TrainConfig, stream: ActivationStream, checkpoint: Path, identity: str) -> None:
        self.config, self.stream, self.checkpoint, self.identity = config, stream, checkpoint, identity
        self.buffer = MixingBuffer(stream, config.batch_tokens, config.buffer_tokens // 2, config.reuse, config.seed)
        self.silent = torch.zeros(config.d_sae, dtype=torch.long, device=stream.subject.device)
        self.step, self.seconds = 0, 0.0

    def start(self) -> None:
        """From the checkpoint when there is one, else from the beginning."""
        began = time.monotonic()
        state = self._saved()
        if state is None:
            self.stream.calibrate()
        else:
            self.buffer.restore(state["buffer"])
        config, mean, precision = self.config, self.stream.mean, self.stream.subject.precision
        if config.architecture == "standard":
            self.objective: Objective = Standard(config.d_sae, mean, config.l1, config.seed, precision)
        else:
            self.objective = BatchTopK(config.d_sae, mean, config.k, config.seed, precision, config.steps)
        self.adam = torch.optim.Adam(list(self.objective.parameters.values()), lr=config.lr, fused=True)
        if state is None:
            self.buffer.fill()
        else:
            with torch.no_grad():
                for name, parameter in self.objective.parameters.items():
                    parameter.copy_(state["parameters"][name])
            self.objective.restore(state["objective"])
            self.adam.load_state_dict(state["adam"])
            self.step, self.seconds, self.silent = state["step"], state["seconds"], state["silent"]
        self.seconds += time.monotonic() - began

    def go(self, progress: Progress | None) -> None:
        """Train to the end, saving a checkpoint every so many steps."""
        config, first, before = self.config, self.step, self.seconds
        began = time.monotonic()
        while self.step < config.steps:
            done = self.step / config.steps
            for group in self.adam.param_groups:
                group["lr"] = config.lr * min(1.0, (self.step + 1) / (config.warmup * config.steps + 1), 5 * (1 - done))
            result = self.objective.gradients(self.buffer.next(), done, self.silent >= config.dead_after)
            torch.nn.utils.clip_grad_norm_(self.objective.parameters.values(), 1.0)
            self.adam.step()
            self.objective.after_step()
            self.silent = (self.silent + config.batch_tokens).masked_fill_(result.fired, 0)
            self.step += 1
            elapsed = time.monotonic() - began
            self.seconds = before + elapsed
            if self.step % config.checkpoint_steps == 0 and self.step < config.steps:
                self.save()
            if progress is not None:
                progress(self._progress(result, elapsed / (self.step - first)))

    def _progress(self, last: Step, pace: float) -> TrainProgress:
        dead = (self.silent >= self.config.dead_after).float().mean().item()
        batch, left = self.config.batch_tokens, self.config.steps - self.step
        done = (self.step, self.config.steps, self.step * batch)
        return TrainProgress(*done, batch / max(pace, 1e-9), pace * left, last.loss, last.l0, last.fvu, dead)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        parameters: dict[str, Tensor] = {name: p.detach() for name, p in self.objective.parameters.items()}
        state = {
            "identity": self.identity, "step": self.step, "seconds": self.seconds, "silent": self.silent,
            "parameters": parameters, "objective": self.objective.state(), "adam": self.adam.state_dict(),
            "buffer": self.buffer.state(),
        }  # fmt: skip
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

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
        if identity != self.identity:
            raise DictionaryError(
                f"checkpoint {self.checkpoint} is of another training: remove it, or choose another folder"
            )
        return state


def _identity(subject: Subject, corpus: Corpus, hook_point: str, config: TrainConfig) -> str:
    decides = {name: value for name, value in asdict(config).items() if name != "checkpoint_steps"}
    what = [subject.fingerprint, subject.precision, corpus.fingerprint, hook_point, decides]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _finished(folder: Path, identity: str) -> TrainReport | None:
    if not saelens.matches(folder):
        return None
    try:
        saved = json.loads((folder / REPORT).read_text())
        report = TrainReport(**saved["report"]) if saved["identity"] == identity else None
    except (OSError, ValueError, KeyError, TypeError):
        report = None
    if report is None and not (folder / CHECKPOINT).is_file():
        raise DictionaryError(f"{folder} holds a dictionary of another training: remove it, or choose another folder")
    return report


def _write_atomically(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
