"""Builds the demo's text from three packages: prose in three genres, Python code, and twenty languages.

Documents are ordered by hashes of their text, so the same packages give the same files.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard

RECIPE = 1
"""Version of the files: raise it with every change here that changes them."""

GENRE_BYTES = 1_250_000
"""Size of each file. Of five files, prose makes three fifths, code and languages a fifth each."""

PROSE = {
    "web": (
        "56_wikidatasex_or_gender",
        "57_wikidatais_alive",
        "58_wikidatapolitical_party",
        "64_wikidata_occupation_isresearcher",
    ),
    "news": ("100_news_fake", "45_context_ans", "97_news_class"),
    "opinion_and_science": ("111_yelp_data", "101_disease_class", "94_ai_gen", "36_sciq_tf", "90_glue_qnli"),
}
"""Data sets of sae-probes by genre: various kinds of English, without those about toxic text."""

LANGUAGES = (
    "ar", "de", "el", "es", "fa", "fr", "he", "hi", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "uk", "vi", "zh_Hans",
)  # fmt: skip
DOCUMENT_CHARS = 1500
"""Short messages are joined to documents of this length."""

_SKIPPED_CODE = {
    "test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "encodings", "pydoc_data", "ensurepip",
}  # fmt: skip
_MESSAGE = re.compile(r'^msgstr(?:\[\d\])? (".*"(?:\n".*")*)', re.MULTILINE)
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\"": '"', r"\\": "\\"}


def prose(wheel: Path, genre: str) -> Iterator[str]:
    """Documents of one genre from the sae-probes wheel, its data sets in turns, without repeats."""
    with zipfile.ZipFile(wheel) as package:
        sets = [_prompts(package.read(f"sae_probes/data/cleaned_data/{name}.csv.zst")) for name in PROSE[genre]]
    yield from _in_turns(sets)


def code() -> Iterator[str]:
    """Modules of the running Python's standard library, without tests and tables."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [p for p in root.rglob("*.py") if not _SKIPPED_CODE & set(p.relative_to(root).parts)]
    for path in sorted(files, key=lambda p: _order(p.relative_to(root).as_posix())):
        text = path.read_text(encoding="utf-8", errors="replace")
        if 1000 <= len(text) <= 60_000:
            yield text


def languages(wheel: Path) -> Iterator[str]:
    """Translated messages from the django wheel, joined to documents of one language, the languages in turns."""
    with zipfile.ZipFile(wheel) as package:
        yield from _in_turns([_joined(_messages(package, language)) for language in LANGUAGES])


def write(documents: Iterable[str], path: Path, limit: int = GENRE_BYTES) -> int:
    """Write documents as JSONL until their text has `limit` bytes; returns the number of bytes."""
    size = 0
    with path.open("w", encoding="utf-8") as out:
        for text in documents:
            out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            size += len(text.encode())
            if size >= limit:
                break
    return size


def _prompts(compressed: bytes) -> list[str]:
    csv.field_size_limit(sys.maxsize)
    plain = zstandard.ZstdDecompressor().stream_reader(compressed)
    rows = csv.DictReader(io.TextIOWrapper(plain, encoding="utf-8", errors="replace", newline=""))
    # Several sets ask many questions about one passage, which its first characters identify.
    passages = {row["prompt"].strip()[:80]: row["prompt"].strip() for row in rows}
    return sorted((text for text in passages.values() if len(text) >= 80), key=_order)


def _in_turns(sets: list[list[str]]) -> Iterator[str]:
    """Documents of all sets without repeats, each from the set that has contributed the least text so far."""
    size = dict.fromkeys(range(len(sets)), 0)
    left = [iter(documents) for documents in sets]
    seen: set[str] = set()
    while size:
        least = min(size, key=lambda n: (size[n], n))
        text = next(left[least], None)
        if text is None:
            del size[least]
        elif text not in seen:
            seen.add(text)
            size[least] += len(text.encode())
            yield text


def _messages(package: zipfile.ZipFile, language: str) -> Iterator[str]:
    names = sorted(n for n in package.namelist() if n.endswith(f"/locale/{language}/LC_MESSAGES/django.po"))
    for name in names:
        entries = package.read(name).decode("utf-8").replace("\r\n", "\n").split("\n\n")
        for entry in entries[1:]:  # the first is the header
            if "#, fuzzy" not in entry:
                yield from (text for match in _MESSAGE.finditer(entry) if (text := _unquoted(match[1])))


def _unquoted(quoted: str) -> str:
    text = "".join(line[1:-1] for line in quoted.split("\n"))
    return re.sub(r'\\[nt"\\]', lambda match: _ESCAPES[match[0]], text).strip()


def _joined(messages: Iterable[str]) -> list[str]:
    documents, held = [], ""
    for message in dict.fromkeys(messages):
        held = f"{held}\n{message}" if held else message
        if len(held) >= DOCUMENT_CHARS:
            documents.append(held)
            held = ""
    return [*documents, held] if held else documents


def _order(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
