"""Files that workers share: plans, shards and harvests, in a folder or on storage with an fsspec driver, such as S3.

Every file is written whole or not at all, and never changed afterwards: a file that exists can be used.
"""

from __future__ import annotations

import hashlib
import re
import shutil
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
from sae.library_errors import remedy

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LOCAL = re.compile(r"(file|local)://", re.IGNORECASE)

Save = Callable[[Path], object]
"""Writes a file at a path."""


class Unreachable(AutointerpError):
    """Storage does not respond as it should; trying again may help."""


class Artifacts:
    """Files by name, such as `harvest-0f3c/plan.json`, below `root`: a path or an fsspec URL (`s3://bucket/prefix`, `memory://x`).

    Methods raise `UsageError` if the URL, its driver or the credentials are wrong, and `Unreachable` if storage fails. Drivers do
    not survive a fork: open one in each process.
    """

    def __init__(self, root: str | Path) -> None:
        location = _LOCAL.sub("", str(root), count=1)
        self.folder: Path | None = None if _URL.match(location) else Path(location).expanduser().absolute()
        """The folder of the files, if they are local."""
        self.root = str(self.folder or location.rstrip("/"))

    def __str__(self) -> str:
        return re.sub(r"//[^/@]*@", "//", self.root)  # passwords stay out of messages

    def exists(self, name: str) -> bool:
        """Whether the file exists, and so is complete."""
        if self.folder:
            return (self.folder / name).is_file()
        with self._errors_translated():
            return bool(self._system.isfile(self._url(name)))

    def read(self, name: str) -> Path:
        """A local path of the file: its own, or that of an up-to-date copy in the cache. Raises `FileNotFoundError`."""
        if self.folder:
            path = self.folder / name
            if not path.is_file():
                raise FileNotFoundError(path)
            return path
        copy, version_file = self._copy(name), self._copy(f"{name}.version")
        with self._errors_translated():
            version = str(self._system.ukey(self._url(name)))
            if not (copy.is_file() and version_file.is_file() and version_file.read_text() == version):
                with written_whole(copy) as partial:
                    self._system.get_file(self._url(name), str(partial))
                with written_whole(version_file) as partial:
                    partial.write_text(version)
        return copy

    def write(self, name: str, save: Save) -> None:
        """Let `save` write the file, whole or not at all, in place of an existing one."""
        if self.folder:
            with self._errors_translated(), written_whole(self.folder / name) as partial:
                save(partial)
            return
        with _saved(save) as path, self._errors_translated(), self._bucket_required():
            self._system.put_file(str(path), self._url(name))

    def write_text(self, name: str, text: str) -> None:
        """Write a text in UTF-8, as `write` does."""
        self.write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def copy(self, source: str, target: str) -> None:
        """Write a file's content as another file too. Raises `FileNotFoundError`."""
        origin = self.read(source)
        self.write(target, lambda path: shutil.copyfile(origin, path))

    def write_once(self, name: str, save: Save) -> bool:
        """Write the file as `write` does, unless it exists. Returns whether this call wrote it.

        Of several processes the first one wins, if the storage supports that.
        """
        if self.exists(name):
            return False
        with suppress(FileExistsError):
            if self.folder:
                with self._errors_translated(), written_whole(self.folder / name, replace=False) as partial:
                    save(partial)
            else:
                with _saved(save) as path, self._errors_translated(), self._bucket_required():
                    self._create(path, name)
            return True
        return False

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        if self.folder:
            (self.folder / name).unlink(missing_ok=True)
            return
        with self._errors_translated(), suppress(FileNotFoundError):
            self._system.rm_file(self._url(name))
        for copy in (self._copy(name), self._copy(f"{name}.version")):
            copy.unlink(missing_ok=True)

    def list(self, prefix: str) -> list[str]:
        """Names of the files that begin with `prefix`, sorted."""
        parent = prefix.rpartition("/")[0]
        if self.folder:
            names = [p.relative_to(self.folder).as_posix() for p in (self.folder / parent).rglob("*") if p.is_file()]
        else:
            with self._errors_translated():
                root = self._system._strip_protocol(self.root)
                names = [path[len(root) :].lstrip("/") for path in self._system.find(self._url(parent))]
        return sorted(n for n in names if n.startswith(prefix) and not n.rpartition("/")[2].startswith(PARTIAL))

    @cached_property
    def _system(self) -> Any:
        protocol = self.root.partition("://")[0]
        try:
            # Other processes write here too, so listings must not be cached.
            return url_to_fs(self.root, use_listings_cache=False, skip_instance_cache=True)[0]
        except ImportError as error:
            extra = "pip install 'autointerp-eval[s3]'" if protocol in ("s3", "s3a") else one_line(error)
            raise UsageError(f"artifacts {self}: the driver of {protocol}:// is not installed: {extra}") from None
        except ValueError as error:
            raise UsageError(
                f"artifacts {self}: {one_line(error)}: give a path, or a URL such as s3://bucket/x"
            ) from None

    def _url(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _copy(self, name: str) -> Path:
        path = cache_dir() / "artifacts" / hashlib.sha256(self.root.encode()).hexdigest()[:16] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _create(self, path: Path, name: str) -> None:
        """Upload a file that must not exist yet. Raises `FileExistsError`."""
        try:
            self._system.put_file(str(path), self._url(name), mode="create")
        except OSError:
            # S3 responds "precondition failed" or "conflict", for which every driver raises another error.
            if self._system.isfile(self._url(name)):
                raise FileExistsError(name) from None
            raise

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        """Turn errors of the system and of drivers into `UsageError` or `Unreachable`, one line each.

        `FileNotFoundError` and `FileExistsError` are passed on.
        """
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            reason = remedy(error)
            if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
                unknown = reason == one_line(error)
                denied = f"access is denied ({reason}): check permissions and credentials" if unknown else reason
                raise UsageError(f"artifacts {self}: {denied}") from None
            if isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("botocore", "aiohttp"):
                raise Unreachable(f"artifacts {self}: {reason}") from None
            raise

    @contextmanager
    def _bucket_required(self) -> Iterator[None]:
        """Raise `UsageError` if a file cannot be written because its bucket or folder is missing."""
        try:
            yield
        except FileNotFoundError as error:
            raise UsageError(
                f"artifacts {self}: {one_line(error)}: create the bucket first, or check its name"
            ) from None


@contextmanager
def _saved(save: Save) -> Iterator[Path]:
    """A temporary file that `save` has written."""
    with tempfile.TemporaryDirectory(prefix="autointerp-") as folder:
        path = Path(folder) / "file"
        save(path)
        yield path
