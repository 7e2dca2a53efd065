"""The units of an index in files of some units each: what a list shows of them, and everything about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import Parts, packed_json
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.unit_page import described

PARTS = {"cards": Parts(64), "units": Parts(16)}
"""A list reads a card for each row on the screen, so a file of cards has about 20 kB and one of units 100 kB."""


def write(
    folder: PublishedFolder, at: str, reader: Reader, step: Callable[[int], None],
    elsewhere: Callable[[int], list[dict[str, Any]]],
) -> None:  # fmt: skip
    """Write the files below `at`; `step` is told of the units that are written, and `elsewhere` returns the matches of a unit in other indexes."""

    def whole(reader: Reader, row: int) -> dict[str, Any]:
        found = elsewhere(row)
        return described(reader, row) | ({"elsewhere": found} if found else {})

    n = len(reader.columns)
    for kind, entry in (("cards", _card), ("units", whole)):
        for rows, path in PARTS[kind].of(n):
            entries = [entry(reader, row) for row in rows]
            folder.put(f"{at}{kind}/{path}", packed_json(entries))
            if kind == "units":
                step(len(entries))


def _card(reader: Reader, row: int) -> dict[str, Any]:
    [card] = reader.cards(np.array([row]))
    return {"card": card, "strongest": reader.strongest(row)}
