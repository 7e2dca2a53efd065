"""File formats of dictionaries: one adapter per module, chosen by looking at the files.

An adapter turns one layout into `sae.dictionary.Dictionary`, exactly: orientation and normalisation are decided by the format,
never guessed from shapes. Weights are only read from safetensors, from npz without pickles, or by torch's `weights_only` reader,
which runs no code.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats import (
    circuit_tracer,
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    goodfire,
    llama_scope,
    llamascopium,
    openai,
    qwen_scope,
    r1_distill,
    sparsify,
    unsupported,
)
from sae.formats.locate import locate
from sae.formats.location import DictionaryLocation
from sae.formats.saelens import reader


class Adapter(Protocol):
    """The interface of an adapter module."""

    PUBLISHER: str
    """The publisher of the dictionaries, for the table in the docs."""
    CHECKED: str
    """What the reading was compared with, for the same table."""
    FILES: tuple[str, ...]
    """Name patterns of all files that it reads, first those that identify the format. `{n}` is the number in the name of the file
    that the user points at, for formats with one file per layer."""

    def matches(self, location: DictionaryLocation) -> bool:
        """Whether a dictionary of this format is at the location, by the names of the files or, if those are common, their content."""

    def load(self, location: DictionaryLocation) -> Dictionary:
        """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""


ADAPTERS: dict[str, Adapter] = {
    "saelens": reader,
    "gemma_scope": gemma_scope,
    "gemma_scope_2": gemma_scope_2,
    "sparsify": sparsify,
    "dictionary_learning": dictionary_learning,
    "llama_scope": llama_scope,
    "llamascopium": llamascopium,
    "circuit_tracer": circuit_tracer,
    "qwen_scope": qwen_scope,
    "crosscoder": unsupported.crosscoder,
    "temporal": unsupported.temporal,
    "openai": openai,
    "goodfire": goodfire,
    "r1_distill": r1_distill,
}
"""Adapters by the format's name in a spec. `auto` takes the first that matches. The last three are recognised by the content of a
file, not by its name."""


def load_dictionary(
    path: str,
    *,
    format: str = "auto",
    hook_point: str | None = None,
    revision: str | None = None,
    k: int | None = None,
) -> Dictionary:
    """Load a dictionary from a folder or file, or from the hub as `owner/name[/folder/inside][/file]`.

    `format` is one of `ADAPTERS`, or "auto" to recognise it by the files. `hook_point` overrides the dictionary's own. `k` is the
    number of active features per token, for formats whose files do not state it. Raises `DictionaryError`, always one line. No code
    in the files is ever run.
    """
    if format != "auto" and format not in ADAPTERS:
        raise DictionaryError(f"dictionary format {format!r} is not known: use auto, {', '.join(ADAPTERS)}")
    location = replace(find_location(path, revision), hook_point=hook_point, k=k)
    candidates = ADAPTERS.values() if format == "auto" else [ADAPTERS[format]]
    adapter = next((candidate for candidate in candidates if candidate.matches(location)), None)
    if adapter is None:
        raise DictionaryError(_no_match_message(location, format))
    dictionary = adapter.load(location)
    return dictionary if Path(path).expanduser().exists() else replace(dictionary, path=path)


def find_location(path: str, revision: str | None) -> DictionaryLocation:
    """The location of a path or hub id, of which the files that an adapter reads are downloaded. Raises `DictionaryError`."""
    patterns = tuple(dict.fromkeys(pattern for adapter in ADAPTERS.values() for pattern in adapter.FILES))
    return locate(path, revision, patterns)


def _no_match_message(location: DictionaryLocation, format: str) -> str:
    files = {name: adapter.FILES for name, adapter in ADAPTERS.items() if format in ("auto", name)}
    if parts := sorted(location.folder.glob("*-00001-of-*.safetensors")):
        return f"{location.name} has its weights in several files, such as {parts[0].name}: join them into one"
    if location.file is not None:
        return (
            f"{location.name} is not a dictionary of a known format: give one of {', '.join(files)}, or name its folder"
        )
    expected = ", ".join(files) if format == "auto" else " + ".join(files[format][:2])
    numbered = [
        re.escape(name).replace(r"\{n\}", r"\d+") for names in files.values() for name in names if "{n}" in name
    ]
    own = sorted(path.name for path in location.folder.iterdir() if re.fullmatch("|".join(numbered), path.name))
    subfolders = sorted(
        {
            path.parent.relative_to(location.folder).as_posix()
            for patterns in files.values()
            for path in location.folder.glob(f"*/**/{patterns[-1 if len(patterns) == 1 else 1]}".replace("{n}", "*"))
        }
    )
    hint = f"; each of its files is a dictionary: name one, such as {location.name}/{own[0]}" if own else ""
    if not own and subfolders:
        hint = f"; there are dictionaries in its folders, such as {subfolders[0]}: name one"
    return f"{location.name} holds no dictionary of a known format ({expected}){hint}"
