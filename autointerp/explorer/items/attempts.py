"""The calls that were made for one item: prompts, replies and costs as the ledger holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.explorer.items.listing import Listing
from autointerp.explorer.items.names import EXPLAIN, STATES
from autointerp.ledger import run_items
from autointerp.messages import unpack_probabilities
from autointerp.redaction import hide, hide_known

MOST = 40
"""The calls of an item that are shown, the last ones if there are more."""
_FACTS = (
    "call_id", "judge", "served_model", "state", "reason", "input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens",
    "reserved_usd", "cost_usd", "request_id", "started_at", "duration_s", "worker", "batch_key", "call_key",
)  # fmt: skip


def calls_of(listing: Listing, of: str, row: Any) -> list[Mapping[str, Any]]:
    """The stored calls of an item, the first one first, those of another run that answered it included; of a call that call alone."""
    return _read(listing, ids_of(listing, of, row))


def calls_of_question(listing: Listing, row: Any) -> list[Mapping[str, Any]]:
    """The stored calls of the question that an item or a call belongs to."""
    return _read(listing, _ids_of_question(listing, row))


def _read(listing: Listing, wanted: list[int]) -> list[Mapping[str, Any]]:
    if not wanted or listing.ledger is None:
        return []
    with listing.ledger.read() as tx:
        return [dict(each) for each in run_items.call_texts(tx, wanted)]


def ids_of(listing: Listing, of: str, row: Any) -> list[int]:
    """The ids of the calls that `calls_of` reads."""
    return [int(row.call_id)] if of == "calls" else _ids_of_question(listing, row)


def _ids_of_question(listing: Listing, row: Any) -> list[int]:
    calls = listing.frames.calls
    mine = listing.rows_with("calls", call_key=row.call_key, job_key=row.asked_in or row.job_key)
    if row.kind == EXPLAIN:
        mine = np.union1d(mine, explaining(listing, "calls", row))
    ids = {int(each) for each in calls["call_id"].iloc[mine]} if len(mine) else set()
    if row.call_id == row.call_id:
        ids.add(int(row.call_id))
    return sorted(ids)[-MOST:]


def explaining(listing: Listing, of: str, row: Any) -> NDArray[np.int64]:
    """The rows of the items or calls by which the unit of an explanation was explained, with the same aid."""
    of_unit = listing.rows_with(of, unit_id=row.unit_id)
    some = listing.frame(of).iloc[of_unit]
    return of_unit[np.flatnonzero((some["kind"] == EXPLAIN) & (some["arm"] == row.arm))]


def answering(calls: Sequence[Mapping[str, Any]], row: Any) -> Mapping[str, Any] | None:
    """The call whose reply became the item's answer, or else the last one; None without calls."""
    mine = [call for call in calls if call["call_id"] == row.call_id]
    return mine[0] if mine else calls[-1] if calls else None


def shown(call: Mapping[str, Any], run_id: str, main: Mapping[str, Any]) -> dict[str, Any]:
    """A call as a page shows it: its prompt only where it differs from that of the `main` call."""
    said, probabilities = unpack_probabilities(call["reply"])
    return {
        **{name: call[name] for name in _FACTS},
        "reason": hide(call["reason"]),
        "meaning": STATES.get(call["state"], call["state"]),
        "reply": hide_known(said),
        "probabilities": probabilities,
        "run_id": None if call["run_id"] == run_id else call["run_id"],
        "system": None if call["system"] == main["system"] else hide_known(call["system"]),
        "user": None if call["user"] == main["user"] else hide_known(call["user"]),
    }
