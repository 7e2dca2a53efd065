"""Outlines of dictionaries, remembered by the stamps of their files, so that a dictionary is known without reading its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sae.cache import cache_dir
from sae.dictionary import Dictionary, check_width
from sae.file_hashes import is_settled, stamp
from sae.files import write_text
from sae.formats.load import find_location, load_dictionary

READING = 2
"""Version of the reading of files: increase it with every change that can alter what is read from the same files."""


@dataclass(frozen=True)
class DictionaryOutline:
    """A dictionary without its weights."""

    path: str
    fingerprint: str
    hook_point: str
    d_in: int
    d_sae: int
    trained_with_bos: bool | None
    trained_context: int | None
    format: str
    architecture: str

    @classmethod
    def of(cls, dictionary: Dictionary) -> DictionaryOutline:
        """The outline of a loaded dictionary, whose weights are hashed."""
        return cls(**{name: getattr(dictionary, name) for name in cls.__annotations__})

    def check_fits(self, width: int) -> None:
        """As `Dictionary.check_fits`."""
        check_width(self.path, self.hook_point, self.d_in, width)


@dataclass(frozen=True)
class DictionarySource:
    """Where a dictionary is read from, and the settings that decide what is read: the arguments of `load_dictionary`."""

    path: str
    format: str = "auto"
    hook_point: str | None = None
    revision: str | None = None
    k: int | None = None

    def remembered(self) -> DictionaryOutline | None:
        """The outline that was remembered for these files, if they have not changed since. Raises `DictionaryError`."""
        file = self._outline_file()
        if file is None or not file.is_file():
            return None
        return DictionaryOutline(**json.loads(file.read_text(encoding="utf-8")))

    def load(self) -> Dictionary:
        """Read the dictionary, and remember its outline. Raises `DictionaryError`."""
        file = self._outline_file()
        dictionary = load_dictionary(**asdict(self))
        if file is not None and not file.is_file():
            outline = DictionaryOutline.of(dictionary)
            if self._outline_file() == file:  # or else the files have changed while they were read
                write_text(file, json.dumps(asdict(outline)))
        return dictionary

    def _outline_file(self) -> Path | None:
        """The file of the outline, named by all files of the dictionary's folder and of the one above it, from which some formats
        read a config; None if a file is too young to be known by its stamp."""
        folder = find_location(self.path, self.revision).folder
        try:
            files = sorted(p for above in (folder, folder.parent) for p in above.iterdir() if p.is_file())
            if not files or not all(map(is_settled, files)):
                return None
            identity = json.dumps([READING, asdict(self), *map(stamp, files)])
        except OSError:  # a file was removed meanwhile, or may not be read
            return None
        return cache_dir() / "dictionaries" / hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
