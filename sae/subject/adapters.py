"""LoRA adapters as subjects: an adapter's folder is loaded as its base model, into which peft merges it.

The base is named by `base_model_name_or_path` of `adapter_config.json`, at its `revision`. A tokenizer beside the adapter takes the place of
the base's. Written against peft 0.21, which reads pickled weights with `torch.load(weights_only=True)` only.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download

from sae.errors import SubjectError, one_line

CONFIG = "adapter_config.json"
_FILES = (
    "adapter_*",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "*.jinja",
)
"""The files of an adapter on the hub that are downloaded."""


@dataclass(frozen=True)
class Adapter:
    """An adapter in a folder."""

    name: str
    folder: Path
    base: str
    """Hub id or folder of the model that it was trained on."""
    revision: str | None
    """Branch, tag or commit of the base on the hub."""

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer lies beside it."""
        return (self.folder / "tokenizer_config.json").is_file()

    def fingerprint(self, base: str) -> str:
        """Hash of the base's fingerprint and of the adapter's files."""
        files = sorted(
            file for file in self.folder.iterdir() if file.is_file() and file.name.startswith(("adapter_", "tokenizer"))
        )
        parts = [["base", base]]
        for file in files:
            with file.open("rb") as stream:
                parts.append([file.name, hashlib.file_digest(stream, "sha256").hexdigest()])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def merged_into(self, model: Any) -> Any:
        """The base model with the adapter's weights added to its own. Raises `SubjectError`."""
        peft = _peft(self)
        try:
            return peft.PeftModel.from_pretrained(model, str(self.folder)).merge_and_unload()
        except Exception as error:
            raise SubjectError(
                f"subject {self.name}: the adapter cannot be merged into {self.base} ({one_line(error)}): check that this is the"
                " model it was trained on, and update peft"
            ) from None


def in_folder(folder: Path) -> Adapter | None:
    """The adapter in a folder; None if it holds none. Raises `SubjectError` if its config names no base model."""
    return _adapter(folder.name, folder) if (folder / CONFIG).is_file() else None


def on_hub(repository: str, revision: str) -> Adapter | None:
    """The adapter in a repository of the hub, downloaded; None if it holds none or the hub cannot be asked. Raises `SubjectError`."""
    file = None
    with suppress(Exception):
        file = Path(hf_hub_download(repository, CONFIG, revision=revision))
    if file is None:
        return None
    folder = file.parent
    with suppress(Exception):  # what is missing is said when it is read
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=list(_FILES)))
    return _adapter(repository, folder)


def _adapter(name: str, folder: Path) -> Adapter:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        base, revision = config.get("base_model_name_or_path"), config.get("revision")
    except (OSError, ValueError, AttributeError):
        base, revision = None, None
    if not isinstance(base, str) or not base:
        raise SubjectError(
            f"subject {name} is an adapter (LoRA) of another model that its {CONFIG} does not name: set base_model_name_or_path there"
        )
    adapter = Adapter(name, folder, base, revision if isinstance(revision, str) else None)
    _peft(adapter)
    return adapter


def _peft(adapter: Adapter) -> Any:
    """The package peft. Raises `SubjectError` if it is not installed."""
    try:
        return import_module("peft")
    except ImportError:
        raise SubjectError(
            f"subject {adapter.name} is an adapter (LoRA) of {adapter.base}, and peft is not installed: `pip install peft` to have the"
            " two merged when they are loaded"
        ) from None
