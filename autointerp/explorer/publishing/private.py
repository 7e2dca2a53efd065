"""Takes the folders of this machine and the servers of judges out of texts that are published: of a path, its last name is left, and the
home folder is `~`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

SERVER = "(a server)"
_REST = r"(?:[/\\][^\s\"'<>&,;:)\]}|]*)?"
"""The rest of a path in a text, in HTML, JSON or Markdown."""


class Private:
    """Knows the paths and servers in a run's spec, and the folders that paths of this machine begin with."""

    def __init__(self, spec: dict[str, Any], *folders: Path) -> None:
        self._names = sorted({text for text in _texts(spec) if _is_local(text)}, key=len, reverse=True)
        urls = [urlsplit(url) for url in _addresses(spec)]
        self._servers = sorted({url.geturl() for url in urls} | {url.netloc for url in urls}, key=len, reverse=True)
        begins = {str(folder) for folder in (Path.home(), Path.cwd(), *(each.resolve() for each in folders))} - {"/"}
        alternatives = "|".join(map(re.escape, sorted(begins, key=len, reverse=True)))
        self._paths = re.compile(f"(?:{alternatives}){_REST}")

    def without(self, text: str) -> str:
        """A text in which every path of this machine is its last name, and no server is named."""
        for name in self._names:
            text = text.replace(name, last_name(name))
        for server in self._servers:
            text = text.replace(server, SERVER)
        return self._paths.sub(lambda path: "~" if Path(path[0]) == Path.home() else last_name(path[0]), text)

    def of(self, value: Any) -> Any:
        """A value of JSON, in which every path and server is so in all its texts."""
        return json.loads(self.without(json.dumps(value, ensure_ascii=False)))


def last_name(path: str) -> str:
    """The last name of a path, or the name of a model or data set on the hub as it is."""
    return PurePath(path).name if _is_local(path) else path


def _is_local(text: str) -> bool:
    return "://" not in text and text.startswith(("/", "~", "./", "../")) and bool(PurePath(text).name)


def _addresses(spec: Any) -> Iterator[str]:
    """The servers that a spec names for its judges."""
    if isinstance(spec, dict):
        for name, value in spec.items():
            if name == "base_url" and isinstance(value, str) and urlsplit(value).netloc:
                yield value
            else:
                yield from _addresses(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
