"""Runs that an earlier version of the program began."""

from __future__ import annotations

from collections.abc import Callable

from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.spec.spec import Spec


def as_begun(spec: Spec, run_id_of: Callable[[Spec], str], ledger: Ledger | None) -> Spec:
    """The spec as its run began with it: as earlier versions understood it, if the ledger has the run that one of them began.

    So that run is resumed without questions that its version did not ask, and the same spec begins a new run anywhere else.
    """
    before = spec.as_before()
    if ledger is None or before.identity() == spec.identity():
        return spec
    with ledger.read() as tx:
        return before if runs.get(tx, run_id_of(before)) is not None else spec
