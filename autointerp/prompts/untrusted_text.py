"""Makes untrusted text safe for a prompt: it can neither close a fence nor forge a mark, and control characters are visible."""

from __future__ import annotations

import re
from itertools import groupby

from autointerp.messages import MarkedText

OPEN_MARK, CLOSE_MARK = "<<", ">>"
_FULL_WIDTH = str.maketrans({"<": "\uff1c", ">": "\uff1e", "/": "\uff0f"})
_CONTROL = {c: chr(0x2400 + c) for c in range(32) if c not in (9, 10)} | {0x7F: "\u2421"}
_SURROGATE = re.compile("[\ud800-\udfff]")
# The tags of all prompts, as the start of a word: `text2` is a tag, `textual` is not.
_TAG = r"(?:text|explanation|activating|silent|item|contrast|neighbours|logits|missed|mistaken)(?![^\W\d_])"
_MARKS = re.compile("<<|>>")
# A bracket before a tag, with anything between them but words and brackets: "< / text".
_FENCE = re.compile(rf"<(?=[^\w<>]*{_TAG})", re.IGNORECASE)
# What would join a bracket on its left: brackets, or the slash of a closing tag whose bracket is in the text before.
_LEFT = re.compile(rf"^(?:[<>]+|[^\w<>]*/(?=[^\w<>]*{_TAG}))", re.IGNORECASE)
_RIGHT = re.compile(r"[<>]+$")


def sanitise(text: str) -> str:
    """The text with the characters that could close a fence or forge a mark replaced by their full-width forms."""
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text.translate(_CONTROL))
    return _to_full_width(_FENCE, _to_full_width(_MARKS, text))


def render_window(window: MarkedText) -> str:
    """The window as a judge reads it, the marked token between `<<` and `>>`. Adjacent marked tokens share one pair.

    Brackets next to a mark are replaced too, because together with it they would form a longer mark or a fence.
    """
    marked = frozenset(window.marks or (window.mark,))
    parts, after_mark = [], False
    for is_marked, indices in groupby(range(len(window.tokens)), key=marked.__contains__):
        run = list(indices)
        text = sanitise("".join(window.tokens[i] for i in run))
        if is_marked or after_mark:
            text = _to_full_width(_LEFT, text)
        if is_marked or run[-1] + 1 < len(window.tokens):
            text = _to_full_width(_RIGHT, text)
        parts.append(f"{OPEN_MARK}{text}{CLOSE_MARK}" if is_marked else text)
        after_mark = is_marked
    return "".join(parts)


def _to_full_width(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda match: match[0].translate(_FULL_WIDTH), text)
