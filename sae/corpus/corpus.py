"""Text as tokens: streamed from its sources, cut into contexts, cached on disk by content, and memory-mapped for use.

No context spans two documents. Sources are read in turn, in equal numbers of tokens, so that a limit on tokens omits none of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from huggingface_hub import HfApi

from sae.cache import cache_dir
from sae.corpus.context_writer import CONTEXT, OFFSET, TOKEN, TURN, ContextWriter
from sae.corpus.distinct_documents import Contents, distinct_documents
from sae.corpus.documents import Conversation, Document, TokenIds
from sae.corpus.duplicates import Duplicates
from sae.corpus.encoding import Encoded, check_token_ids, encode, template_fingerprint
from sae.corpus.sources import Files, HubDataset, Piece, Source, clean, parse_source, read_source, recognise_file
from sae.errors import CorpusError, one_line
from sae.file_hashes import file_hash
from sae.files import folder_written_whole
from sae.library_errors import remedy

FORMAT = 1
"""Version of the keys of cache entries."""
READING = 5
"""Version of the reading, part of the entries' names: earlier versions took some files for prose and lists of sentences for one
document, and kept duplicates and a BOS written in a text."""

PAD_ID = 0
"""Fills rows on the right, where a causal model does not see it: any id with an embedding will do, and a tokenizer's may have none."""
BATCH_BYTES = 1 << 18
"""Text that is tokenised together."""

NOT_READ = Contents()
"""Of a corpus that was made in memory."""

Progress = Callable[[int, int], None]
"""Called with the number of tokens read so far, and the largest number that will be read."""


@dataclass(frozen=True)
class Corpus:
    """A tokenised corpus, memory-mapped.

    `tokens`: uint32 (n_tokens,), without BOS. `contexts`: one row per context, with the number of its document, the position of
    its first token within that document, its offset into `tokens`, and its length. `fingerprint`: sha256 over the sources' bytes,
    the tokenizer and the settings by which the text was cut. `special_ids` are run but never counted, and so are the tokens at
    the offsets `template`, int64 in ascending order, which come from the chat template; None if there are none. `turns`: for each
    stretch of tokens of one message of a conversation, its offsets, the message's number and the index of its role in `roles`.
    `keys`: a hash of each document's text, int64 (n_documents,); None if documents are known by their numbers. `contents`: the
    duplicates found.
    """

    tokens: npt.NDArray[np.uint32]
    contexts: npt.NDArray[np.void]
    n_documents: int
    n_tokens: int
    fingerprint: str
    bos_id: int | None
    special_ids: frozenset[int]
    template: npt.NDArray[np.int64] | None = None
    turns: npt.NDArray[np.void] | None = None
    roles: tuple[str, ...] = ()
    keys: npt.NDArray[np.int64] | None = None
    contents: Contents = NOT_READ

    def document_keys(self, rows: npt.NDArray[np.integer[Any]] | Sequence[int] | slice) -> npt.NDArray[np.int64]:
        """The keys of the documents in which the contexts `rows` lie. All sampling and the split depend on them alone."""
        document = np.asarray(self.contexts["document"][rows], dtype=np.int64)
        return document if self.keys is None else self.keys[document]

    @property
    def largest_id(self) -> int:
        """The largest token id."""
        return int(self.tokens.max(initial=0))

    def turn_at(self, offset: int) -> str | None:
        """Role and number of the message in which the token at this offset stands, such as `assistant 2`; None outside messages."""
        if self.turns is None:
            return None
        turn = self.turns[np.searchsorted(self.turns["first"], offset, side="right") - 1]
        return f"{self.roles[turn['role']]} {turn['number']}" if turn["first"] <= offset < turn["end"] else None

    def batch(self, rows: npt.NDArray[np.integer[Any]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The contexts `rows` as `(tokens, counted)`, int64 and bool, both (B, T).

        Each row starts with BOS if the subject uses one, and is padded on the right to the longest. `counted` is False at
        BOS, padding, special ids and tokens of the chat template.
        """
        chosen = self.contexts[np.asarray(rows, dtype=np.int64)]
        first = 0 if self.bos_id is None else 1
        lengths = chosen["length"].astype(np.int64)
        width = first + int(lengths.max(initial=0))
        columns = np.arange(width, dtype=np.int64) - first
        text = (columns >= 0) & (columns < lengths[:, None])
        offset = chosen["offset"][:, None] + columns
        tokens = np.full((len(chosen), width), PAD_ID, dtype=np.int64)
        tokens[text] = self.tokens[offset[text]]
        if self.bos_id is not None:
            tokens[:, 0] = self.bos_id
        counted = text & ~np.isin(tokens, np.fromiter(self.special_ids, dtype=np.int64))
        if self.template is not None:
            place = np.minimum(np.searchsorted(self.template, offset), len(self.template) - 1)
            counted &= self.template[place] != offset
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
    count_template: bool = False,
    progress: Progress | None = None,
) -> Corpus:
    """Tokenise the sources, or open the result of an earlier call with the same content and settings from the cache.

    `tokenizer`: a transformers tokenizer. `context_tokens`: tokens of one context, BOS included. `max_tokens`: largest number of
    tokens to read. `count_template`: count the tokens of the chat template as well. Raises `CorpusError`, one line, for a source
    that matches nothing, a missing field, an unreadable file, token ids of another tokenizer, or no text at all.
    """
    parsed = [parse_source(source, split) for source in sources]
    stride = context_tokens - (bos_id is not None)
    if not parsed:
        raise CorpusError("the corpus has no sources: name files in corpus.sources")
    if stride < 1:
        raise CorpusError(f"corpus.context_tokens = {context_tokens} leaves no room for text: raise it")
    parsed = [_pin_revision(source) for source in parsed]
    settings = [FORMAT, tokenizer_fingerprint, context_tokens, bos_id, max_tokens, text_field, split]
    if count_template:
        settings.append("template counted")
    key = hashlib.sha256(json.dumps([settings, [_identity(source) for source in parsed]]).encode()).hexdigest()
    template = template_fingerprint(tokenizer)
    folder = cache_dir() / "corpora" / f"{key}-{READING}-{template[:8]}"
    if not (folder / "meta.json").is_file():
        duplicates = Duplicates()
        readers = [
            duplicates.without(check_token_ids(read_source(source, text_field=text_field, split=split), tokenizer))
            for source in parsed
        ]
        _write(
            folder,
            _SourcesInTurn(readers),
            duplicates,
            partial(encode, tokenizer, count_template=count_template),
            stride,
            max_tokens,
            progress,
        )
    meta = json.loads((folder / "meta.json").read_text())
    if not meta["n_tokens"]:
        raise CorpusError(f"the corpus holds no text: every document in {', '.join(sources)} is empty")
    if meta["conversations"]:
        key = hashlib.sha256(f"{key} {template}".encode()).hexdigest()
    return _open(folder, meta, key, bos_id, special_ids, tokenizer)


def _open(
    folder: Path, meta: dict[str, Any], key: str, bos_id: int | None, special_ids: Collection[int], tokenizer: Any
) -> Corpus:
    template, turns = folder / "template.bin", folder / "turns.bin"
    return Corpus(
        tokens=np.memmap(folder / "tokens.bin", dtype=TOKEN, mode="r"),
        contexts=np.memmap(folder / "contexts.bin", dtype=CONTEXT, mode="r"),
        n_documents=meta["n_documents"],
        n_tokens=meta["n_tokens"],
        fingerprint=key,
        bos_id=bos_id,
        special_ids=frozenset(int(i) for i in special_ids),
        template=np.memmap(template, dtype=OFFSET, mode="r") if template.stat().st_size else None,
        turns=np.memmap(turns, dtype=TURN, mode="r") if turns.stat().st_size else None,
        roles=tuple(meta["roles"]),
        keys=np.load(folder / "keys.npy"),
        contents=Contents(**meta["contents"]),
    )


def _write(
    folder: Path,
    sources: _SourcesInTurn,
    duplicates: Duplicates,
    encode: Callable[[list[Document]], list[Encoded]],
    stride: int,
    max_tokens: int,
    progress: Progress | None,
) -> None:
    """Write a cache entry, whole or not at all."""
    conversations = False
    with folder_written_whole(folder) as work:
        with (
            (work / "tokens.bin").open("wb") as tokens,
            (work / "contexts.bin").open("wb") as contexts,
            (work / "template.bin").open("wb") as template,
            (work / "turns.bin").open("wb") as turns,
        ):
            writer = ContextWriter(tokens, contexts, template, turns, stride, max_tokens)
            while pieces := sources.take(BATCH_BYTES):
                documents = [document for _, document, _ in pieces]
                conversations |= any(isinstance(document, Conversation) for document in documents)
                writer.add([(source, last) for source, _, last in pieces], encode(documents))
                for source, count in writer.tokens_by_source.items():
                    sources.set_tokens(source, count)
                if progress is not None:
                    progress(writer.n_tokens, max_tokens)
                if writer.full:
                    break
            writer.close()
            if progress is not None:
                progress(writer.n_tokens, writer.n_tokens)  # the text may end before `max_tokens`
        read = np.fromfile(work / "contexts.bin", dtype=CONTEXT)
        tokens_read = np.memmap(work / "tokens.bin", dtype=TOKEN, mode="r") if len(read) else np.zeros(0, TOKEN)
        rows, keys, contents = distinct_documents(tokens_read, read, duplicates.n_left_out)
        rows.tofile(work / "contexts.bin")
        np.save(work / "keys.npy", keys)
        meta = {"format": FORMAT, "conversations": conversations, "roles": writer.roles, "contents": contents._asdict()}
        counts = {"n_documents": len(keys), "n_tokens": int(rows["length"].sum())}
        (work / "meta.json").write_text(json.dumps(meta | counts))


class _SourcesInTurn:
    """Reads pieces of all sources, each from the source with the fewest tokens so far.

    Tokens are known only after tokenisation, so they are estimated from the bytes read since, at the source's rate so far.
    """

    def __init__(self, readers: list[Iterator[Piece]]) -> None:
        self.readers = dict(enumerate(readers))
        self.bytes = dict.fromkeys(self.readers, 0)
        self.tokens = dict.fromkeys(self.readers, 0.0)
        self.rate = dict.fromkeys(self.readers, 0.25)  # tokens per byte, at first that of English

    def take(self, limit: int) -> list[tuple[int, Document, bool]]:
        """The next pieces, about `limit` bytes of text, as (source, document, last); empty once all sources are at their end."""
        pieces: list[tuple[int, Document, bool]] = []
        while self.readers and limit > 0:
            source = min(self.readers, key=lambda n: (self.tokens[n], n))
            piece = next(self.readers[source], None)
            if piece is None:
                del self.readers[source]
                continue
            document, last = piece
            if isinstance(document, str):
                document = clean(document)
            size = _size(document)
            limit -= size
            self.bytes[source] += size
            self.tokens[source] += size * self.rate[source]
            pieces.append((source, document, last))
        return pieces

    def set_tokens(self, source: int, tokens: int) -> None:
        """Replace the estimate by the number of tokens in all text taken from `source` so far."""
        self.tokens[source] = tokens
        self.rate[source] = max(tokens, 1) / max(self.bytes[source], 1)


def _size(document: Document) -> int:
    """Bytes of a document's text, at least 1; about four for a token id."""
    if isinstance(document, str):
        return len(document.encode()) + 1
    if isinstance(document, TokenIds):
        return 4 * len(document.ids) + 1
    return sum(len(message["content"]) for message in document.messages) + 1


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
        return ["files", [[recognise_file(path).kind, _file_hash(path)] for path in source.paths]]
    folder = Path(source.name)
    local = [_file_hash(p) for p in sorted(folder.rglob("*")) if p.is_file()] if folder.exists() else []
    return ["datasets", "" if local else source.name, source.config, source.revision, local]


def _file_hash(path: Path) -> str:
    try:
        return file_hash(path)
    except OSError as error:
        raise CorpusError(f"corpus file {path} cannot be read: {one_line(error)}") from None
