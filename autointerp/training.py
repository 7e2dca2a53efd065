"""What `autointerp train` reads: a TOML file that names the subject, the corpus, the hook point and how to train."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from autointerp.errors import UsageError
from autointerp.inputs import open_corpus, open_subject
from autointerp.spec import Corpus, Section, Subject
from autointerp.specfile import read_toml, wrong_key

if TYPE_CHECKING:
    from autointerp.inputs import Tell
    from sae.train import TrainProgress, TrainReport


class Training(Section):
    """One training of a dictionary."""

    subject: Subject
    corpus: Corpus
    hook_point: str = Field(pattern=r"^(resid_post|mlp_act)\.\d+$")
    """Where the dictionary reads the subject, such as `resid_post.12`."""
    train: dict[str, Any] = Field(default_factory=dict)
    """Any field of `sae.train.TrainConfig`: architecture, d_sae, k, l1, tokens, lr, seed and others."""


def load(path: Path, overrides: Iterable[str] = ()) -> Training:
    """Read a training file. Raises `UsageError`."""
    data = read_toml(path, overrides)
    try:
        return Training.model_validate(data)
    except ValidationError as error:
        raise UsageError(wrong_key(error, Training, "training file")) from None


def train_from(training: Training, folder: Path, tell: Tell) -> TrainReport:
    """Train into `folder`, going on from the checkpoint that an interrupted training left there."""
    from sae.train import TrainConfig, train

    config: TrainConfig = _config(training.train, TrainConfig)
    subject = open_subject(training.subject, tell)
    subject.width(training.hook_point)
    corpus = open_corpus(training.corpus, subject, tell)

    def progress(at: TrainProgress) -> None:
        tell("training", at.tokens, at.steps * config.batch_tokens)

    return train(subject, corpus, training.hook_point, config, folder, progress)


def _config(fields: dict[str, Any], kind: Any) -> Any:
    """Check the table `train` against the trainer's configuration, key by key."""
    strict = type("Strict", (), {"__pydantic_config__": ConfigDict(extra="forbid", strict=True)})
    checked = type("TrainTable", (kind, strict), {})
    try:
        TypeAdapter(checked).validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(["train", *(str(part) for part in first["loc"])])
        known = ", ".join(kind.__dataclass_fields__)
        what = f"is unknown; known here: {known}" if first["type"] == "unexpected_keyword_argument" else first["msg"]
        raise UsageError(f"training file: {key} = {first['input']!r} {what}") from None
    return kind(**fields)
