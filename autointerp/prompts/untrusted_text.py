"""Hostile text made harmless for a prompt: windows are fenced, marks cannot be forged, control characters are visible."""

from __future__ import annotations

import re
from itertools import groupby

from autointerp.messages import MarkedText

OPEN_MARK, CLOSE_MARK = "<<", ">>"
_FORGED = str.maketrans({"<": "\uff1c", ">": "\uff1e", "/": "\uff0f"})
_CONTROL = {c: chr(0x2400 + c) for c in range(32) if c not in (9, 10)} | {0x7F: "\u2421"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = r"(?:text|explanation|activating|silent|item|contrast|neighbours|logits|missed|mistaken)(?![^\W\d_])"
_MARKS = re.compile("<<|>>")
_FENCE = re.compile(rf"<(?=[^\w<>]*{_TAG})", re.IGNORECASE)
_LEFT = re.compile(rf"^(?:[<>]+|[^\w<>]*/(?=[^\w<>]*{_TAG}))", re.IGNORECASE)
_RIGHT = re.compile(r"[<>]+$")


def harmless(text: str) -> str:
    """Text that can neither close a fence nor forge a mark: those characters become their full-width twins."""
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text.translate(_CONTROL))
    return _forged(_FENCE, _forged(_MARKS, text))


def show(window: MarkedText) -> str:
    """The window as a judge reads it, its marked token between `<<` and `>>`; of several, neighbours share one pair.

    Brackets that touch a mark are replaced too: they would lengthen it, or make a fence with it.
    """
    marked = frozenset(window.marks or (window.mark,))
    shown, after_mark = [], False
    for is_marked, places in groupby(range(len(window.tokens)), key=marked.__contains__):
        found = list(places)
        text = harmless("".join(window.tokens[i] for i in found))
        if is_marked or after_mark:
            text = _forged(_LEFT, text)
        if is_marked or found[-1] + 1 < len(window.tokens):
            text = _forged(_RIGHT, text)
        shown.append(f"{OPEN_MARK}{text}{CLOSE_MARK}" if is_marked else text)
        after_mark = is_marked
    return "".join(shown)


def _forged(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: found[0].translate(_FORGED), text)
