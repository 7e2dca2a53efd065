"""Markdown that the generated pages share: their first line, rows and tables."""

from __future__ import annotations

from collections.abc import Iterable

MARK = "<!-- Written by `make docs` from the code: change it there. -->\n"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; every line ends with a line break."""
    return "".join(row(cells) + "\n" for cells in (header, ("---",) * len(header), *rows))


def row(cells: Iterable[str]) -> str:
    """A line of a table, without a line break."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def one_line(text: str) -> str:
    """A text with every run of white space as one space."""
    return " ".join(text.split())
