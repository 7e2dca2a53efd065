"""Nightly scoring by the service: a check every minute starts the night at its hour and closes it when its runs have ended.

The date is the night's key in the ledger, so checks that are missed, repeated or made by several workers still give one night.
"""

from __future__ import annotations

import threading
from datetime import datetime

import structlog

from autointerp.errors import EXPECTED
from autointerp.ledger import nights
from autointerp.locks import AlreadyLocked
from autointerp.nightly import config as config_
from autointerp.nightly import night, night_summary
from autointerp.nightly.runners import FleetRunner
from autointerp.pipeline.submit import submit
from autointerp.spec.spec import Spec
from sae.errors import one_line
from workers.context import Context

log = structlog.get_logger()
_busy = threading.Lock()
_planned: set[str] = set()
"""Nights that this process has planned completely. After a restart they are planned again, which adds nothing."""


def tick(context: Context) -> None:
    """Start tonight's runs if it is time, and close every unfinished night whose runs have ended."""
    path = context.settings.nightly
    if path is None or not _busy.acquire(blocking=False):
        return
    try:
        config = config_.load(path)
        _start_runs(context, config, night.today())
        with context.ledger.read() as tx:
            unfinished = nights.unfinished(tx)
        for date in unfinished:
            summary = night_summary.finish_night(context.ledger, config, date, context.settings.results)
            for line in night_summary.describe(summary) if summary else ():
                log.info("night", date=date, summary=line)
    except Exception as error:
        expected = isinstance(error, EXPECTED)
        log.error("night failed", error=one_line(error), exc_info=None if expected else error)
    finally:
        _busy.release()


def _start_runs(context: Context, config: config_.Nightly, date: str) -> None:
    """Start tonight's runs, once its start time has come."""
    with context.ledger.read() as tx:
        row = nights.get(tx, date)
    done = row is not None and row["state"] == nights.DONE
    if done or date in _planned or f"{datetime.now():%H:%M}" < config.night.start:
        return

    def submit_run(spec: Spec, night_: str) -> str:
        return submit(context.ledger, spec, context.settings.results, night=night_).run_id

    runner = FleetRunner(context.ledger, submit_run)
    try:
        night.run_night(
            context.ledger,
            config,
            date,
            context.settings.results,
            runner,
            note=lambda line: log.info("night", date=date, progress=line),
        )
    except AlreadyLocked:
        return
    _planned.add(date)
