"""Files that workers share: plans, shards and harvests, in a folder or on storage that speaks S3 or another fsspec protocol.

Every file is written whole or not at all, and none is changed afterwards, so that whoever finds one may use it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from autointerp.errors import AutointerpError, UsageError
from sae.cache import cache_dir
from sae.errors import one_line
from sae.files import PARTIAL, written_whole

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LOCAL = re.compile(r"(file|local)://", re.IGNORECASE)

Save = Callable[[Path], object]
"""Writes a file at the path given."""


class Unreachable(AutointerpError):
    """Storage does not answer as it should: trying again may help."""


class Artifacts:
    """Files by name, such as `harvest-0f3c/plan.json`, below `root`: a path or an fsspec URL (`s3://bucket/prefix`, `memory://x`).

    Raises `UsageError` where the URL, its driver or the credentials are wrong, and `Unreachable` where storage fails. Drivers do
    not survive a fork: open one in each process.
    """

    def __init__(self, root: str | Path) -> None:
        given = _LOCAL.sub("", str(root), count=1)
        self.folder: Path | None = None if _URL.match(given) else Path(given).expanduser().absolute()
        """Where the files lie, when they are local."""
        self.root = str(self.folder or given.rstrip("/"))

    def __str__(self) -> str:
        return re.sub(r"//[^/@]*@", "//", self.root)  # passwords stay out of messages

    def exists(self, name: str) -> bool:
        """Whether a file of that name is there, whole."""
        if self.folder:
            return (self.folder / name).is_file()
        with self._speaking():
            return bool(self._system.isfile(self._at(name)))

    def read(self, name: str) -> Path:
        """A local path of the file: its own, or that of a copy in the cache. Raises `FileNotFoundError`."""
        if self.folder:
            path = self.folder / name
            if not path.is_file():
                raise FileNotFoundError(path)
            return path
        copy, known = self._copy(name), self._copy(f"{name}.version")
        with self._speaking():
            version = str(self._system.ukey(self._at(name)))
            if not (copy.is_file() and known.is_file() and known.read_text() == version):
                with written_whole(copy) as partial:
                    self._system.get_file(self._at(name), str(partial))
                with written_whole(known) as partial:
                    partial.write_text(version)
        return copy

    def write(self, name: str, save: Save) -> None:
        """Let `save` write the file, which appears whole or not at all, in place of any that was there."""
        if self.folder:
            with self._speaking(), written_whole(self.folder / name) as partial:
                save(partial)
            return
        with _saved(save) as path, self._speaking(), self._reaching():
            self._system.put_file(str(path), self._at(name))

    def write_text(self, name: str, text: str) -> None:
        """As `write`, for a text in UTF-8."""
        self.write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def write_once(self, name: str, save: Save) -> bool:
        """As `write`, unless the file is there: of several processes the first wins, where storage can tell. Whether it was ours."""
        if self.exists(name):
            return False
        with suppress(FileExistsError):
            if self.folder:
                with self._speaking(), written_whole(self.folder / name, replace=False) as partial:
                    save(partial)
            else:
                with _saved(save) as path, self._speaking(), self._reaching():
                    self._create(path, name)
            return True
        return False

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        if self.folder:
            (self.folder / name).unlink(missing_ok=True)
            return
        with self._speaking(), suppress(FileNotFoundError):
            self._system.rm_file(self._at(name))
        for copy in (self._copy(name), self._copy(f"{name}.version")):
            copy.unlink(missing_ok=True)

    def list(self, prefix: str) -> list[str]:
        """Names of the files that begin with `prefix`, sorted."""
        above = prefix.rpartition("/")[0]
        if self.folder:
            found = [p.relative_to(self.folder).as_posix() for p in (self.folder / above).rglob("*") if p.is_file()]
        else:
            with self._speaking():
                root = self._system._strip_protocol(self.root)
                found = [path[len(root) :].lstrip("/") for path in self._system.find(self._at(above))]
        return sorted(n for n in found if n.startswith(prefix) and not n.rpartition("/")[2].startswith(PARTIAL))

    @cached_property
    def _system(self) -> Any:
        protocol = self.root.partition("://")[0]
        try:
            # Others write here as well, so what a listing once said is not to be remembered.
            return url_to_fs(self.root, use_listings_cache=False, skip_instance_cache=True)[0]
        except ImportError as error:
            extra = "pip install 'autointerp-eval[s3]'" if protocol in ("s3", "s3a") else one_line(error)
            raise UsageError(f"artifacts {self}: the driver of {protocol}:// is not installed: {extra}") from None
        except ValueError as error:
            raise UsageError(
                f"artifacts {self}: {one_line(error)}: give a path, or a URL such as s3://bucket/x"
            ) from None

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _copy(self, name: str) -> Path:
        path = cache_dir() / "artifacts" / hashlib.sha256(self.root.encode()).hexdigest()[:16] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _create(self, path: Path, name: str) -> None:
        """Put a file that must not be there. Raises `FileExistsError`."""
        try:
            self._system.put_file(str(path), self._at(name), mode="create")
        except OSError:
            # S3 answers "precondition failed" or "conflict", as some other error in each driver.
            if self._system.isfile(self._at(name)):
                raise FileExistsError(name) from None
            raise

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turn what the system and drivers raise into one line each; `FileNotFoundError` and `FileExistsError` pass."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            reason = one_line(error)
            if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
                raise UsageError(
                    f"artifacts {self}: access is refused ({reason}): check rights and credentials"
                ) from None
            if isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("botocore", "aiohttp"):
                raise Unreachable(f"artifacts {self}: {reason}") from None
            raise

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """A file cannot be written where its bucket or folder is missing."""
        try:
            yield
        except FileNotFoundError as error:
            raise UsageError(f"artifacts {self}: {one_line(error)}: make the bucket first, or check its name") from None


@contextmanager
def _saved(save: Save) -> Iterator[Path]:
    """A temporary file that `save` has written."""
    with tempfile.TemporaryDirectory(prefix="autointerp-") as folder:
        path = Path(folder) / "file"
        save(path)
        yield path
