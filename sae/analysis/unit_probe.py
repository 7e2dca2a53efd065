"""What chosen units do at the tokens of given texts, or of given contexts of a corpus: the questions that arise after a harvest.

Everything is as in a harvest: tokens, BOS, which tokens count, and the encoders. A text is read as if it were a document of its
own, so what the judge writes and what the corpus holds are read alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.corpus.corpus import CONTEXT, TOKEN, Corpus
from sae.corpus.sources import clean
from sae.dictionary import Dictionary
from sae.errors import SubjectError, one_line
from sae.harvest.harvest import UnitReader, batches, check_finite, run_contexts
from sae.harvest.units import UnitKey
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

LONGEST = 512
"""Tokens of a text that are read, BOS not counted; fewer where the subject has fewer positions."""
BATCH_TOKENS = 4096
TOGETHER = 128
"""Texts of several units that are read at a time."""


@dataclass(frozen=True)
class Seen:
    """A context of T tokens: their ids (T,), which of them count (T,), and `activations`, float32 (units, T), 0 where none counts."""

    ids: npt.NDArray[np.uint32]
    counted: npt.NDArray[np.bool_]
    activations: npt.NDArray[np.float32]


@dataclass(frozen=True)
class SeenText:
    """A text of T tokens, one string each: `activations` as in `Seen`. `n_cut` tokens at its end were too many, and not read."""

    tokens: tuple[str, ...]
    activations: npt.NDArray[np.float32]
    n_cut: int


def read(
    subject: Subject,
    dictionary: Dictionary,
    units: Sequence[UnitKey],
    texts: Sequence[str],
    *,
    skip_positions: int = 1,
    norm_limit: float = math.inf,
) -> list[SeenText]:
    """Activations of `units` at each token of each text, in the order of the texts; an empty one has no tokens.

    `skip_positions` and `norm_limit` are the harvest's: what it would not count is 0 here. Raises `SubjectError` where the
    tokenizer cannot encode a text or values are not finite.
    """
    reader = UnitReader(subject, dictionary, units)
    return _read_texts(reader, texts, skip_positions, norm_limit)


def read_own(
    reader: UnitReader,
    wanted: Sequence[tuple[int, str]],
    *,
    skip_positions: int = 1,
    norm_limit: float = math.inf,
) -> list[SeenText]:
    """Activations (1, T) of one unit in each text: `wanted` are numbers among the reader's units, and texts. Else as `read`.

    One reader serves texts of many units, and no more is held than a few texts' activations of all.
    """
    found = []
    for first in range(0, len(wanted), TOGETHER):
        some = wanted[first : first + TOGETHER]
        seen = _read_texts(reader, [text for _, text in some], skip_positions, norm_limit)
        found += [
            replace(text, activations=text.activations[number : number + 1].copy())
            for (number, _), text in zip(some, seen, strict=True)
        ]
    return found


def _read_texts(reader: UnitReader, texts: Sequence[str], skip_positions: int, norm_limit: float) -> list[SeenText]:
    subject = reader.subject
    ids, longest = encode_texts(subject, texts), most_tokens(subject)
    kept = [row[:longest] for row in ids]
    found = read_contexts(
        reader, _as_corpus(subject, kept), range(len(kept)), skip_positions=skip_positions, norm_limit=norm_limit
    )
    return [
        SeenText(tuple(token_texts(subject.tokenizer, row)), seen.activations, len(whole) - len(row))
        for whole, row, seen in zip(ids, kept, found, strict=True)
    ]


def read_contexts(
    reader: UnitReader,
    corpus: Corpus,
    rows: Sequence[int],
    *,
    skip_positions: int = 1,
    norm_limit: float = math.inf,
) -> list[Seen]:
    """What the reader's units do in the corpus's contexts `rows`, in that order. Raises `SubjectError` for values that are not finite."""
    wanted = np.asarray(rows, dtype=np.int64)
    distinct = np.unique(wanted)
    found: dict[int, Seen] = {int(row): _nothing(reader) for row in distinct[corpus.contexts["length"][distinct] == 0]}
    for chosen in batches(corpus, distinct[corpus.contexts["length"][distinct] > 0], BATCH_TOKENS):
        activations, counted = _read_batch(reader, corpus, chosen, skip_positions, norm_limit)
        cuts = np.cumsum(corpus.contexts["length"][chosen].astype(np.int64))[:-1]
        parts = zip(chosen, np.split(activations, cuts, axis=1), np.split(counted, cuts), strict=True)
        for row, values, counts in parts:
            offset = int(corpus.contexts["offset"][row])
            ids = np.asarray(corpus.tokens[offset : offset + len(counts)])
            found[int(row)] = Seen(ids, counts, values)
    return [found[int(row)] for row in wanted]


def most_tokens(subject: Subject) -> int:
    """Tokens of a text that the subject is given, BOS not counted."""
    config: Any = subject.model.config.get_text_config(decoder=True)
    positions = getattr(config, "max_position_embeddings", None)
    room = positions if isinstance(positions, int) and positions > 0 else LONGEST + 1
    return min(LONGEST, room - int(subject.bos_id is not None))


def encode_texts(subject: Subject, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without BOS, as a corpus has them. Raises `SubjectError`."""
    if not texts:
        return []
    try:
        encoded = subject.tokenizer([clean(text) for text in texts], add_special_tokens=False, verbose=False)
    except Exception as error:
        raise SubjectError(f"the subject's tokenizer cannot encode the texts: {one_line(error)}") from error
    return [[int(i) for i in row] for row in encoded["input_ids"]]


@torch.inference_mode()
def _read_batch(
    reader: UnitReader, corpus: Corpus, rows: npt.NDArray[np.int64], skip_positions: int, norm_limit: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Activations (units, N) at the contexts' N tokens, and which of them count."""
    values, text = run_contexts(reader.subject, corpus, rows, sorted(reader.hook_points))
    norms = values[reader.hook_point].norm(dim=1)
    check_finite(norms[text], reader.hook_point)
    column = torch.cat([torch.arange(int(n), device=norms.device) for n in corpus.contexts["length"][rows]])
    counted = text & (norms <= norm_limit) & (column >= skip_positions)
    found = torch.zeros(len(reader.units), len(counted), device=norms.device)
    for make in reader.blocks(values, counted):
        block = make()
        found[block.units] = _whole(block.at, len(block.units), len(counted), norms.device)
    found *= counted
    return found.cpu().numpy(), counted.cpu().numpy()


def _whole(at: Any, units: int, tokens: int, device: torch.device) -> Tensor:
    """A block's activations at all tokens: (units, tokens)."""
    unit = torch.arange(units, device=device).repeat_interleave(tokens)
    column = torch.arange(tokens, device=device).repeat(units)
    value: Tensor = at(unit, column)
    return value.view(units, tokens)


def _nothing(reader: UnitReader) -> Seen:
    empty = np.zeros((len(reader.units), 0), dtype=np.float32)
    return Seen(np.zeros(0, dtype=TOKEN), np.zeros(0, dtype=np.bool_), empty)


def _as_corpus(subject: Subject, texts: Sequence[Sequence[int]]) -> Corpus:
    """The texts as a corpus in memory, a context each, in their order."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    contexts = np.zeros(len(texts), dtype=CONTEXT)
    contexts["document"] = np.arange(len(texts))
    contexts["offset"] = np.cumsum(lengths) - lengths
    contexts["length"] = lengths
    return Corpus(
        tokens=np.array([i for text in texts for i in text], dtype=TOKEN),
        contexts=contexts,
        n_documents=len(texts),
        n_tokens=int(lengths.sum()),
        fingerprint="",
        bos_id=subject.bos_id,
        pad_id=0,
        special_ids=subject.special_ids,
    )
