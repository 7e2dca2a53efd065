"""Where a dictionary lies: a local folder, or one file in it, and what the user said besides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sae.errors import DictionaryError
from sae.subject.hook_points import PATTERN, ours


@dataclass(frozen=True)
class Place:
    """A dictionary's folder, and its file where one was named.

    `name` is the path or hub id as given, in which some publishers say layer, width or k. `hook_point` and `k` are what the user
    gave, if anything, and go before what the files say.
    """

    folder: Path
    name: str
    file: Path | None = None
    hook_point: str | None = None
    k: int | None = None

    def has(self, *names: str) -> bool:
        """Whether the folder holds all these files, no other file having been named."""
        return (self.file is None or self.file.name in names) and all((self.folder / name).is_file() for name in names)

    def only(self, *patterns: str) -> Path | None:
        """The file named if it fits one of the patterns, else the folder's single file that does, else None."""
        if self.file is not None:
            return self.file if any(self.file.match(pattern) for pattern in patterns) else None
        found = sorted({path for pattern in patterns for path in self.folder.glob(pattern) if path.is_file()})
        return found[0] if len(found) == 1 else None

    def one(self, pattern: str) -> Path:
        """The file named, else the folder's single file that fits `pattern`. Raises `DictionaryError` where it is for the user to say."""
        file = self.only(pattern)
        if file is None:
            found = sorted(path.name for path in self.folder.glob(pattern))
            such = f"{len(found)} such files" if found else "one dictionary a file"
            raise DictionaryError(
                f"{self.name} holds {such}: name one, such as {self.name}/{found[0] if found else pattern}"
            )
        return file

    def where(self, names: list[str], source: Path) -> str:
        """The hook point: the user's, else the first of `names` that is one of ours. Raises `DictionaryError` saying what to set."""
        if self.hook_point is not None:
            if not re.fullmatch(PATTERN, self.hook_point):
                raise DictionaryError(
                    f"hook point {self.hook_point!r} is not known: use a kind and a layer, such as resid_post.12"
                )
            return self.hook_point
        for name in names:
            if found := ours(name):
                return found
        if names:
            raise DictionaryError(
                f"{source} reads {names[0]}, which is none of our hook points: such dictionaries are not supported"
                " (set dictionary.hook_point only if the name is wrong)"
            )
        raise DictionaryError(f"{source} does not say where it reads: set dictionary.hook_point, such as resid_post.12")

    def number(self, pattern: str, file: Path | None = None) -> int | None:
        """The last number that `pattern`'s group finds in the names of the folders or of the file, such as a layer or k."""
        file = file or self.file
        found = re.findall(pattern, f"{self.name}/{self.folder.as_posix()}/{file.name if file else ''}")
        return int(found[-1]) if found else None


def where_to(name: object, source: Path) -> str:
    """The hook point that a transcoder's output belongs to, from what `source` calls it. Raises `DictionaryError`."""
    found = ours(name) if isinstance(name, str) else None
    if found is None:
        raise DictionaryError(f"{source} writes to {name}, which is none of our hook points: it is not supported")
    return found
