"""A small trainer: from a subject and a corpus to dictionaries in SAELens format, resumable at any moment.

The same configuration and seed on the same machine give the same weights, whether or not the training was interrupted, and
whichever other dictionaries were trained from the same stream.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from sae.buffer import ActivationStream, MixingBuffer, split
from sae.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats import saelens
from sae.learner import Learner
from sae.objectives import Step
from sae.objectives.jumprelu import Sparsity
from sae.subject import Subject

HELD_OUT_TOKENS = 32_768
CHECKPOINT = "checkpoint.pt"
REPORT = "train.json"
SHARED = ("seed", "reuse", "batch_tokens", "buffer_tokens", "forward_tokens")
"""What decides the stream, and so has to be the same for all dictionaries that are trained from one."""

Architecture = Literal["batchtopk", "topk", "jumprelu", "matryoshka", "standard"]


@dataclass(frozen=True)
class TrainConfig:
    """How a dictionary is trained. All counts of tokens are activations trained on, repeats included."""

    architecture: Architecture = "batchtopk"
    """`batchtopk` with AuxK, exported as jumprelu; `topk` with AuxK; `matryoshka`, nested batchtopk; `jumprelu`; or
    `standard`, Scaling Monosemanticity's ReLU with an L1 penalty."""
    d_sae: int = 4096
    """Number of features."""
    k: int = 32
    """Features active a token: exactly (topk), on average (batchtopk, matryoshka), or aimed at (jumprelu)."""
    l1: float = 5.0
    """Weight of the penalty (standard). Means what it does in the paper: activations have mean squared norm d."""
    sparsity: Sparsity = "target"
    """The penalty of jumprelu: `target`, (L0 / k - 1)²; `l0`, L0 / k; or `tanh`, Anthropic's of January 2025, over k."""
    sparsity_weight: float = 1.0
    """Weight of that penalty against `||x - x_hat||² / d`."""
    prefixes: tuple[int, ...] = ()
    """Widths of the nested dictionaries (matryoshka), ascending, without d_sae. Left out: a 16th, 8th, quarter and half
    of d_sae."""
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
        counts = (
            "d_sae",
            "k",
            "tokens",
            "reuse",
            "batch_tokens",
            "buffer_tokens",
            "forward_tokens",
            "checkpoint_steps",
        )
        for name in counts:
            if getattr(self, name) < 1:
                raise DictionaryError(f"training: {name} = {getattr(self, name)} must be at least 1")
        for name, known in (("architecture", get_args(Architecture)), ("sparsity", get_args(Sparsity))):
            if getattr(self, name) not in known:
                what = f"training: {name} = {getattr(self, name)!r} is not known"
                raise DictionaryError(f"{what}: use {', '.join(known[:-1])} or {known[-1]}")
        if self.architecture != "standard" and self.k > self.d_sae:
            raise DictionaryError(f"training: k = {self.k} exceeds d_sae = {self.d_sae}: lower it")
        if not self.lr > 0:
            raise DictionaryError(f"training: lr = {self.lr} must be positive")
        if list(self.prefixes) != sorted({p for p in self.prefixes if 0 < p < self.d_sae}):
            raise DictionaryError(
                f"training: prefixes = {list(self.prefixes)} must ascend between 0 and d_sae = {self.d_sae}"
            )

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""
        return -(-self.tokens // self.batch_tokens)

    @property
    def dead_after(self) -> int:
        """Tokens of silence after which a feature is dead."""
        return self.dead_tokens or max(1, min(10_000_000, self.tokens // 20))

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the nested dictionaries of matryoshka, without the whole."""
        return self.prefixes or tuple(w for w in (self.d_sae // n for n in (16, 8, 4, 2)) if w)


@dataclass(frozen=True)
class TrainReport:
    """What came out. l0, fvu, explained_variance and loss are measured on held-out tokens with the dictionary as saved.

    `fvu`: total squared error over total variance. `loss`: what scaling laws are fitted to: the objective, scaled as in
    training, for `standard`; the fvu for the others, whose penalty says nothing about quality. `dead_fraction`: features
    silent over the last `dead_tokens` of training. `seconds`: until it was done, others on its stream included.
    """

    l0: float
    fvu: float
    explained_variance: float
    loss: float
    dead_fraction: float
    dead_tokens: int
    held_out_tokens: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Figures:
    """One dictionary's last step: loss, features active a token, variance unexplained, share of dead features."""

    loss: float
    l0: float
    fvu: float
    dead_fraction: float


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands: told after every step, and in between whenever activations were harvested."""

    step: int
    steps: int
    tokens: int
    tokens_per_s: float
    seconds_left: float
    harvested: int
    to_harvest: int
    """Activations that the subject has produced, and has to: fewer than tokens where they are reused."""
    figures: dict[str, Figures]
    """By the name of each dictionary's folder."""


Progress = Callable[[TrainProgress], None]


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
        run = _Run(left, identities, stream, held_out, checkpoint, progress)
        run.start()
        reports |= run.go()
        checkpoint.unlink(missing_ok=True)
    return {folder: reports[folder] for folder in configs}


@dataclass(frozen=True)
class Evaluation:
    """A dictionary over contexts: features active a token, error over variance, a token's squared error and activation.

    `activation` is the sum of `f_i ||W_dec_i||`.
    """

    l0: float
    fvu: float
    squared_error: float
    activation: float
    tokens: int


@torch.no_grad()
def evaluate(
    dictionaries: Sequence[Dictionary], stream: ActivationStream, contexts: npt.NDArray[np.int64]
) -> list[Evaluation]:
    """Measure dictionaries on the same activations, unscaled, in one pass over the contexts."""
    total = torch.zeros(stream.width, dtype=torch.float64, device=stream.subject.device)
    sums = torch.zeros(len(dictionaries), 3, dtype=torch.float64)
    squares, count = 0.0, 0
    for x in stream.raw(contexts):
        x = x[x.norm(dim=1) <= stream.limit]
        for row, dictionary in enumerate(dictionaries):
            f = dictionary.encode(x)
            error = (x - dictionary.decode(f, x)).double().square().sum()
            active = torch.count_nonzero(f)
            sums[row] += torch.tensor([active, error, (f @ dictionary.decoder_norm.to(f)).double().sum()]).double()
        squares += float(x.double().square().sum())
        total += x.double().sum(dim=0)
        count += len(x)
    n = max(count, 1)
    variance = max(squares - float(total.square().sum()) / n, 1e-12)
    return [Evaluation(a / n, e / variance, e / n, s / n, count) for a, e, s in sums.tolist()]


class _Run:
    """A training in progress: everything that a checkpoint holds."""

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
        self.step, self.seconds = 0, 0.0
        self.began, self.first_step, self.seconds_before = time.monotonic(), 0, 0.0

    def start(self) -> None:
        """From the checkpoint when there is one, else from the beginning."""
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
        self.stream.told = self._tell
        if state is None:
            self.buffer.fill()

    def go(self) -> dict[Path, TrainReport]:
        """Train to the end, saving a checkpoint every so many steps."""
        reports: dict[Path, TrainReport] = {}
        while self.learners:
            x = self.buffer.next()
            for folder, learner in self.learners.items():
                self._note(folder, learner, learner.learn(x))
            self.step += 1
            done = {folder: learner for folder, learner in self.learners.items() if learner.done}
            self._tell()
            if done:
                reports |= self._finish(done)
                self.learners = {folder: rest for folder, rest in self.learners.items() if folder not in done}
            if self.step % self.every == 0 and self.learners:
                self.save()
        return reports

    def _finish(self, done: Mapping[Path, Learner]) -> dict[Path, TrainReport]:
        """Measure and save dictionaries whose training is over."""
        stream, hook_point = self.stream, self.stream.hook_point
        made = [learner.dictionary(stream.scale, hook_point, str(folder)) for folder, learner in done.items()]
        measured = evaluate(made, stream, self.held_out)
        reports = {}
        for (folder, learner), dictionary, found in zip(done.items(), made, measured, strict=True):
            config, dead = learner.config, learner.dead.float().mean().item()
            objective = found.squared_error * stream.scale**2 + config.l1 * found.activation * stream.scale
            report = reports[folder] = TrainReport(
                found.l0, found.fvu, 1 - found.fvu, objective if config.architecture == "standard" else found.fvu,
                dead, config.dead_after, found.tokens, config.steps * config.batch_tokens, round(self._elapsed(), 1),
            )  # fmt: skip
            metadata = {"training": asdict(config), "report": asdict(report)}
            # The report first: a dictionary without one would be taken for somebody else's.
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"identity": self.identities[folder], **metadata}, indent=2)
            _write_atomically(folder / REPORT, text.encode())
            saelens.save(folder, dictionary, model_name=stream.subject.name, metadata=metadata)
        return reports

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "identity": self._identity(), "step": self.step, "seconds": self._elapsed(), "buffer": self.buffer.state(),
            "learners": {self.identities[folder]: learner.state() for folder, learner in self.learners.items()},
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
        if identity != self._identity():
            raise DictionaryError(
                f"checkpoint {self.checkpoint} is of another training: remove it, or choose another folder"
            )
        return state

    def _identity(self) -> str:
        return hashlib.sha256(json.dumps(sorted(self.identities.values())).encode()).hexdigest()

    def _elapsed(self) -> float:
        return self.seconds_before + time.monotonic() - self.began

    def _note(self, folder: Path, learner: Learner, last: Step) -> None:
        if self.progress is not None:
            dead = learner.dead.float().mean().item()
            self.figures[folder.name] = Figures(last.loss, last.l0, last.fvu, dead)

    def _tell(self) -> None:
        if self.progress is not None:
            pace = (time.monotonic() - self.began) / max(self.step - self.first_step, 1)
            needed = self.buffer.needs(self.steps)
            self.progress(TrainProgress(
                self.step, self.steps, self.step * self.batch, self.batch / max(pace, 1e-9), pace * (self.steps - self.step),
                min(self.stream.harvested, needed), needed, dict(self.figures),
            ))  # fmt: skip


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


def _write_atomically(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
