"""Activations of chosen units at the tokens of given texts, or of given contexts of a corpus.

Everything is as in a harvest: tokenisation, BOS, which tokens count, and the encoders. A text is read like a document of its own, so
texts that a judge writes are read in the same way as the corpus.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.corpus.context_writer import CONTEXT, TOKEN
from sae.corpus.corpus import Corpus
from sae.corpus.sources import clean
from sae.dictionary import Dictionary
from sae.errors import SubjectError, one_line
from sae.harvest.harvest import UnitReader, batches, check_finite, run_contexts
from sae.harvest.units import UnitKey
from sae.subject.capacity import n_positions
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

LONGEST = 512
"""Tokens of a text that are read, BOS not counted; fewer if the subject has fewer positions."""
BATCH_TOKENS = 4096
TEXTS_AT_ONCE = 128


@dataclass(frozen=True)
class ContextActivations:
    """A context of T tokens: their `ids` (T,), a mask of those that count (T,), and `activations`, float32 (units, T), 0 at tokens
    that do not count."""

    ids: npt.NDArray[np.uint32]
    counted: npt.NDArray[np.bool_]
    activations: npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextActivations:
    """A text of T tokens, one string each, with `activations` as in `ContextActivations`. The `n_cut` tokens at its end that exceed
    the limit were not read."""

    tokens: tuple[str, ...]
    activations: npt.NDArray[np.float32]
    n_cut: int


def read_texts(
    subject: Subject,
    dictionary: Dictionary,
    units: Sequence[UnitKey],
    texts: Sequence[str],
    *,
    skip_positions: int = 1,
    norm_limit: float = math.inf,
) -> list[TextActivations]:
    """Activations of `units` at each token of each text, in the order of the texts; an empty text has no tokens.

    `skip_positions` and `norm_limit` are the harvest's: at a token that it would not count, activations are 0. Raises
    `SubjectError` if the tokenizer cannot encode a text or values are not finite.
    """
    reader = UnitReader(subject, dictionary, units)
    return _read_texts(reader, texts, skip_positions, norm_limit)


def read_texts_by_unit(
    reader: UnitReader,
    unit_texts: Sequence[tuple[int, str]],
    *,
    skip_positions: int = 1,
    norm_limit: float = math.inf,
) -> list[TextActivations]:
    """Activations (1, T) of one unit in each text. `unit_texts` are pairs of a number among the reader's units and a text.

    Otherwise as `read_texts`. One reader serves the texts of many units; the activations of all units are in memory for
    `TEXTS_AT_ONCE` texts only.
    """
    results = []
    for first in range(0, len(unit_texts), TEXTS_AT_ONCE):
        part = unit_texts[first : first + TEXTS_AT_ONCE]
        read = _read_texts(reader, [text for _, text in part], skip_positions, norm_limit)
        results += [
            replace(text, activations=text.activations[number : number + 1].copy())
            for (number, _), text in zip(part, read, strict=True)
        ]
    return results


def largest_activations(
    reader: UnitReader, texts: Sequence[str], *, skip_positions: int = 1, norm_limit: float = math.inf
) -> npt.NDArray[np.float32]:
    """The largest activation of each of the reader's units in each text (units, texts), 0 for a text without counted tokens.

    Otherwise as `read_texts`; the activations of `TEXTS_AT_ONCE` texts are in memory at a time.
    """
    peaks = np.zeros((len(reader.units), len(texts)), dtype=np.float32)
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        read = _read_texts(reader, texts[first : first + TEXTS_AT_ONCE], skip_positions, norm_limit)
        for place, text in enumerate(read, first):
            peaks[:, place] = text.activations.max(axis=1, initial=0.0)
    return peaks


def _read_texts(
    reader: UnitReader, texts: Sequence[str], skip_positions: int, norm_limit: float
) -> list[TextActivations]:
    subject = reader.subject
    ids, longest = encode_texts(subject, texts), most_tokens(subject)
    kept = [row[:longest] for row in ids]
    contexts = read_contexts(
        reader, as_corpus(subject, kept), range(len(kept)), skip_positions=skip_positions, norm_limit=norm_limit
    )
    return [
        TextActivations(tuple(token_texts(subject.tokenizer, row)), context.activations, len(whole) - len(row))
        for whole, row, context in zip(ids, kept, contexts, strict=True)
    ]


def read_contexts(
    reader: UnitReader,
    corpus: Corpus,
    rows: Sequence[int],
    *,
    skip_positions: int = 1,
    norm_limit: float = math.inf,
) -> list[ContextActivations]:
    """Activations of the reader's units in the corpus's contexts `rows`, in that order. Raises `SubjectError` if values are not
    finite."""
    requested = np.asarray(rows, dtype=np.int64)
    distinct = np.unique(requested)
    empty = distinct[corpus.contexts["length"][distinct] == 0]
    results: dict[int, ContextActivations] = {int(row): _no_tokens(reader) for row in empty}
    for batch in batches(corpus, distinct[corpus.contexts["length"][distinct] > 0], BATCH_TOKENS):
        activations, counted = _read_batch(reader, corpus, batch, skip_positions, norm_limit)
        cuts = np.cumsum(corpus.contexts["length"][batch].astype(np.int64))[:-1]
        parts = zip(batch, np.split(activations, cuts, axis=1), np.split(counted, cuts), strict=True)
        for row, row_activations, row_counted in parts:
            offset = int(corpus.contexts["offset"][row])
            ids = np.asarray(corpus.tokens[offset : offset + len(row_counted)])
            results[int(row)] = ContextActivations(ids, row_counted, row_activations)
    return [results[int(row)] for row in requested]


def most_tokens(subject: Subject) -> int:
    """Largest number of a text's tokens that the subject is given, BOS not counted."""
    return min(LONGEST, (n_positions(subject) or LONGEST + 1) - int(subject.bos_id is not None))


def encode_texts(subject: Subject, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without BOS, as a corpus holds them. Raises `SubjectError` if the tokenizer fails."""
    if not texts:
        return []
    try:
        encoded = subject.tokenizer([clean(text) for text in texts], add_special_tokens=False, verbose=False)
    except Exception as error:
        raise SubjectError(f"the subject's tokenizer cannot encode the texts: {one_line(error)}") from error
    return [[int(i) for i in row] for row in encoded["input_ids"]]


def _read_batch(
    reader: UnitReader, corpus: Corpus, rows: npt.NDArray[np.int64], skip_positions: int, norm_limit: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Activations (units, N) at the contexts' N tokens, and a mask (N,) of those that count."""
    values, counted = read_values(reader, corpus, rows, skip_positions, norm_limit)
    return activations_of(reader, values, counted).cpu().numpy(), counted.cpu().numpy()


@torch.inference_mode()
def read_values(
    reader: UnitReader, corpus: Corpus, rows: npt.NDArray[np.int64], skip_positions: int, norm_limit: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Values (N, width) at the reader's hook points and the contexts' N tokens, and a mask (N,) of the tokens that count."""
    values, text = run_contexts(reader.subject, corpus, rows, sorted(reader.hook_points))
    norms = values[reader.hook_point].norm(dim=1)
    check_finite(norms[text], reader.hook_point)
    column = torch.cat([torch.arange(int(n), device=norms.device) for n in corpus.contexts["length"][rows]])
    counted = text & (norms <= norm_limit) & (column >= skip_positions)
    return values, counted


@torch.inference_mode()
def activations_of(reader: UnitReader, values: Mapping[str, Tensor], counted: Tensor) -> Tensor:
    """Activations (units, N) of the reader's units from the values at N tokens, 0 at tokens that do not count."""
    activations = torch.zeros(len(reader.units), len(counted), device=counted.device)
    for make in reader.blocks(values, counted):
        block = make()
        active = block.events_above(torch.zeros(len(block.units), device=counted.device))
        activations[block.units[active.unit], active.column] = active.value
    return activations


def _no_tokens(reader: UnitReader) -> ContextActivations:
    empty = np.zeros((len(reader.units), 0), dtype=np.float32)
    return ContextActivations(np.zeros(0, dtype=TOKEN), np.zeros(0, dtype=np.bool_), empty)


def as_corpus(subject: Subject, texts: Sequence[Sequence[int]]) -> Corpus:
    """The token ids of texts as a corpus in memory, one context per text, in their order."""
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
        special_ids=subject.special_ids,
    )
