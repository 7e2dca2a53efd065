"""File formats of dictionaries: one adapter a module, each with `FILES`, `matches(folder)` and `load(folder, hook_point)`.

An adapter turns one layout into `sae.dictionary.Dictionary`, exactly: orientation and normalisation are decided by the format,
never guessed from shapes. Weights are read from safetensors, or from npz without pickles, and from nothing else.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats import gemma_scope, saelens, sparsify


class Adapter(Protocol):
    """What each module here offers."""

    FILES: tuple[str, ...]
    """All the files it reads, the two that make out the format first."""

    def matches(self, folder: Path) -> bool: ...
    def load(self, folder: Path, hook_point: str | None = None) -> Dictionary: ...


ADAPTERS: dict[str, Adapter] = {"saelens": saelens, "gemma_scope": gemma_scope, "sparsify": sparsify}
_PICKLED = (".pt", ".pth", ".pkl", ".bin", ".ckpt")
_HUB_PATH = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)((?:/[\w.-]+)*)/?")


def load(path: str, *, format: str = "auto", hook_point: str | None = None, revision: str | None = None) -> Dictionary:
    """See `sae.dictionary.load_dictionary`."""
    if format != "auto" and format not in ADAPTERS:
        raise DictionaryError(f"dictionary format {format!r} is not known: use auto, {', '.join(ADAPTERS)}")
    folder = _locate(path, revision)
    adapter = ADAPTERS[format] if format != "auto" else None
    for candidate in ADAPTERS.values() if adapter is None else ():
        if candidate.matches(folder):
            adapter = candidate
            break
    if adapter is None or not adapter.matches(folder):
        raise DictionaryError(_nothing_here(path, folder, format))
    dictionary = adapter.load(folder, hook_point)
    return dictionary if Path(path).expanduser().exists() else replace(dictionary, path=path)


def _locate(path: str, revision: str | None) -> Path:
    """The local folder: as given, the folder of a given file, or downloaded from the hub."""
    local = Path(path).expanduser().absolute()
    if local.is_dir():
        return local
    if local.is_file():
        if local.suffix in _PICKLED:
            raise DictionaryError(
                f"{path} is a pickle, which can run code when loaded: save the weights as safetensors"
            )
        return local.parent
    match = _HUB_PATH.fullmatch(path)
    if not match:
        raise DictionaryError(f"dictionary {path} does not exist: check the path, or give owner/name/folder on the hub")
    return _download(match[1], match[2].strip("/"), revision)


def _download(repository: str, inside: str, revision: str | None) -> Path:
    """Only the files that an adapter reads, and only from the folder named: repositories hold hundreds of dictionaries."""
    import huggingface_hub
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    names = [name for adapter in ADAPTERS.values() for name in adapter.FILES]
    wanted = [f"{inside}/{name}" if inside else name for name in dict.fromkeys(names)]
    shown = f"dictionary {repository}/{inside}" if inside else f"dictionary {repository}"
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=wanted)) / inside
    except RevisionNotFoundError:
        raise DictionaryError(
            f"{shown} has no revision {revision!r} on the hub: give a branch, tag or commit"
        ) from None
    except RepositoryNotFoundError:
        raise DictionaryError(
            f"{shown} is neither a local folder nor on the hub: check the name; private ones need `hf auth login`"
        ) from None
    except (LocalEntryNotFoundError, ConnectionError):
        raise DictionaryError(
            f"{shown} is not on this machine and the hub cannot be reached: is the network up?"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DictionaryError(f"{shown} cannot be downloaded: {reason}") from None


def _nothing_here(path: str, folder: Path, format: str) -> str:
    files = {name: adapter.FILES for name, adapter in ADAPTERS.items() if format in ("auto", name)}
    wanted = "; ".join(f"{name}: {' + '.join(needed[:2])}" for name, needed in files.items())
    pickles = sorted(p.name for p in folder.glob("*") if p.suffix in _PICKLED) if folder.is_dir() else []
    if pickles:
        return f"{path} holds pickled weights ({pickles[0]}), which can run code when loaded: save them as safetensors"
    inside = sorted(
        p.parent.relative_to(folder).as_posix() for name in sum(files.values(), ()) for p in folder.glob(f"*/**/{name}")
    )
    hint = f"; there are dictionaries in its folders, such as {inside[0]}: name one" if inside else ""
    return f"{path} holds no dictionary of a known format ({wanted}){hint}"
