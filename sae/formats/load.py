"""File formats of dictionaries: one adapter a module, found by looking at the files.

An adapter turns one layout into `sae.dictionary.Dictionary`, exactly: orientation and normalisation are decided by the format,
never guessed from shapes. Weights are read from safetensors, from npz without pickles, or by torch's `weights_only` reader, which
runs no code, and from nothing else.
"""

from __future__ import annotations

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
from sae.formats.location import Place
from sae.formats.saelens import reader


class Adapter(Protocol):
    """What each module here offers."""

    PUBLISHER: str
    """Whose dictionaries these are, for the table in the docs."""
    CHECKED: str
    """How reading them was checked, for the same table."""
    FILES: tuple[str, ...]
    """Patterns of the names of all the files it reads, the ones that make out the format first. `{n}` is the number in the name of
    the file that the user points at, for formats with a file a layer."""

    def matches(self, place: Place) -> bool:
        """Whether a dictionary of this format is there, by the names of the files and, where those are common, by what they hold."""

    def load(self, place: Place) -> Dictionary:
        """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""


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
"""By the name that a spec gives; `auto` takes the first that matches. The last ones go by what a file holds, not by its name."""


def load_dictionary(
    path: str,
    *,
    format: str = "auto",
    hook_point: str | None = None,
    revision: str | None = None,
    k: int | None = None,
) -> Dictionary:
    """Load a dictionary from a folder or file, or from the hub as `owner/name[/folder/inside][/file]`.

    `format` is one of `ADAPTERS`, or "auto" to go by the files. `hook_point` overrides the dictionary's own. `k` is
    the number of features active a token, for formats whose files do not say. Raises `DictionaryError`, always one line; nothing
    in the files is ever executed.
    """
    if format != "auto" and format not in ADAPTERS:
        raise DictionaryError(f"dictionary format {format!r} is not known: use auto, {', '.join(ADAPTERS)}")
    patterns = tuple(dict.fromkeys(pattern for adapter in ADAPTERS.values() for pattern in adapter.FILES))
    place = replace(locate(path, revision, patterns), hook_point=hook_point, k=k)
    candidates = ADAPTERS.values() if format == "auto" else [ADAPTERS[format]]
    adapter = next((candidate for candidate in candidates if candidate.matches(place)), None)
    if adapter is None:
        raise DictionaryError(_nothing_here(place, format))
    dictionary = adapter.load(place)
    return dictionary if Path(path).expanduser().exists() else replace(dictionary, path=path)


def _nothing_here(place: Place, format: str) -> str:
    files = {name: adapter.FILES for name, adapter in ADAPTERS.items() if format in ("auto", name)}
    if place.file is not None:
        return f"{place.name} is not a dictionary of a known format: give one of {', '.join(files)}, or name its folder"
    wanted = ", ".join(files) if format == "auto" else " + ".join(files[format][:2])
    inside = sorted(
        {
            found.parent.relative_to(place.folder).as_posix()
            for patterns in files.values()
            for found in place.folder.glob(f"*/**/{patterns[-1 if len(patterns) == 1 else 1]}".replace("{n}", "*"))
        }
    )
    hint = f"; there are dictionaries in its folders, such as {inside[0]}: name one" if inside else ""
    return f"{place.name} holds no dictionary of a known format ({wanted}){hint}"
