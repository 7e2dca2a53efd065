"""Nightly scoring by the service: a tick every minute begins the night at its hour and ends it when its runs have ended.

The date is the night's key in the ledger, so ticks that are missed, doubled or taken by several workers are one night all the same.
"""

from __future__ import annotations

import threading
from datetime import datetime

import structlog

from autointerp.errors import EXPECTED
from autointerp.ledger import nights
from autointerp.locks import AnotherProcess
from autointerp.nightly import config as config_
from autointerp.nightly import night, night_summary
from autointerp.nightly.runners import Fleet
from autointerp.pipeline.submit import submit
from autointerp.spec.spec import Spec
from sae.errors import one_line
from workers.context import Context

log = structlog.get_logger()
_busy = threading.Lock()
_planned: set[str] = set()
"""Nights that this process has planned to the end; after a restart the plan is gone through again, and adds nothing."""


def tick(context: Context) -> None:
    """Take tonight, and nights that were cut short, as far as they go now."""
    path = context.settings.nightly
    if path is None or not _busy.acquire(blocking=False):
        return
    try:
        config = config_.load(path)
        _begin(context, config, night.today())
        with context.ledger.read() as tx:
            unfinished = nights.unfinished(tx)
        for date in unfinished:
            summary = night_summary.finish_night(context.ledger, config, date, context.settings.results)
            for line in night_summary.describe(summary) if summary else ():
                log.info("night", date=date, said=line)
    except Exception as error:
        expected = isinstance(error, EXPECTED)
        log.error("night failed", error=one_line(error), exc_info=None if expected else error)
    finally:
        _busy.release()


def _begin(context: Context, config: config_.Nightly, date: str) -> None:
    """Begin tonight's runs, once its hour has come."""
    with context.ledger.read() as tx:
        row = nights.get(tx, date)
    done = row is not None and row["state"] == nights.DONE
    if done or date in _planned or f"{datetime.now():%H:%M}" < config.night.start:
        return

    def carry(spec: Spec, night_: str) -> str:
        return submit(context.ledger, spec, context.settings.results, night=night_).run_id

    fleet = Fleet(context.ledger, carry)
    try:
        night.run_night(
            context.ledger,
            config,
            date,
            context.settings.results,
            fleet,
            tell=lambda line: log.info("night", date=date, said=line),
        )
    except AnotherProcess:
        return
    _planned.add(date)
