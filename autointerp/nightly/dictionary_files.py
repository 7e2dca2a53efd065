"""Tells dictionaries that are a folder from those that are one file of several in a folder, by the names of the files.

Most formats keep a dictionary in a folder of its own. Others have a file for each layer or training step, whose name has a number:
`ae_1000.pt`, `layer_3.safetensors`. A folder of those holds several dictionaries, and the path of each is its file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from sae.formats.locate import WEIGHTS

_TRAINING_STATE = re.compile(
    r"(?:^|[-_.])(?:optimi[sz]er|opt|(?:lr_?)?scheduler|scaler|(?:training_|trainer_)?state|rng(?:_state)?)(?:[-_.]?\d+)?$",
    re.IGNORECASE,
)
"""Stems of files in which trainings keep their own state beside dictionaries."""
PICKLED = ("*.pt", "*.pth", "*.pkl", "*.bin", "*.ckpt")
"""Files that suggest weights which cannot be loaded. A folder with one of them is reported as corrupt instead of ignored."""


def dictionary_paths(path: Path) -> list[Path]:
    """The dictionaries that a path stands for: a folder, the files in it, or the path itself if it is one of several in its folder."""
    if path.is_dir():
        names = {file.name for file in path.iterdir() if file.is_file()}
        return [path / name for name in dictionaries_among(names)] or [path]
    owner = _owner(path.name, {file.name for file in path.parent.iterdir()})
    if owner is not None:
        return [path.parent / owner]
    if path.suffix not in WEIGHTS or path.name in _folder_names() or _holds_folder_weights(path.parent):
        return dictionary_paths(path.parent)
    return [] if _TRAINING_STATE.search(path.stem) else [path]


def dictionaries_among(names: Collection[str]) -> list[str]:
    """The names in a folder that are a dictionary each; none if the folder as a whole is one, or holds none."""
    if any(name in names for name in _folder_names() if PurePosixPath(name).suffix in WEIGHTS):
        return []
    return sorted({owner for name in names if (owner := _owner(name, names))}, key=_natural)


def weight_files(path: Path) -> list[Path]:
    """Files of a dictionary's path that are part of a known format, or that suggest weights in an unsupported one. None for a folder whose
    dictionaries are in the folders below."""
    if not path.is_dir():
        # A config may stand in the folder or, for checkpoints of a training, in the one above.
        return sorted({path, *_parts(path), *_configs(path.parent), *_configs(path.parent.parent)})
    pickled = {file for pattern in PICKLED for file in path.glob(pattern) if not _TRAINING_STATE.search(file.stem)}
    weights = pickled | {path / name for name in _folder_names() - _config_names() if (path / name).exists()}
    if not weights and any(_holds_folder_weights(folder) for folder in path.iterdir() if folder.is_dir()):
        return []  # a training's folder, whose dictionaries are in the folders below
    return sorted(weights | set(_configs(path) or (_configs(path.parent) if weights else ())))


def is_folder_file(name: str) -> bool:
    """Whether a file of this name is part of a dictionary that is a folder."""
    return name in _folder_names()


def _holds_folder_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _folder_names() - _config_names())


def _configs(folder: Path) -> list[Path]:
    return [folder / name for name in _config_names() if (folder / name).is_file()]


def _owner(name: str, names: Collection[str]) -> str | None:
    """The file that names the dictionary of which the file `name` is a part, such as the encoder's of a decoder's; None if it is of no
    format with numbered files."""
    for patterns in _numbered_patterns():
        for pattern in patterns:
            if match := re.fullmatch(re.escape(pattern).replace(r"\{n\}", r"(\d+)"), name):
                return next(file for first in patterns if (file := first.replace("{n}", match[1])) in names)
    return None


def _parts(file: Path) -> Iterator[Path]:
    """The other numbered files of a dictionary."""
    for patterns in _numbered_patterns():
        for pattern in patterns:
            if match := re.fullmatch(re.escape(pattern).replace(r"\{n\}", r"(\d+)"), file.name):
                yield from (
                    part for other in patterns if (part := file.parent / other.replace("{n}", match[1])).is_file()
                )


@cache
def _folder_names() -> frozenset[str]:
    """Names of the files of all formats with a folder for each dictionary."""
    return frozenset(name for names in _patterns() for name in names if "{n}" not in name)


@cache
def _config_names() -> frozenset[str]:
    return frozenset(name for name in _folder_names() if PurePosixPath(name).suffix not in WEIGHTS)


@cache
def _numbered_patterns() -> tuple[tuple[str, ...], ...]:
    """For each format with numbered files, their patterns."""
    numbered = (tuple(name for name in names if "{n}" in name) for names in _patterns())
    return tuple(filter(None, numbered))


@cache
def _patterns() -> tuple[tuple[str, ...], ...]:
    from sae.formats.load import ADAPTERS  # torch

    return tuple(adapter.FILES for adapter in ADAPTERS.values())


def _natural(name: str) -> tuple[str | int, ...]:
    """A key that sorts 2 before 10."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name))
