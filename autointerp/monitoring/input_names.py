"""The judge, the subject and the dictionary of a run as its stored spec names them."""

from __future__ import annotations

import tomllib
from pathlib import PurePath
from typing import NamedTuple


class InputNames(NamedTuple):
    """Names from a spec; empty if it does not have them."""

    judge: str
    subject: str
    dictionary: str

    @classmethod
    def of(cls, spec: str) -> InputNames:
        """The names in a spec as TOML. Only these keys are read, so specs of every version have them."""
        tables = tomllib.loads(spec)
        keys = {"judge": "model", "subject": "model", "dictionary": "path"}
        return cls(*(str(tables.get(table, {}).get(key, "")) for table, key in keys.items()))

    @property
    def short(self) -> tuple[str, str, str]:
        """The same without the provider and without the folders before the last two names of a local path."""
        return _model(self.judge), _path(self.subject, 1), _path(self.dictionary, 2)


def _model(judge: str) -> str:
    return judge.partition("/")[2] or judge


def _path(path: str, names: int) -> str:
    return "/".join(PurePath(path).parts[-names:])
