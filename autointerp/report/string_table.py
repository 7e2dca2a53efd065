"""The page's strings, each stored once, and sequences of them as short text that `report.js` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

ALPHABET = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in "\"\\<>&'")
"""The characters of packed indices: those that JSON and HTML leave as they are."""
_ONE, _TWO = 29, 40
"""Number of characters of the alphabet that are an index alone, and that begin an index of two; the others begin one of three."""


class StringTable:
    """The table of strings: all are counted first, then numbered so that the most used have the shortest numbers."""

    def __init__(self) -> None:
        self._uses: Counter[str] = Counter()
        self._indices: dict[str, int] = {}

    def use(self, text: str) -> str:
        """Count a use of the text, and return the text."""
        self._uses[text] += 1
        return text

    def table(self) -> list[str]:
        """All texts, the most used first. No text may be added afterwards."""
        ordered = sorted(self._uses, key=lambda text: (-self._uses[text], text))
        self._indices = {text: index for index, text in enumerate(ordered)}
        return ordered

    def index(self, text: str) -> int:
        """The text's index in the table."""
        return self._indices[text]

    def pack(self, texts: Iterable[str]) -> str:
        """The indices of the texts, one to three characters each."""
        return "".join(pack(self._indices[text]) for text in texts)


def pack(index: int) -> str:
    """An index below 170,000 as one, two or three characters of `ALPHABET`, the fewer the smaller it is."""
    base = len(ALPHABET)
    if index < _ONE:
        return ALPHABET[index]
    index -= _ONE
    if index < _TWO * base:
        return ALPHABET[_ONE + index // base] + ALPHABET[index % base]
    index -= _TWO * base
    return ALPHABET[_ONE + _TWO + index // base**2] + ALPHABET[index // base % base] + ALPHABET[index % base]


def unpack(packed: str) -> list[int]:
    """The indices in a packed text, as `report.js` reads them."""
    digits, indices, base = [ALPHABET.index(character) for character in packed], [], len(ALPHABET)
    while digits:
        first, size = digits[0], 1 if digits[0] < _ONE else 2 if digits[0] < _ONE + _TWO else 3
        one, two = [*digits[1:size], 0, 0][:2]
        of_size = {1: first, 2: _ONE + (first - _ONE) * base + one}
        most = _ONE + _TWO * base + (first - _ONE - _TWO) * base**2 + one * base + two
        indices.append(of_size.get(size, most))
        digits = digits[size:]
    return indices
