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
from sae.files import is_local, missing_part
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
    local = local_path(path)
    if local is not None and local.is_dir():
        return DictionaryLocation(local, path)
    if local is not None:
        return DictionaryLocation(local.parent, path, local if local.suffix in WEIGHTS else None)
    match = _HUB_PATH.fullmatch(path)
    assert match, path
    repository, inside = match[1], PurePosixPath(match[2].strip("/"))
    file = inside.name if inside.suffix in WEIGHTS else None
    folder = inside.parent if file else inside
    root = _download(repository, folder, revision, _fill_in(patterns, file))
    if (root / inside).is_dir():  # some folders have names like files
        return DictionaryLocation(root / inside, path)
    return DictionaryLocation(root / folder, path, root / inside if file else None)


def local_path(path: str) -> Path | None:
    """The folder or file of a dictionary on this machine; None for a hub id. Raises `DictionaryError`."""
    local = Path(path).expanduser().absolute()
    try:
        is_folder, is_file = local.is_dir(), local.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise DictionaryError(f"dictionary {path[:100]} cannot be read: {error.strerror}: check the path") from None
    if is_file and local.suffix in _PICKLED:
        raise DictionaryError(f"{path} is a pickle, which can run code when loaded: save the weights as safetensors")
    if is_file and (suffix := packed_suffix(local)):
        raise DictionaryError(f"{path} is compressed ({suffix}): unpack it")
    if is_file and local.suffix not in (*WEIGHTS, *_CONFIGS):
        raise DictionaryError(
            f"{path} is no file of weights ({', '.join(WEIGHTS)}): give one, or the dictionary's folder"
        )
    if is_folder or is_file:
        return local
    if is_local(path) or not _HUB_PATH.fullmatch(path):
        raise DictionaryError(f"dictionary {path} does not exist: check the path, or give owner/name/folder on the hub")
    return None


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
            f"{shown} is neither a local folder nor on the hub: check the path or name; private ones need `hf auth login`"
        ) from None
    except (LocalEntryNotFoundError, ConnectionError):
        missing = missing_part(str(PurePosixPath(repository) / inside))
        raise DictionaryError(
            f"{shown} is not on this machine{f' ({missing})' if missing else ''}, and the hub cannot be reached:"
            f" {'check the path' if missing else 'is the network up?'}"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise DictionaryError(f"{shown} cannot be downloaded: {remedy(error)}") from None
