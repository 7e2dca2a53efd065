"""Token ids as text: one string per token, which joined are the decoded text, valid UTF-8 throughout."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_TokenBytes = Callable[[Sequence[int]], "list[bytes]"]
_known: WeakKeyDictionary[Any, _TokenBytes | None] = WeakKeyDictionary()


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """One string for each token id; joined, they are the decoded text.

    A character that spans several tokens is the text of the token that completes it, and the earlier ones have the empty text.
    Bytes that form no character become U+FFFD; a character cut off at either end becomes one U+FFFD. `tokenizer`: a transformers
    tokenizer; byte-level BPE and SentencePiece vocabularies are read byte by byte, any other is decoded prefix by prefix.
    """
    ids = [int(i) for i in ids]
    to_bytes = _bytes_of(tokenizer)
    return _by_prefix(tokenizer, ids) if to_bytes is None else _decode(to_bytes(ids))


def has_bytes(tokenizer: Any) -> bool:
    """Whether the vocabulary defines the bytes of each token, so that a token of whole characters has the same text beside any other."""
    return _bytes_of(tokenizer) is not None


def _bytes_of(tokenizer: Any) -> _TokenBytes | None:
    if tokenizer not in _known:
        _known[tokenizer] = _token_bytes(tokenizer)
    return _known[tokenizer]


def _decode(pieces: Iterable[bytes]) -> list[str]:
    """Decode consecutive byte strings as one UTF-8 stream; each character is put into the string in which it ends."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts: list[str] = []
    at_start = True
    for piece in pieces:
        cut = _continuation_bytes(piece) if at_start else 0
        text = REPLACEMENT if cut and not any(texts) else ""
        at_start = at_start and cut == len(piece)
        texts.append(text + decoder.decode(piece[cut:]))
    if texts:
        texts[-1] += decoder.decode(b"", final=True)
    return texts


def _continuation_bytes(piece: bytes) -> int:
    """Number of leading bytes that continue a character begun earlier (10xxxxxx in UTF-8)."""
    return next((n for n, byte in enumerate(piece) if byte & 0xC0 != 0x80), len(piece))


def _token_bytes(tokenizer: Any) -> _TokenBytes | None:
    """A function that turns this tokenizer's ids into bytes; None if its vocabulary does not define them."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    steps = [step["type"] for step in decoder.get("decoders", [decoder]) if "type" in step]
    added = {int(i): token.content.encode("utf-8", "replace") for i, token in tokenizer.added_tokens_decoder.items()}
    if "ByteLevel" in steps:
        table = {character: byte for byte, character in _byte_characters().items()}
        plain: Callable[[str], bytes] = lambda token: _byte_level(token, table)  # noqa: E731
    elif "ByteFallback" in steps:
        plain = _sentencepiece
    else:
        return None

    def convert(ids: Sequence[int]) -> list[bytes]:
        tokens = tokenizer.convert_ids_to_tokens(list(ids))
        return [
            added[i] if i in added else b"" if token is None else plain(token)
            for i, token in zip(ids, tokens, strict=True)
        ]

    return convert


def _byte_level(token: str, table: dict[str, int]) -> bytes:
    try:
        return bytes([table[character] for character in token])
    except KeyError:
        return token.encode("utf-8", "replace")


def _sentencepiece(token: str) -> bytes:
    match = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(match[1], 16)]) if match else token.replace("\u2581", " ").encode("utf-8", "replace")


def _byte_characters() -> dict[int, str]:
    """Byte-level BPE's printable character for each byte (GPT-2): the byte itself if it is printable, else one from U+0100 upwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}


def _by_prefix(tokenizer: Any, ids: list[int]) -> list[str]:
    """The text that each id adds to the decoded text of the ids before it. Decodes every prefix, so it is slow."""
    texts: list[str] = []
    done = ""
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        unfinished = text.endswith(REPLACEMENT) and end < len(ids)
        texts.append("" if unfinished or not text.startswith(done) else text[len(done) :])
        done = done if unfinished or not text.startswith(done) else text
    return texts
