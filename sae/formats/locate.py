"""From what a user writes to a local folder: a path, or a hub id of which only the needed files are downloaded."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sae.errors import DictionaryError, one_line
from sae.formats.location import Place

WEIGHTS = (".safetensors", ".npz", ".pt", ".pth")
_PICKLED = (".bin", ".pkl", ".pickle", ".joblib", ".ckpt")
_HUB_PATH = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)((?:/[\w.:-]+)*)/?")


def locate(path: str, revision: str | None, patterns: tuple[str, ...]) -> Place:
    """The folder or file of a local path, or of a hub id once its files that fit `patterns` are here. Raises `DictionaryError`."""
    local = Path(path).expanduser().absolute()
    if local.is_dir():
        return Place(local, path)
    if local.is_file():
        if local.suffix in _PICKLED:
            raise DictionaryError(
                f"{path} is a pickle, which can run code when loaded: save the weights as safetensors"
            )
        return Place(local.parent, path, local if local.suffix in WEIGHTS else None)
    match = _HUB_PATH.fullmatch(path)
    if not match:
        raise DictionaryError(f"dictionary {path} does not exist: check the path, or give owner/name/folder on the hub")
    repository, inside = match[1], PurePosixPath(match[2].strip("/"))
    file = inside.name if inside.suffix in WEIGHTS else None
    folder = inside.parent if file else inside
    root = _download(repository, folder, revision, _filled(patterns, file))
    if (root / inside).is_dir():  # some folders are named like files
        return Place(root / inside, path)
    return Place(root / folder, path, root / inside if file else None)


def _filled(patterns: tuple[str, ...], file: str | None) -> tuple[str, ...]:
    """The patterns, and the file named, whose number stands for `{n}`; without one, patterns that ask for it mean nothing."""
    numbers = re.findall(r"\d+", file.partition(".")[0]) if file else []
    filled = [pattern.replace("{n}", numbers[-1] if numbers else "{n}") for pattern in patterns]
    here = [pattern for pattern in filled if "{n}" not in pattern]
    return (*here, *([file, *(f"{file}/{pattern}" for pattern in here)] if file else []))


def _download(repository: str, inside: PurePosixPath, revision: str | None, patterns: tuple[str, ...]) -> Path:
    """Only the files that an adapter reads, and only from the folder named: repositories hold hundreds of dictionaries."""
    # The hub's patterns let * cross folders, so that a pattern at the top would take in every dictionary below it.
    wanted = [str(inside / pattern) for pattern in patterns if "*" not in pattern or str(inside) != "."]
    shown = f"dictionary {repository}" + ("" if str(inside) == "." else f"/{inside}")
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=wanted))
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
        reason = one_line(error)
        raise DictionaryError(f"{shown} cannot be downloaded: {reason}") from None
