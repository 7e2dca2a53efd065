"""The keys of a run's spec that differ from those of the run of the same name before it."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from autointerp.errors import UsageError
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.redaction import hide
from autointerp.run import Run
from autointerp.spec.spec import Spec, from_toml

MOST_SHOWN = 6
"""Changes that are shown with their values; of the others only the keys are named."""
_LONGEST = 60
"""Characters of a value."""


def since_last(ledger: Ledger, run: Run) -> str | None:
    """The changes since the last run of the same name that was begun before this one, in a line; None if there is no such run."""
    with ledger.read() as tx:
        rows = runs.all_runs(tx)
    begun = next((row["created_at"] for row in rows if row["run_id"] == run.run_id), math.inf)
    before = (row for row in rows if row["name"] == run.spec.name and row["created_at"] < begun)
    last = next(before, None)
    if last is None:
        return None
    try:
        changed = list(changes(from_toml(last["spec"]), run.spec))
    except UsageError:  # a spec of another version of the program
        return None
    said = ", ".join([*changed[:MOST_SHOWN], *(change.partition(" ")[0] for change in changed[MOST_SHOWN:])])
    return (
        f"differs from {last['run_id']}, the last run of this name, in {said or 'the content of a file that it names'}"
    )


def changes(before: Spec, now: Spec) -> Iterator[str]:
    """Each key whose value differs, with both values: `score.per_bin (5, now 10)`."""
    left, right = (dict(_values(tomllib.loads(spec.absolute().to_toml()))) for spec in (before, now))
    for key in dict.fromkeys((*right, *left)):
        if left.get(key) != right.get(key):
            yield f"{key} ({_shown(left.get(key))}, now {_shown(right.get(key))})"


def _values(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _values(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _shown(value: Any) -> str:
    text = "not set" if value is None else hide(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
