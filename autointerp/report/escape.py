"""Makes untrusted text harmless and legible: readers see every character, and nothing in it is interpreted.

Corpus text, explanations and judges' reasons are data. The templates escape HTML; this module deals with what is left: characters
that are invisible, that reorder their neighbours, or that end a script element.
"""

from __future__ import annotations

import json
import re
from typing import Any

_NAMED = {
    "\n": "\u21b5",
    "\r": "\u240d",
    "\t": "\u21e5",
    "\x7f": "\u2421",
    "\u061c": "\u27e8ALM\u27e9",
    "\u200e": "\u27e8LRM\u27e9",
    "\u200f": "\u27e8RLM\u27e9",
    "\u2028": "\u27e8LS\u27e9",
    "\u2029": "\u27e8PS\u27e9",
    "\u202a": "\u27e8LRE\u27e9",
    "\u202b": "\u27e8RLE\u27e9",
    "\u202c": "\u27e8PDF\u27e9",
    "\u202d": "\u27e8LRO\u27e9",
    "\u202e": "\u27e8RLO\u27e9",
    "\u2066": "\u27e8LRI\u27e9",
    "\u2067": "\u27e8RLI\u27e9",
    "\u2068": "\u27e8FSI\u27e9",
    "\u2069": "\u27e8PDI\u27e9",
}
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKDOWN = re.compile(r"([\\`*_<>|~&#@$]|:(?=//)|\[(?![\d\u2212+.]+, [\d\u2212+.]+\](?![(\[:])))")
"""Characters that can start markup or a link. An interval such as `[0.27, 0.78]` cannot."""
_SCRIPT_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def visible(text: str, keep: str = "") -> str:
    """The text with every control, bidirectional or zero-width character replaced by a visible symbol or by its name.

    Control characters become their symbols of the U+2400 block (newline and tab become arrows), bidirectional controls their short
    names, and other invisible characters their numbers; lone surrogates become U+FFFD. Joiners (U+200C, U+200D) stay, because some
    scripts need them, and so do the characters in `keep`.
    """
    return _INVISIBLE.sub(lambda match: match[0] if match[0] in keep else _symbol(match[0]), text)


def _symbol(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"\u27e8U+{code:04X}\u27e9"


def clip(text: str, limit: int) -> str:
    """The text cut to at most `limit` characters, the last of which is then an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def script_json(value: Any) -> str:
    """JSON that is safe inside a script element: `<`, `>`, `&` and line separators are escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\u2028\u2029]", lambda match: _SCRIPT_ESCAPES[match[0]], text)


def markdown(text: str) -> str:
    """The text as one line of Markdown that renders literally: no markup, table cell or link can start in it."""
    return _MARKDOWN.sub(r"\\\1", visible(text)).replace("www.", "www\\.")
