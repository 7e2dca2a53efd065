"""Text of one file, decoded and in portions of bounded size."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from sae.corpus.recognition import Stream, not_text
from sae.errors import CorpusError

BLOCK_CHARS = 1 << 16
LONGEST_DOCUMENT = 1 << 26
"""Characters of a line, a JSON object, or the text of a document in a table. Plain text files have no limit."""

FEWEST_LINES = 8
"""Lines that the beginning of a text file must have to show that each is a text of its own."""
_SENTENCE_END = re.compile(
    "[.!?\u2026\u3002\uff01\uff1f\u06d4\u0964][\"'\u201d\u2019\u00bb)\\]]*$"  # Latin, Chinese, Arabic and Hindi marks
)


def is_a_sentence_a_line(beginning: str) -> bool:
    """Whether lines of a text end where sentences do: 95% of those that are not empty, the last, which may be cut, left out.

    Then it is a list of sentences or paragraphs. Lines of wrapped prose, of verse and of code end anywhere.
    """
    lines = [line for line in map(str.rstrip, beginning.split("\n")[:-1]) if line]
    ending = sum(_SENTENCE_END.search(line) is not None for line in lines)
    return len(lines) >= FEWEST_LINES and ending >= 0.95 * len(lines)


def _truncated_end(error: UnicodeError) -> tuple[str, int]:
    """Accept a last character that is cut off, as `head -c` leaves it; any other byte that is not in the encoding is an error."""
    if isinstance(error, UnicodeDecodeError) and error.reason in ("unexpected end of data", "truncated data"):
        return "\ufffd", error.end
    raise error


codecs.register_error("autointerp-corpus", _truncated_end)


class TextFile:
    """The text in a stream of bytes. Raises `CorpusError` for bytes that are not in the encoding, NUL, and endless lines."""

    def __init__(self, stream: Stream, path: Path, encoding: str, newline: str = "\n") -> None:
        self.path = path
        self.encoding = encoding
        self._ascii = True
        self._text = io.TextIOWrapper(stream, encoding=encoding, errors="autointerp-corpus", newline=newline)

    def __enter__(self) -> TextFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._text.close()

    def blocks(self) -> Iterator[str]:
        """The text in blocks of `BLOCK_CHARS` characters."""
        while block := self._read(self._text.read, BLOCK_CHARS):
            yield block

    def lines(self) -> Iterator[str]:
        """The lines, each with its end."""
        number = 0
        while line := self._read(self._text.readline, LONGEST_DOCUMENT + 1):
            number += 1
            if len(line) > LONGEST_DOCUMENT:
                raise too_long(f"corpus file {self.path}, line {number},")
            yield line

    def _read(self, read: Callable[[int], str], size: int) -> str:
        try:
            text = read(size)
        except UnicodeDecodeError as error:
            raise _other_encoding(self.path, self.encoding, error.object[error.start]) from None
        if "\0" in text:
            raise not_text(self.path)
        if self._ascii and text.endswith("\ufffd") and text[:-1].isascii():
            raise _other_encoding(self.path, self.encoding)  # cut off, in a text without any other such character
        self._ascii &= text.isascii()
        return text


def too_long(where: str) -> CorpusError:
    """The error for a line or document beyond the limit."""
    return CorpusError(f"{where} has more than {LONGEST_DOCUMENT:,} characters, the most of one document: split it")


def _other_encoding(path: Path, encoding: str, byte: int | None = None) -> CorpusError:
    if not encoding.startswith("utf-8"):
        return CorpusError(f"corpus file {path} is not valid {encoding.upper()}: write it again as UTF-8")
    seen = "at its end" if byte is None else f"it holds the byte 0x{byte:02x}"
    return CorpusError(
        f"corpus file {path} is not UTF-8 ({seen}): convert it from its encoding, such as with iconv -f WINDOWS-1252 -t UTF-8"
    )
