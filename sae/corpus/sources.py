"""Documents from files and from data sets of the `datasets` library, streamed piece by piece.

A piece is `(document, last)`: a document or a part of one, and whether the document ends with it. A long text is one document in
several pieces, so a text file may be larger than memory.
"""

from __future__ import annotations

import csv
import glob
import itertools
import json
import logging
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import zstandard

from sae.corpus.documents import Document, check_texts_are_prose, check_undamaged, document_of
from sae.corpus.readers import read_records, table_delimiter
from sae.corpus.recognition import FORMATS, Recognised, recognise
from sae.corpus.text import BLOCK_CHARS, TextFile, is_a_sentence_a_line
from sae.errors import CorpusError, one_line
from sae.library_errors import remedy

Piece = tuple[Document, bool]

LONGEST_PIECE = 1 << 20
"""Characters after which a text is cut even without a space or line break."""

_DATASET = re.compile(r"datasets:(?P<name>[^:@]+)(:(?P<config>[^:@]+))?(@(?P<revision>[^:@]+))?")
_ON_HUB = re.compile(
    r"(?P<hub>hf://datasets/|https://huggingface\.co/datasets/)?(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?(hub)|$)"
)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    csv.Error,
    zstandard.ZstdError,
    zlib.error,
    lzma.LZMAError,
    pa.ArrowException,
)


@dataclass(frozen=True)
class Files:
    """An entry of `corpus.sources` that names files, which are read one after another in order."""

    paths: tuple[Path, ...]


@dataclass(frozen=True)
class HubDataset:
    """An entry `datasets:owner/name[:config][@revision]`, streamed by the `datasets` library."""

    name: str
    config: str | None
    revision: str | None


Source = Files | HubDataset


def parse_source(source: str, split: str = "train") -> Source:
    """Resolve an entry of `corpus.sources`: a file, a glob, a folder written by `Dataset.save_to_disk`, or `datasets:owner/name`.

    `split`: the split of a folder that holds several. Raises `CorpusError`.
    """
    if source.startswith("datasets:"):
        match = _DATASET.fullmatch(source)
        if match is None:
            raise CorpusError(f"corpus source {source!r} is malformed: write datasets:owner/name[:config][@revision]")
        return _saved_dataset(Path(match["name"]).expanduser(), split) or HubDataset(
            match["name"], match["config"], match["revision"]
        )
    path = Path(source).expanduser()
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise CorpusError(f"corpus source {source[:100]} cannot be read: {error.strerror}: check the path") from None
    if is_file:
        return Files((path,))
    if is_folder:
        if saved := _saved_dataset(path, split):
            return saved
        raise CorpusError(
            f"corpus source {source} is a folder: name its files, such as {Path(source) / '**' / f'*{_usual_suffix(path)}'}"
        )
    files = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not files:
        raise CorpusError(f"corpus source {source} matches no file: {_advice(source)}")
    return Files(tuple(files))


def _advice(source: str) -> str:
    """What to do about a source that is no file."""
    if on_hub := _ON_HUB.match(source):
        return f"for the data set on the hub, write datasets:{on_hub['name']}"
    return "files are read from this machine only, so download it" if "://" in source else "check the path"


def _usual_suffix(folder: Path) -> str:
    """The suffix of most files below a folder that are named as a corpus."""
    known = {suffix for format in FORMATS for suffix in format.suffixes}
    suffixes = Counter(
        "".join(found)
        for path in itertools.islice(folder.rglob("*"), 10_000)
        if known & set(found := path.suffixes[-2:]) and path.name.lower() != "readme.md"
    )
    return suffixes.most_common(1)[0][0] if suffixes else ".txt"


def _saved_dataset(folder: Path, split: str) -> Files | None:
    """The Arrow files of a folder that `save_to_disk` has written, None for other folders.

    Source: `Dataset.save_to_disk` and `DatasetDict.save_to_disk` of the datasets library, 5.2.
    """
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
            if split not in splits:
                raise CorpusError(
                    f"corpus source {folder} has no split {split!r}: set corpus.split to one of: {', '.join(splits)}"
                )
            folder = folder / split
        if not (folder / "state.json").is_file():
            return None
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        paths = tuple(folder / file["filename"] for file in state["_data_files"])
    except CorpusError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"corpus source {folder} is a damaged save_to_disk folder: {one_line(error)}") from None
    if state.get("_indices_data_files"):
        raise CorpusError(
            f"corpus source {folder} was saved with an index of rows: save it again after Dataset.flatten_indices()"
        )
    if missing := [path for path in paths if not path.is_file()]:
        raise CorpusError(f"corpus source {folder} lacks the file {missing[0].name}: copy the whole folder")
    return Files(paths)


def recognise_file(path: Path) -> Recognised:
    """Compression, format and encoding of a file. Raises `CorpusError` if it cannot be read or is of no known kind."""
    try:
        return recognise(path)
    except CorpusError:
        raise
    except _UNREADABLE as error:
        raise CorpusError(f"corpus file {path} cannot be read: {remedy(error)}") from None


def read_source(source: Source, *, text_field: str, split: str) -> Iterator[Piece]:
    """Every piece of every document of a source, in order. Raises `CorpusError` naming the file that fails, or if the files are
    partly text, such as a README, and partly tables."""
    if isinstance(source, HubDataset):
        yield from _whole(_read_dataset(source, text_field, split), text_field, f"corpus source datasets:{source.name}")
        return
    _check_one_kind(source.paths)
    for path in source.paths:
        yield from _read_file(path, text_field, alone=len(source.paths) == 1)


def _check_one_kind(paths: tuple[Path, ...]) -> None:
    is_text = {path: recognise_file(path).format == "text" for path in paths if path.stat().st_size}
    texts, tables = ([path for path in is_text if is_text[path] is kind] for kind in (True, False))
    if texts and tables:
        raise CorpusError(
            f"one of corpus.sources names both text files, such as {texts[0]}, and tables, such as {tables[0]}: name only one kind,"
            " or each by an entry of its own"
        )


def clean(text: str) -> str:
    """The text as valid Unicode: lone surrogates become U+FFFD; everything else, including null bytes, is kept."""
    if not _LONE_SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _read_file(path: Path, text_field: str, alone: bool) -> Iterator[Piece]:
    """The pieces of a file. `alone`: it is the only one of its source."""
    recognised = recognise_file(path)
    where = f"corpus file {path}"
    try:
        with recognised.compression.open(path) if recognised.compression else path.open("rb") as stream:
            if recognised.format == "text":
                with TextFile(stream, path, recognised.encoding) as text:
                    blocks = text.blocks()
                    first = next(blocks, "")
                    _check_is_no_table(first, text_field, where)
                    prose = check_undamaged(itertools.chain([first], blocks), where)
                    is_list = alone and path.suffixes[:1] != [".md"] and is_a_sentence_a_line(first)
                    yield from cut_lines(prose) if is_list else cut_text(prose)
                return
            records = read_records(stream, path, recognised, text_field)
            yield from _whole((document_of(record, text_field, at) for at, record in records), text_field, where)
    except CorpusError:
        raise
    except _UNREADABLE as error:
        raise CorpusError(f"{where} cannot be read as {recognised.format}: {remedy(error)}") from None


def _check_is_no_table(first: str, text_field: str, where: str) -> None:
    """Raises `CorpusError` if the first line of a text, given by its first block, is the header of a table."""
    if delimiter := table_delimiter(first.lstrip("\ufeff").partition("\n")[0], text_field):
        suffix = ".tsv" if delimiter == "\t" else ".csv"
        raise CorpusError(
            f"{where} begins as a table with the column {text_field!r}: name it {suffix} to read it as one"
        )


def _whole(documents: Iterator[Document], text_field: str, where: str) -> Iterator[Piece]:
    """Checked documents of a table; long texts in several pieces."""
    for document in check_undamaged(check_texts_are_prose(documents, text_field, where), where):
        if isinstance(document, str) and len(document) > LONGEST_PIECE:
            yield from cut_text(document[i : i + BLOCK_CHARS] for i in range(0, len(document), BLOCK_CHARS))
        else:
            yield document, True


def cut_text(blocks: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """One text in pieces, and whether each is the last.

    Cuts before the last line break or space, where byte-level tokenizers cut as well, so that the cut does not change tokens.
    """
    held = ""
    for block in blocks:
        held += block
        cut = max(held.rfind("\n"), held.rfind(" "))
        if cut <= 0 and len(held) > LONGEST_PIECE:
            cut = len(held)
        if len(held) > BLOCK_CHARS // 2 and cut > 0:
            yield held[:cut], False
            held = held[cut:]
    yield held, True


def cut_lines(blocks: Iterable[str]) -> Iterator[Piece]:
    """One text as a document a line; a line of more than `LONGEST_PIECE` characters comes in several pieces. Empty lines are no documents."""
    held, begun = "", False
    for block in blocks:
        *lines, held = (held + block).split("\n")
        for line in lines:
            if begun or line.strip():
                yield line.rstrip("\r"), True
            begun = False
        if len(held) > LONGEST_PIECE:
            yield held, False
            held, begun = "", True
    if begun or held.strip():
        yield held, True


def _read_dataset(source: HubDataset, text_field: str, split: str) -> Iterator[Document]:
    import datasets

    where = f"corpus source datasets:{source.name}"
    datasets.logging.set_verbosity(logging.CRITICAL)  # it would log each error before it raises it
    try:
        stream = datasets.load_dataset(
            source.name, source.config, split=split, revision=source.revision, streaming=True
        )
        for record in stream:
            yield document_of(record, text_field, where)
    except CorpusError:
        raise
    except Exception as error:
        # Errors of the library, the hub or the network all have causes that only the user can remove.
        reason = remedy(error)
        if "load_from_disk" in one_line(error):
            reason = "it was written by save_to_disk: download the folder and name it in corpus.sources"
        raise CorpusError(f"{where}, split {split}, cannot be read: {reason}") from None
