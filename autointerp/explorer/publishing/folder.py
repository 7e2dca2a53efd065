"""The folder that is published: files are replaced if they change, and the list of them is written last."""

from __future__ import annotations

import filecmp
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from autointerp.errors import UsageError
from autointerp.places import open_folder, writing
from sae.files import PARTIAL, write_text, written_whole

MARKER = "published.json"
"""Lists the files of a folder. `complete` is false while they are written."""
_ALLOWED = ("CNAME",)
"""Files of a host beside the published ones; so are those whose names begin with a dot, such as `.git`."""


class PublishedFolder:
    """A folder that holds nothing but a publication. Raises `UsageError` for a folder with other files, and `PlaceFailed`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = _known(path)
        self._sizes: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        self.n_changed = 0
        open_folder(path)
        self._mark(self._before, complete=False)

    def put(self, name: str, data: bytes) -> None:
        """A file of the publication."""
        path = self.path / name
        with writing(self.path):
            if not (path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data):
                with written_whole(path) as partial:
                    partial.write_bytes(data)
                self.n_changed += 1
        self._note(name, len(data), hashlib.sha256(data).hexdigest())

    @contextmanager
    def writer(self, name: str) -> Iterator[BinaryIO]:
        """Writes a file of the publication part by part. It appears when the block ends without an error."""
        path = self.path / name
        partial = path.with_name(f"{PARTIAL}{path.name}")
        with writing(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("wb") as file:
                    yield file
                digest = hashlib.sha256()
                with partial.open("rb") as file:
                    while part := file.read(1 << 20):
                        digest.update(part)
                if not (path.is_file() and filecmp.cmp(partial, path, shallow=False)):
                    partial.replace(path)
                    self.n_changed += 1
            finally:
                partial.unlink(missing_ok=True)
            self._note(name, path.stat().st_size, digest.hexdigest())

    def finish(self) -> None:
        """Remove the files of the publication before that this one lacks, and complete it."""
        with writing(self.path):
            for name in self._before - self._sizes.keys():
                (self.path / name).unlink(missing_ok=True)
                with suppress(OSError):  # a folder with other files
                    for parent in (self.path / name).relative_to(self.path).parents[:-1]:
                        (self.path / parent).rmdir()
            self._mark(set(self._sizes), complete=True)

    @property
    def stamp(self) -> str:
        """A hash of the files so far."""
        return hashlib.sha256(json.dumps(sorted(self._digests.items())).encode()).hexdigest()[:12]

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file."""
        return dict(self._sizes)

    def _note(self, name: str, size: int, digest: str) -> None:
        self._sizes[name], self._digests[name] = size, digest

    def _mark(self, files: set[str], *, complete: bool) -> None:
        with writing(self.path):
            text = json.dumps({"by": "autointerp publish", "complete": complete, "files": sorted(files)}, indent=0)
            write_text(self.path / MARKER, text + "\n")


def _known(path: Path) -> set[str]:
    """The files of an earlier publication in a folder. Raises `UsageError` for a folder with files that are not published."""
    if not path.exists():
        return set()
    if not path.is_dir():
        raise UsageError(f"--to {path} is a file: name a folder")
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
        return {str(name) for name in marker["files"] if _is_inside(str(name))}
    except FileNotFoundError:
        others = sorted(
            each.name for each in path.iterdir() if not (each.name.startswith(".") or each.name in _ALLOWED)
        )
        if others:
            raise UsageError(f"--to {path} has other files, such as {others[0]}: name a new folder") from None
        return set()
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{path / MARKER} cannot be read: name a new folder") from None


def _is_inside(name: str) -> bool:
    """Whether a name in a marker, which may be damaged, is that of a file in the folder."""
    parts = Path(name).parts
    return bool(parts) and not Path(name).is_absolute() and ".." not in parts
