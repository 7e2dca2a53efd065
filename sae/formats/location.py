"""The location of a dictionary: a local folder, or one file in it, with the user's settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sae.errors import DictionaryError, SubjectError
from sae.subject.hook_points import AMBIGUOUS, named, to_hook_point

NORMED_MODELS = re.compile(r"gemma-?[23]|olmo-?2", re.IGNORECASE)
"""Names of models with a norm after attention and MLP, in which a module's output is not the value that is added."""


@dataclass(frozen=True)
class DictionaryLocation:
    """A dictionary's folder, and its file if the user named one.

    `name` is the path or hub id as the user wrote it; some publishers put layer, width or k there. `hook_point` and `k` are the
    user's settings, if any, and override the files.
    """

    folder: Path
    name: str
    file: Path | None = None
    hook_point: str | None = None
    k: int | None = None

    def has_files(self, *names: str) -> bool:
        """Whether the folder has all these files, and the user named no other file."""
        return (self.file is None or self.file.name in names) and all((self.folder / name).is_file() for name in names)

    def find_file(self, *patterns: str) -> Path | None:
        """The file that the user named, if it matches a pattern, or else the folder's only file that does; None if there is no
        such file, or more than one."""
        if self.file is not None:
            return self.file if any(self.file.match(pattern) for pattern in patterns) else None
        files = sorted({path for pattern in patterns for path in self.folder.glob(pattern) if path.is_file()})
        return files[0] if len(files) == 1 else None

    def require_file(self, pattern: str) -> Path:
        """The file that `find_file` finds. Raises `DictionaryError` if the user has to choose one."""
        file = self.find_file(pattern)
        if file is None:
            files = sorted(path.name for path in self.folder.glob(pattern))
            contents = f"{len(files)} such files" if files else "one dictionary per file"
            raise DictionaryError(
                f"{self.name} holds {contents}: name one, such as {self.name}/{files[0] if files else pattern}"
            )
        return file

    def choose_hook_point(self, names: list[str], source: Path) -> str:
        """The user's hook point, or else the first of `names`, as found in `source`, that is a known one.

        Raises `DictionaryError`, which says what to set.
        """
        if self.hook_point is not None:
            try:
                return named(self.hook_point)
            except SubjectError as error:
                raise DictionaryError(f"hook point {self.hook_point!r}: {error}") from None
        for name in names:
            if hook_point := to_hook_point(name):
                return hook_point
        if names and (layer := AMBIGUOUS.fullmatch(names[0])):
            raise DictionaryError(
                f"{source} reads {names[0]}, which follows attention in some models (Gemma 2) and stands before the MLP in others (Llama):"
                f" set dictionary.hook_point = attn_out.{layer[1]} or mlp_in.{layer[1]}"
            )
        if names:
            raise DictionaryError(
                f"{source} reads {names[0]}, which is not a supported hook point"
                " (set dictionary.hook_point only if the name is wrong)"
            )
        raise DictionaryError(
            f"{source} does not say which hook point it reads: set dictionary.hook_point, such as resid_post.12"
        )

    def number_in_names(self, pattern: str, file: Path | None = None) -> int | None:
        """The last number that the pattern's group matches in the names of the folders and the file, such as a layer or k."""
        file = file or self.file
        numbers = re.findall(pattern, f"{self.name}/{self.folder.as_posix()}/{file.name if file else ''}")
        return int(numbers[-1]) if numbers else None


def output_hook_point(name: object, source: Path) -> str:
    """The hook point that a transcoder writes to, given its name in `source`. Raises `DictionaryError`."""
    hook_point = to_hook_point(name) if isinstance(name, str) else None
    if hook_point is None:
        raise DictionaryError(f"{source} writes to {name}, which is not a supported hook point")
    return hook_point
