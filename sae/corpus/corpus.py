"""Text as tokens: streamed from its sources, cut into contexts, cached on disk by content, and memory-mapped for use.

No context spans two documents. Sources are read in turn, in equal numbers of tokens, so that a limit on tokens omits none of them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from huggingface_hub import HfApi

from sae.cache import cache_dir
from sae.corpus.sources import Files, HubDataset, Piece, Source, clean, file_kind, parse_source, read_source
from sae.errors import CorpusError, one_line
from sae.files import folder_written_whole, write_text
from sae.library_errors import remedy

FORMAT = 1
"""Version of the cache entries; part of their keys."""

CONTEXT = np.dtype([("document", "<i8"), ("position", "<i4"), ("offset", "<i8"), ("length", "<i4")])
TOKEN = np.dtype("<u4")
BATCH_BYTES = 1 << 18
"""Text that is tokenised together."""

Progress = Callable[[int, int], None]
"""Called with the number of tokens read so far, and the largest number that will be read."""


@dataclass(frozen=True)
class Corpus:
    """A tokenised corpus, memory-mapped.

    `tokens`: uint32 (n_tokens,), without BOS. `contexts`: one row per context, with the number of its document, the position of
    its first token within that document, its offset into `tokens`, and its length. `fingerprint`: sha256 over the sources' bytes,
    the tokenizer and the settings by which the text was cut. `special_ids` are run but never counted.
    """

    tokens: npt.NDArray[np.uint32]
    contexts: npt.NDArray[np.void]
    n_documents: int
    n_tokens: int
    fingerprint: str
    bos_id: int | None
    pad_id: int
    special_ids: frozenset[int]

    def batch(self, rows: npt.NDArray[np.integer[Any]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The contexts `rows` as `(tokens, counted)`, int64 and bool, both (B, T).

        Each row starts with BOS if the subject uses one, and is padded on the right to the longest. `counted` is False at
        BOS, padding and special ids.
        """
        chosen = self.contexts[np.asarray(rows, dtype=np.int64)]
        first = 0 if self.bos_id is None else 1
        lengths = chosen["length"].astype(np.int64)
        width = first + int(lengths.max(initial=0))
        columns = np.arange(width, dtype=np.int64) - first
        text = (columns >= 0) & (columns < lengths[:, None])
        offset = chosen["offset"][:, None] + columns
        tokens = np.full((len(chosen), width), self.pad_id, dtype=np.int64)
        tokens[text] = self.tokens[offset[text]]
        if self.bos_id is not None:
            tokens[:, 0] = self.bos_id
        counted = text & ~np.isin(tokens, np.fromiter(self.special_ids, dtype=np.int64))
        return tokens, counted


def open_corpus(
    sources: Sequence[str],
    *,
    tokenizer: Any,
    tokenizer_fingerprint: str,
    context_tokens: int,
    max_tokens: int,
    text_field: str = "text",
    split: str = "train",
    bos_id: int | None = None,
    special_ids: Collection[int] = frozenset(),
    progress: Progress | None = None,
) -> Corpus:
    """Tokenise the sources, or open the result of an earlier call with the same content and settings from the cache.

    `tokenizer`: a transformers tokenizer. `context_tokens`: tokens of one context, BOS included. `max_tokens`: largest number of
    tokens to read. Raises `CorpusError`, one line, for a source that matches nothing, a missing field, an unreadable file, or no
    text at all.
    """
    parsed = [parse_source(source) for source in sources]
    stride = context_tokens - (bos_id is not None)
    if not parsed:
        raise CorpusError("the corpus has no sources: name files in corpus.sources")
    if stride < 1:
        raise CorpusError(f"corpus.context_tokens = {context_tokens} leaves no room for text: raise it")
    parsed = [_pin_revision(source) for source in parsed]
    settings = [FORMAT, tokenizer_fingerprint, context_tokens, bos_id, max_tokens, text_field, split]
    key = hashlib.sha256(json.dumps([settings, [_identity(source) for source in parsed]]).encode()).hexdigest()
    folder = cache_dir() / "corpora" / key
    if not (folder / "meta.json").is_file():
        readers = [read_source(source, text_field=text_field, split=split) for source in parsed]
        _write(folder, readers, tokenizer, stride, max_tokens, progress)
    return _open(folder, key, bos_id, special_ids, tokenizer)


def _open(folder: Path, key: str, bos_id: int | None, special_ids: Collection[int], tokenizer: Any) -> Corpus:
    meta = json.loads((folder / "meta.json").read_text())
    if not meta["n_tokens"]:
        raise CorpusError("the corpus holds no text: every document in corpus.sources is empty")
    pad_id = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, bos_id) if i is not None), 0)
    return Corpus(
        tokens=np.memmap(folder / "tokens.bin", dtype=TOKEN, mode="r"),
        contexts=np.memmap(folder / "contexts.bin", dtype=CONTEXT, mode="r"),
        n_documents=meta["n_documents"],
        n_tokens=meta["n_tokens"],
        fingerprint=key,
        bos_id=bos_id,
        pad_id=int(pad_id),
        special_ids=frozenset(int(i) for i in special_ids),
    )


def _write(
    folder: Path,
    readers: list[Iterator[Piece]],
    tokenizer: Any,
    stride: int,
    max_tokens: int,
    progress: Progress | None,
) -> None:
    """Write a cache entry, whole or not at all."""
    with folder_written_whole(folder) as work:
        with (work / "tokens.bin").open("wb") as tokens, (work / "contexts.bin").open("wb") as contexts:
            writer = _ContextWriter(tokens, contexts, stride, max_tokens)
            sources = _SourcesInTurn(readers)
            while pieces := sources.take(BATCH_BYTES):
                writer.add(pieces, _tokenise(tokenizer, [text for _, text, _ in pieces]))
                for source, count in writer.tokens_by_source.items():
                    sources.set_tokens(source, count)
                if progress is not None:
                    progress(writer.n_tokens, max_tokens)
                if writer.full:
                    break
            writer.close()
        meta = {"format": FORMAT, "n_documents": writer.n_documents, "n_tokens": writer.n_tokens}
        (work / "meta.json").write_text(json.dumps(meta))


class _SourcesInTurn:
    """Reads pieces of all sources, each from the source with the fewest tokens so far.

    Tokens are known only after tokenisation, so they are estimated from the bytes read since, at the source's rate so far.
    """

    def __init__(self, readers: list[Iterator[Piece]]) -> None:
        self.readers = dict(enumerate(readers))
        self.bytes = dict.fromkeys(self.readers, 0)
        self.tokens = dict.fromkeys(self.readers, 0.0)
        self.rate = dict.fromkeys(self.readers, 0.25)  # tokens per byte, at first that of English

    def take(self, limit: int) -> list[tuple[int, str, bool]]:
        """The next pieces, about `limit` bytes of text, as (source, text, last); empty once all sources are at their end."""
        pieces: list[tuple[int, str, bool]] = []
        while self.readers and limit > 0:
            source = min(self.readers, key=lambda n: (self.tokens[n], n))
            piece = next(self.readers[source], None)
            if piece is None:
                del self.readers[source]
                continue
            text = clean(piece[0])
            size = len(text.encode()) + 1
            limit -= size
            self.bytes[source] += size
            self.tokens[source] += size * self.rate[source]
            pieces.append((source, text, piece[1]))
        return pieces

    def set_tokens(self, source: int, tokens: int) -> None:
        """Replace the estimate by the number of tokens in all text taken from `source` so far."""
        self.tokens[source] = tokens
        self.rate[source] = max(tokens, 1) / max(self.bytes[source], 1)


def _tokenise(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    try:
        encoded = tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )
    except Exception as error:
        raise CorpusError(f"the subject's tokenizer cannot encode the corpus: {one_line(error)}") from error
    return list(encoded["input_ids"])


class _ContextWriter:
    """Cuts documents into contexts and appends these to two files. Each source has one unfinished document at a time."""

    def __init__(self, tokens: Any, contexts: Any, stride: int, max_tokens: int) -> None:
        self.tokens, self.contexts = tokens, contexts
        self.stride, self.max_tokens = stride, max_tokens
        self.n_tokens = self.n_documents = 0
        self.tokens_by_source: dict[int, int] = {}
        self._open: dict[int, _OpenDocument] = {}

    @property
    def full(self) -> bool:
        return self.n_tokens >= self.max_tokens

    def add(self, pieces: list[tuple[int, str, bool]], ids: list[list[int]]) -> None:
        for (source, _, last), piece in zip(pieces, ids, strict=True):
            document = self._open.setdefault(source, _OpenDocument())
            document.pending.extend(piece)
            self.tokens_by_source[source] = self.tokens_by_source.get(source, 0) + len(piece)
            self._cut(document, at_end=last)
            if last:
                del self._open[source]

    def close(self) -> None:
        for document in self._open.values():
            self._cut(document, at_end=True)

    def _cut(self, document: _OpenDocument, at_end: bool) -> None:
        """Write the document's pending tokens as contexts; a shorter rest waits for more text unless the document is at its end."""
        pending = np.asarray(document.pending, dtype=TOKEN)
        end = len(pending) if at_end else len(pending) - len(pending) % self.stride
        end = min(end, self.max_tokens - self.n_tokens)
        if end <= 0:
            return
        if document.number < 0:
            document.number, self.n_documents = self.n_documents, self.n_documents + 1
        starts = np.arange(0, end, self.stride)
        rows = np.zeros(len(starts), dtype=CONTEXT)
        rows["document"] = document.number
        rows["position"] = document.position + starts
        rows["offset"] = self.n_tokens + starts
        rows["length"] = np.minimum(self.stride, end - starts)
        self.tokens.write(pending[:end].tobytes())
        self.contexts.write(rows.tobytes())
        self.n_tokens += end
        document.position += end
        del document.pending[:end]


class _OpenDocument:
    """A document of which more text may come. It gets a number with its first token."""

    def __init__(self) -> None:
        self.number, self.position = -1, 0
        self.pending: list[int] = []


def _pin_revision(source: Source) -> Source:
    """A dataset with its revision resolved to a commit, so that the cache is keyed by content and not by name."""
    if isinstance(source, Files) or Path(source.name).exists():
        return source
    try:
        commit = HfApi().dataset_info(source.name, revision=source.revision, timeout=20).sha
    except Exception as error:
        if source.revision is not None:
            return source  # a pinned commit may be in the cache already; if it is not, reading it fails with a reason
        raise CorpusError(f"corpus source datasets:{source.name} cannot be found: {remedy(error)}") from None
    return HubDataset(source.name, source.config, commit)


def _identity(source: Source) -> list[Any]:
    if isinstance(source, Files):
        return ["files", [[file_kind(path), _file_hash(path)] for path in source.paths]]
    folder = Path(source.name)
    local = [_file_hash(p) for p in sorted(folder.rglob("*")) if p.is_file()] if folder.exists() else []
    return ["datasets", "" if local else source.name, source.config, source.revision, local]


def _file_hash(path: Path) -> str:
    """sha256 of a file's bytes, cached by path, size and modification time so that a second run does not read the file."""
    try:
        stat = path.stat()
        identity = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape")
        cached = cache_dir() / "corpora" / "hashes" / hashlib.sha256(identity).hexdigest()
        if cached.is_file():
            return cached.read_text()
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"corpus file {path} cannot be read: {one_line(error)}") from None
    # A file younger than two seconds could change again without a new timestamp, whose resolution is that coarse on some systems.
    if time.time_ns() - stat.st_mtime_ns > 2_000_000_000:
        write_text(cached, digest)
    return digest
