"""Distinguishes new weights from known ones. A dictionary is identified by its fingerprint, not by its name or path."""

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
from autointerp.ledger.nights import COPY, CORRUPT, QUEUED, SCORED, WAITING, DictionaryVersion
from autointerp.nightly.config import Nightly
from autointerp.nightly.dictionary_files import weight_files
from autointerp.nightly.lineage import version_of
from autointerp.nightly.sources import Candidate, state_of
from sae.errors import DictionaryError, one_line

Floats = NDArray[np.float32]

SETTLED_S = 60.0
"""Files younger than this may still be being written."""
BUCKETS = 2039
"""Length of a sketch. It is a prime, so that the entries of a row or a column of a decoder spread over all buckets. The relative
standard error of a distance between two decoders is then 1 / sqrt(2 x 2039) = 1.6 percent."""


def register(
    ledger: Ledger, config: Nightly, candidates: Sequence[Candidate], *, settle: bool = True
) -> tuple[dict[str, DictionaryVersion], list[str]]:
    """Record every new version, and return the rows of all candidates by key, and the paths of unsettled candidates.

    Only new versions are loaded. With `settle`, files that changed within the last minute count as unsettled; files that change
    while they are read always do.
    """
    with ledger.read() as tx:
        known = nights.all_versions(tx)
    present = {candidate.key for candidate in candidates}
    rows: dict[str, DictionaryVersion] = {}
    unsettled: list[str] = []
    for candidate in sorted(candidates, key=lambda c: (c.modified_at, version_of(c.path), c.path)):
        version = known.get(candidate.key)
        if version is None and settle and _is_fresh(candidate):
            unsettled.append(candidate.path)
            continue
        # A corrupt version on the hub is tried again: the download may have failed, and its commit never changes.
        if version is None or (version.state == CORRUPT and not candidate.is_local):
            read = _read(config, candidate, known)
            if not _is_unchanged(candidate):
                unsettled.append(candidate.path)
                continue
            if version is None or read.reason != version.reason:
                version = _write(ledger, read, present)
        rows[candidate.key] = known[candidate.key] = version
    return rows, unsettled


def previous(version: DictionaryVersion, others: Sequence[DictionaryVersion]) -> DictionaryVersion | None:
    """The latest earlier version of the same dictionary that has a report, or None."""
    before = [v for v in others if v.state == SCORED and v.lineage == version.lineage and _age(v) < _age(version)]
    return max(before, key=_age, default=None)


def sketch(decoder: NDArray[np.generic]) -> str:
    """A count sketch of a decoder of any shape, base64: `BUCKETS` signed sums that preserve distances between decoders.

    Entry i is added with a fixed random sign to bucket i modulo `BUCKETS` (Charikar, Chen and Farach-Colton 2002, "Finding
    frequent items in data streams").
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


def _read(config: Nightly, candidate: Candidate, known: Mapping[str, DictionaryVersion]) -> DictionaryVersion:
    """Load a candidate, and return its row."""
    from sae.formats.load import load_dictionary  # torch

    settings = config.spec_for(candidate).dictionary
    new = DictionaryVersion(
        candidate.key, "", candidate.lineage, candidate.path, CORRUPT, modified_at=candidate.modified_at, first_seen=time.time()
    )  # fmt: skip
    try:
        loaded = load_dictionary(
            settings.path,
            format=settings.format,
            hook_point=settings.hook_point,
            revision=settings.revision,
            k=settings.k,
        )
    except DictionaryError as error:
        return replace(new, reason=one_line(error, most=1000))
    sketch_ = sketch(loaded.W_dec.detach().float().cpu().numpy())
    shape = f"{loaded.d_sae}x{loaded.d_in}:"
    new = replace(new, fingerprint=loaded.fingerprint, state=WAITING, sketch=shape + sketch_)
    versions = [v for v in known.values() if v.lineage == new.lineage and v.state in (WAITING, QUEUED, SCORED)]
    before = max((v for v in versions if _age(v) < _age(new)), key=_age, default=None)
    return new if before is None else replace(new, change=_change(before.sketch, new.sketch))


def _change(before: str, now: str) -> float | None:
    """The relative change between two sketches, or None if the decoders' shapes differ, as for a first version."""
    (shape, _, old), (other, _, new) = before.partition(":"), now.partition(":")
    return change_between(old, new) if shape == other else None


def _write(ledger: Ledger, version: DictionaryVersion, present: set[str]) -> DictionaryVersion:
    """Store a version: as new, as a copy, or as the new path of a waiting one whose files were moved."""
    with ledger.write() as tx:
        nights.delete_corrupt(tx, version.dictionary_key)
        original = nights.original_of(tx, version.fingerprint) if version.fingerprint else None
        if original and original.state == WAITING and original.dictionary_key not in present:
            return nights.relocate(tx, original, version)
        if original:
            version = replace(version, state=COPY, reason=original.path)
        return nights.add(tx, version)


def _is_fresh(candidate: Candidate) -> bool:
    # The absolute value, because the clock of another machine may be ahead: a time in the future must neither hide a file that
    # is being written nor exclude an old one forever.
    return candidate.is_local and abs(time.time() - candidate.modified_at) < SETTLED_S


def _is_unchanged(candidate: Candidate) -> bool:
    return not candidate.is_local or state_of(weight_files(Path(candidate.path)))[0] == candidate.mark


def _age(version: DictionaryVersion) -> tuple[tuple[int, ...], float]:
    return version_of(version.path), version.modified_at
