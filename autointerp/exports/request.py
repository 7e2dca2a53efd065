"""What a user asks of an export: where it goes and under which name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from autointerp.errors import UsageError
from autointerp.findings.summary import Summary


@dataclass(frozen=True)
class Request:
    """Where an export goes."""

    out: Path
    """Folder to write to."""
    name: str | None = None
    """Name at the target, if one is given; each target says what it names."""
    public: bool = False
    """Whether everyone may see what is uploaded."""


@dataclass(frozen=True)
class Source:
    """The names of a subject and a dictionary on Neuronpedia, such as `gpt2-small` and `6-res-jb`."""

    model: str
    name: str
    """The source: the layer's number, a hyphen and the name of the set."""
    layer: int

    @property
    def set(self) -> str:
        """The source without its layer, which names the set of sources of all layers."""
        return self.name.removeprefix(f"{self.layer}-")


def source_of(summary: Summary, name: str | None) -> Source:
    """The names of a run's source, as `named_source` gives them. Raises `UsageError`."""
    return named_source(name, summary.subject.name, summary.hook_point, summary.dictionary.name)


def named_source(name: str | None, subject: str, hook_point: str, dictionary: str) -> Source:
    """The names that `--name MODEL/SOURCE` gives, or else those made of the subject's, the hook point's and the dictionary's. Raises `UsageError`."""
    layer = next(iter(re.findall(r"\d+", hook_point)), "0")
    if name is None:
        kind = re.sub(r"[._]+", "-", hook_point.replace(layer, "", 1)).strip("-")
        set_ = f"{kind}-{slug(dictionary)}"
        return Source(slug(subject), f"{layer}-{set_}", int(layer))
    model, _, source = name.partition("/")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or not source.startswith(f"{layer}-"):
        raise UsageError(
            f"--name {name} is not MODEL/SOURCE of layer {layer}: write it like {model or 'gpt2-small'}/{layer}-res-jb"
        )
    return Source(model, source, int(layer))


def slug(text: str) -> str:
    """The last part of a path or hub id in lower case, with hyphens in place of everything but letters, digits and points."""
    return re.sub(r"[^a-z0-9.]+", "-", text.rstrip("/").rpartition("/")[2].lower()).strip("-.") or "unnamed"
