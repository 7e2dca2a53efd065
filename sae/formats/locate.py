"""Finds the local folder of a dictionary, given a path, or a hub id, of which only the necessary files are downloaded."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sae.errors import DictionaryError
from sae.formats.location import DictionaryLocation
from sae.formats.readers import packed_suffix
from sae.library_errors import remedy

WEIGHTS = (".safetensors", ".npz", ".pt", ".pth")
_CONFIGS = (".json", ".yaml", ".yml")
_PICKLED = (".bin", ".pkl", ".pickle", ".joblib", ".ckpt")
_HUB_PATH = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)((?:/[\w.:-]+)*)/?")


def locate(path: str, revision: str | None, patterns: tuple[str, ...]) -> DictionaryLocation:
    """The folder or file of a local path; or of a hub id, whose files that match `patterns` are downloaded. Raises
    `DictionaryError`."""
    local = Path(path).expanduser().absolute()
    try:
        is_folder, is_file = local.is_dir(), local.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise DictionaryError(f"dictionary {path[:100]} cannot be read: {error.strerror}: check the path") from None
    if is_folder:
        return DictionaryLocation(local, path)
    if is_file:
        if local.suffix in _PICKLED:
            raise DictionaryError(
                f"{path} is a pickle, which can run code when loaded: save the weights as safetensors"
            )
        if suffix := packed_suffix(local):
            raise DictionaryError(f"{path} is compressed ({suffix}): unpack it")
        if local.suffix not in (*WEIGHTS, *_CONFIGS):
            raise DictionaryError(
                f"{path} is no file of weights ({', '.join(WEIGHTS)}): give one, or the dictionary's folder"
            )
        return DictionaryLocation(local.parent, path, local if local.suffix in WEIGHTS else None)
    match = _HUB_PATH.fullmatch(path)
    if not match:
        raise DictionaryError(f"dictionary {path} does not exist: check the path, or give owner/name/folder on the hub")
    repository, inside = match[1], PurePosixPath(match[2].strip("/"))
    file = inside.name if inside.suffix in WEIGHTS else None
    folder = inside.parent if file else inside
    root = _download(repository, folder, revision, _fill_in(patterns, file))
    if (root / inside).is_dir():  # some folders have names like files
        return DictionaryLocation(root / inside, path)
    return DictionaryLocation(root / folder, path, root / inside if file else None)


def _fill_in(patterns: tuple[str, ...], file: str | None) -> tuple[str, ...]:
    """The patterns with `{n}` replaced by the number in the name of the user's file, and the file itself.

    Without a number, patterns with `{n}` are left out. The file's name may be that of a folder, so the patterns are also applied
    below it.
    """
    numbers = re.findall(r"\d+", file.partition(".")[0]) if file else []
    filled = [pattern.replace("{n}", numbers[-1] if numbers else "{n}") for pattern in patterns]
    complete = [pattern for pattern in filled if "{n}" not in pattern]
    return (*complete, *([file, *(f"{file}/{pattern}" for pattern in complete)] if file else []))


def _download(repository: str, inside: PurePosixPath, revision: str | None, patterns: tuple[str, ...]) -> Path:
    """Download the files that an adapter reads, from this folder only, because repositories hold hundreds of dictionaries."""
    # In the hub's patterns * also matches across folders, so a pattern at the top would match every dictionary below it.
    allowed = [str(inside / pattern) for pattern in patterns if "*" not in pattern or str(inside) != "."]
    shown = f"dictionary {repository}" + ("" if str(inside) == "." else f"/{inside}")
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=allowed))
    except RevisionNotFoundError:
        raise DictionaryError(
            f"{shown} has no revision {revision!r} on the hub: give a branch, tag or commit"
        ) from None
    except GatedRepoError as error:
        raise DictionaryError(f"{shown} cannot be downloaded: {remedy(error)}") from None
    except RepositoryNotFoundError:
        raise DictionaryError(
            f"{shown} is neither a local folder nor on the hub: check the name; private ones need `hf auth login`"
        ) from None
    except (LocalEntryNotFoundError, ConnectionError):
        raise DictionaryError(
            f"{shown} is not on this machine, and the hub cannot be reached: is the network up?"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise DictionaryError(f"{shown} cannot be downloaded: {remedy(error)}") from None
