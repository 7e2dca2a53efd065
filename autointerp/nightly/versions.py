"""Tells new weights from known ones: a dictionary is its fingerprint, whatever its name and wherever it lies."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autointerp.ledger import nights
from autointerp.ledger.database import Ledger
from autointerp.ledger.nights import COPY, CORRUPT, QUEUED, SCORED, WAITING, Version
from autointerp.nightly.config import Nightly
from autointerp.nightly.lineage import version_of
from autointerp.nightly.sources import Candidate, state_of, weight_files
from sae.errors import DictionaryError, one_line

Floats = NDArray[np.float32]

SETTLED_S = 60.0
"""Files younger than this may still be being written."""
BUCKETS = 2039
"""Numbers in a sketch. A prime, so that neither a row nor a column of a decoder falls into few of them; the distance of two
decoders is then right to 1 / sqrt(2 x 2039) = 1.6 percent."""


def register(
    ledger: Ledger, config: Nightly, candidates: Sequence[Candidate], *, settle: bool = True
) -> tuple[dict[str, Version], list[str]]:
    """Write down every state of a place that is new, and return all candidates' rows, and the paths of unsettled ones.

    Only what is new is loaded. With `settle`, files that changed within a minute are left to the next night; files that change
    while they are read always are.
    """
    with ledger.read() as tx:
        known = nights.known(tx)
    here = {candidate.key for candidate in candidates}
    rows: dict[str, Version] = {}
    unsettled: list[str] = []
    for candidate in sorted(candidates, key=lambda c: (c.modified_at, version_of(c.path), c.path)):
        version = known.get(candidate.key)
        if version is None and settle and _is_fresh(candidate):
            unsettled.append(candidate.path)
            continue
        # What the hub has may not have come: the network fails, and a file of a commit never changes.
        if version is None or (version.state == CORRUPT and not candidate.is_local):
            read = _read(config, candidate, known)
            if not _is_unchanged(candidate):
                unsettled.append(candidate.path)
                continue
            if version is None or read.reason != version.reason:
                version = _write(ledger, read, here)
        rows[candidate.key] = known[candidate.key] = version
    return rows, unsettled


def previous(version: Version, others: Sequence[Version]) -> Version | None:
    """The latest version of the same dictionary before this one that has a report."""
    before = [v for v in others if v.state == SCORED and v.lineage == version.lineage and _age(v) < _age(version)]
    return max(before, key=_age, default=None)


def sketch(decoder: NDArray[np.generic]) -> str:
    """The decoder (any shape) as `BUCKETS` signed sums, base64; distances between sketches are those between decoders.

    Entry i is added with a random sign, always the same one, to the sum i modulo `BUCKETS` (a count sketch: Charikar, Chen,
    Farach-Colton 2002).
    """
    flat = np.asarray(decoder, dtype=np.float32).ravel()
    signs = np.random.Philox(key=2039)
    sums = np.zeros(BUCKETS)
    for start in range(0, len(flat), step := BUCKETS * 512):
        block = np.zeros(step, dtype=np.float32)
        part = flat[start : start + step]
        bits = np.unpackbits(signs.random_raw(step // 64 + 1).view(np.uint8))[:step]
        block[: len(part)] = np.where(bits[: len(part)], part, -part)
        sums += block.reshape(-1, BUCKETS).sum(axis=0, dtype=np.float64)
    return base64.b64encode(sums.astype("<f4").tobytes()).decode()


def change_between(before: str, now: str) -> float:
    """||now - before|| / ||before|| (Frobenius) of two decoders, from their sketches."""
    a, b = (np.frombuffer(base64.b64decode(text), dtype="<f4").astype(float) for text in (before, now))
    norm = float(np.linalg.norm(a))
    return float(np.linalg.norm(b - a)) / norm if norm else math.inf


def _read(config: Nightly, candidate: Candidate, known: Mapping[str, Version]) -> Version:
    """The row of a candidate, from its weights."""
    from sae.formats.load import load_dictionary  # torch

    given = config.spec_for(candidate).dictionary
    new = Version(
        candidate.key, "", candidate.lineage, candidate.path, CORRUPT, modified_at=candidate.modified_at, first_seen=time.time()
    )  # fmt: skip
    try:
        loaded = load_dictionary(
            given.path, format=given.format, hook_point=given.hook_point, revision=given.revision, k=given.k
        )
    except DictionaryError as error:
        return replace(new, reason=one_line(error, most=1000))
    drawn = sketch(loaded.W_dec.detach().float().cpu().numpy())
    shape = f"{loaded.d_sae}x{loaded.d_in}:"
    new = replace(new, fingerprint=loaded.fingerprint, state=WAITING, sketch=shape + drawn)
    versions = [v for v in known.values() if v.lineage == new.lineage and v.state in (WAITING, QUEUED, SCORED)]
    before = max((v for v in versions if _age(v) < _age(new)), key=_age, default=None)
    return new if before is None else replace(new, change=_change(before.sketch, new.sketch))


def _change(before: str, now: str) -> float | None:
    """None where the shapes differ: there is then nothing to compare, as with a first version."""
    (shape, _, old), (other, _, new) = before.partition(":"), now.partition(":")
    return change_between(old, new) if shape == other else None


def _write(ledger: Ledger, version: Version, here: set[str]) -> Version:
    with ledger.write() as tx:
        nights.forget_corrupt(tx, version.dictionary_key)
        original = nights.original_of(tx, version.fingerprint) if version.fingerprint else None
        if original and original.state == WAITING and original.dictionary_key not in here:
            return nights.move(tx, original, version)
        if original:
            version = replace(version, state=COPY, reason=original.path)
        return nights.add(tx, version)


def _is_fresh(candidate: Candidate) -> bool:
    # Both ways: a clock that is ahead on another machine must not hide a file that is being written, nor an old one for ever.
    return candidate.is_local and abs(time.time() - candidate.modified_at) < SETTLED_S


def _is_unchanged(candidate: Candidate) -> bool:
    return not candidate.is_local or state_of(weight_files(Path(candidate.path)))[0] == candidate.mark


def _age(version: Version) -> tuple[tuple[int, ...], float]:
    return version_of(version.path), version.modified_at
