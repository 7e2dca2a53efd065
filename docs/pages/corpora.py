"""docs/corpora.md, from the registry of formats and from reading a small file of every kind."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import zstandard
from pyarrow import feather, parquet

from pages.markdown import MARK, table
from sae.corpus import distinct_documents, near_duplicates
from sae.corpus.readers import LARGEST_UNPACKED
from sae.corpus.recognition import COMPRESSIONS, FORMATS, MARKUP, NOT_TEXT
from sae.corpus.sources import parse_source, read_source
from sae.corpus.text import LONGEST_DOCUMENT
from sae.errors import CorpusError

INTRO = """\
# Corpora

`corpus.sources` of a [spec](spec.md) names files, globs, folders that `Dataset.save_to_disk` has written, and data sets as
`datasets:owner/name[:config][@revision]`. Sources are read in turn, in equal numbers of tokens, until `corpus.max_tokens`.

A file is recognised by its content, not by its last suffix: `part-00000.gz` with JSON lines is read as JSON lines. The name decides
only whether text is CSV, TSV or prose, and a name that contradicts the content is refused. What is none of the formats below, such as
an archive, a PDF or text in an unknown encoding, is refused in one line that says what to do. So is a glob that names both text files and
tables, such as a README beside Parquet files: its text would be read as one more document.

## Formats

"""

DOCUMENTS = """
## Documents

Documents divide the text between explaining and judging, so that an explanation is never judged on a text that it was made from. A document is
known by its text, not by its place, and the same text is on the same side in every corpus.

- **Duplicates.** A document whose text occurred before, in any source, is left out, and does not count towards `corpus.max_tokens`.
- **Near-duplicates.** Documents that have {similar} of their short stretches of text in common (about four words, or seven characters for a
  tokenizer of characters) are one document: all are read, on one side, and none of a unit's windows repeats another. Stretches that more
  than {boilerplate} of the documents have, such as a licence or a system prompt, do not count. The share is estimated by MinHash, so
  some pairs near the limit are missed.
- **Lists of sentences.** A text file, other than Markdown, that is the only file of its source is a document a line if 95% of its lines
  end a sentence, as in files with a sentence or a paragraph a line. Wrapped prose, verse and code are a document a file.
- **Long texts.** A document with more than a {largest}th of the tokens, and more than {least}, is cut into pieces of a {piece}th, each a document of its
  own, with a context between two pieces that is not read. So one long text file can be a corpus; the report cautions that its
  pieces are of one text.

Beyond that, no two exemplars of a unit show the same text around their marks, such as a licence that two unlike files share. The run, its
report and `corpus.contents` of `summary.json` state the numbers of duplicates, near-duplicates and pieces.
"""
COLUMNS = """
## Columns

`corpus.text_field` names the column with the documents. The value decides how it is used:

- **Text** is encoded with the subject's tokenizer. A BOS that it begins with is left out, because contexts get theirs anyway.
- **Token ids** (`input_ids`) are used as they are, split at BOS, without padding. They have to be the subject's: ids outside its vocabulary
  are refused, and so are ids of which more than 2 %, and one of each document, change when the subject's tokenizer decodes and encodes them
  again (measured on 32 documents of each source). A tokenizer whose tokens are single bytes or whole words passes the second test with any ids.
- **Conversations** (`messages` with `role` and `content`, or ShareGPT's `conversations` with `from` and `value`) go through the subject's chat
  template; a subject without one refuses them. The template's own tokens are run but not counted, so that no exemplar is about role names;
  `corpus.count_template = true` counts them. Windows show the template's tokens, and report and
  `exemplars.parquet` (`turn`) say in which message an exemplar's token stands.

Each cell of the table is made by reading a small file of that kind.

"""

ENCODINGS = """
## Encodings

Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark; UTF-16 without one is recognised if most characters are ASCII. A last
character that is cut off is accepted. Documents that hold more than 0.5 % of replacement or NUL characters are refused: an earlier
conversion has damaged them.

"""


_WORDS = "river stone lamp paper green house"
_VALUES: dict[str, tuple[Any, ...]] = {
    "text": (_WORDS, "music winter sugar", "train garden silver"),
    "token ids": ([5, 6, 7], [8, 9], [10]),
    "messages": tuple([{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}] for text in "abc"),
    "ShareGPT": tuple([{"from": "human", "value": text}, {"from": "gpt", "value": "yes"}] for text in "abc"),
    "JSON as text": tuple(json.dumps([{"role": "user", "content": text}]) for text in "abc"),
    "numbers": (1, 2, 3),
    "lists of texts": (["a", "b"], ["c"], ["d"]),
}


def page() -> str:
    """docs/corpora.md: formats from the registry, and for every kind of file whether it is read, by reading one."""
    formats = [(f.title, " ".join(f"`{suffix}`" for suffix in f.suffixes), f.documents) for f in FORMATS]
    refused = list(dict.fromkeys((f"is {description}", remedy) for _, description, remedy in NOT_TEXT + MARKUP))
    limits = (
        f"\nA line, a JSON object and a document in a table have at most {LONGEST_DOCUMENT:,} characters, so that an endless line ends in an"
        " error and not in the memory's. A text file has no limit. A compressed Parquet or"
        f" Arrow file is unpacked to a temporary file of at most {LARGEST_UNPACKED >> 30} GiB.\n"
    )
    documents = DOCUMENTS.format(
        similar=f"{near_duplicates.SIMILAR:.0%}",
        boilerplate=f"{near_duplicates.BOILERPLATE:.1%}",
        largest=round(1 / distinct_documents.LARGEST),
        least=f"{distinct_documents.LEAST_CUT:,}",
        piece=round(1 / distinct_documents.PIECE),
    )
    with TemporaryDirectory() as folder:
        columns, encodings = _column_table(Path(folder)), _encoding_table(Path(folder))
    return (
        MARK + INTRO + table(("format", "names", "a document is"), formats) + limits + documents + COLUMNS + columns
        + ENCODINGS + encodings + "\n## Refused by their first bytes\n\n" + table(("the file", "what to do"), refused)
    )  # fmt: skip


def _column_table(folder: Path) -> str:
    suffixes = ["", *(compression.suffix for compression in COMPRESSIONS)]
    rows, messages = [], dict[str, int]()
    for column, values in _VALUES.items():
        for suffix, data in _files(values).items():
            outcomes = [_outcome(folder / f"FILE{suffix}{c}", _compressed(data, c)) for c in suffixes]
            cells = [o if o == "read" else f"refused ({messages.setdefault(o, len(messages) + 1)})" for o in outcomes]
            rows.append((column, f"`{suffix}`", *cells))
    header = ("column", "file", "plain", *(f"`{suffix}`" for suffix in suffixes[1:]))
    return table(header, rows) + "\n" + "".join(f"{n}. {message}\n" for message, n in messages.items())


def _encoding_table(folder: Path) -> str:
    encodings = {
        "UTF-8": "utf-8", "UTF-8 with a byte order mark": "utf-8-sig", "UTF-16 with a byte order mark": "utf-16",
        "UTF-16, little endian, without": "utf-16-le", "UTF-16, big endian, without": "utf-16-be",
        "UTF-32 with a byte order mark": "utf-32", "Latin-1": "latin-1",
    }  # fmt: skip
    texts = {
        ".txt": f"{_WORDS} caf\xe9", ".jsonl": f'{{"text": "{_WORDS} caf\xe9"}}\n', ".json": f'[{{"text": "{_WORDS} caf\xe9"}}]',
        ".csv": f"text\n{_WORDS} caf\xe9\n", ".tsv": f"text\tn\n{_WORDS} caf\xe9\t1\n",
    }  # fmt: skip
    rows = []
    for name, encoding in encodings.items():
        outcomes = [_outcome(folder / f"FILE{suffix}", text.encode(encoding)) for suffix, text in texts.items()]
        rows.append((name, *("read" if outcome == "read" else "refused" for outcome in outcomes)))
    return table(("encoding", *(f"`{suffix}`" for suffix in texts)), rows)


def _files(values: tuple[Any, ...]) -> dict[str, bytes]:
    """A column as files of every format that has columns, by suffix."""
    columns, records = pa.table({"text": list(values)}), [{"text": value} for value in values]
    file, stream, old = pa.BufferOutputStream(), pa.BufferOutputStream(), pa.BufferOutputStream()
    feather.write_feather(columns, old, compression="zstd")
    parquet.write_table(columns, file)
    with pa.ipc.new_stream(stream, columns.schema) as writer:
        writer.write_table(columns)
    cells = [value if isinstance(value, str) else json.dumps(value) for value in values]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    return {
        ".jsonl": "".join(json.dumps(record) + "\n" for record in records).encode(),
        ".json": json.dumps(records, indent=1).encode(),
        ".csv": "\n".join(["n,text", *(f"1,{cell}" for cell in quoted)]).encode(),
        ".tsv": "\n".join(["n\ttext", *(f"1\t{cell}" for cell in quoted)]).encode(),
        ".parquet": file.getvalue().to_pybytes(),
        ".arrow": stream.getvalue().to_pybytes(),
        ".feather": old.getvalue().to_pybytes(),
    }


def _compressed(data: bytes, suffix: str) -> bytes:
    compress: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".zst": zstandard.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    return compress[suffix](data) if suffix else data


def _outcome(path: Path, data: bytes) -> str:
    """What the corpus reader makes of a file: `read`, or the refusal."""
    path.write_bytes(data)
    try:
        list(read_source(parse_source(str(path)), text_field="text", split="train"))
    except CorpusError as error:
        return re.sub(r"FILE[.\w]*(, (line|item) \d+,)?", "FILE", str(error).replace(f"{path.parent}/", ""))
    return "read"
