"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re

from support.locations import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "results").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fences(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block of a language."""
    pages = [(p.relative_to(ROOT).as_posix(), p.read_text(encoding="utf-8")) for p in PAGES]
    return [(name, body) for name, text in pages for tag, body in FENCE.findall(text) if tag == language]


def section(page: str, heading: str) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks below a heading of the second level, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    [body] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return FENCE.findall(body)
