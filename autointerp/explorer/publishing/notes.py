"""A reader's notes and lists as a file, from which a browser shows and finds their units: `static/published_notes.js` reads it."""

from __future__ import annotations

from typing import Any

from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import packed_json
from autointerp.explorer.publishing.private import Private
from autointerp.ledger.database import Ledger
from autointerp.ledger.own import lists, notes


def write(folder: PublishedFolder, at: str, ledger: Ledger, index: IndexFolder, private: Private) -> None:
    """Write the notes and lists of an index's dictionary below `at`."""
    folder.put(f"{at}notes.json.gz", packed_json(private.of(_of(ledger, index))))


def counts(ledger: Ledger, index: IndexFolder) -> tuple[int, int]:
    """How many notes and lists there are of an index's dictionary."""
    key = index.about.dictionary.key
    with ledger.read() as tx:
        return len(notes.noted(tx, key)), len(lists.all_lists(tx, key))


def _of(ledger: Ledger, index: IndexFolder) -> dict[str, Any]:
    key = index.about.dictionary.key
    with ledger.read() as tx:
        texts = notes.texts(tx, key, sorted(notes.noted(tx, key)))
        known = [(each, lists.units(tx, each.list_id)) for each in lists.all_lists(tx, key)]
    return {
        "notes": texts,
        "lists": [
            {
                "list_id": each.list_id,
                "name": each.name,
                "changed_at": int(each.changed_at),
                "n": each.n,
                "units": units,
            }
            for each, units in known
        ],
    }
