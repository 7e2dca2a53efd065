"""Reconciles messages with the ledger: frees the leases of dead workers, plans the next stages, and sends hints for due work.

It may run at any time, twice at once, or not for hours: that only changes how soon work continues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from autointerp.formatting import plural
from autointerp.ledger import batches, events, jobs, runs, workers
from autointerp.pipeline import stages
from workers import broker
from workers.context import Context

DEAD_S = 20.0
"""A worker whose heartbeat count has not changed for this long, by the observer's own clock, is dead."""
MIN_INTERVAL_S = 0.5
"""Shortest time between two passes of one process."""
MAX_HINTS = 512
"""Largest number of hints in a queue; more would add nothing."""
QUEUE_OF = {
    "prepare": "activations",
    "harvest": "activations",
    "merge": "activations",
    "explain": "judge",
    "score": "judge",
    "probe": "activations",
    "regrade": "judge",
    "plan": "aggregate",
    "finish": "aggregate",
    "studies": "activations",
}
Publish = Callable[[str, str], object]
"""Sends a hint: the name of a task, which is also its queue except for `tend`, and the id of a run or batch."""

log = structlog.get_logger()
_busy = threading.Lock()
_seen: dict[str, tuple[int, float]] = {}
"""For each worker its heartbeat count, and when it last changed on this process's monotonic clock."""
_last = float("-inf")


def once(context: Context, publish: Publish) -> None:
    """Make one pass. Does nothing if another pass of this process is running or has just ended, since messages may pile up."""
    global _last
    if time.monotonic() - _last < MIN_INTERVAL_S or not _busy.acquire(blocking=False):
        return
    try:
        _mark_dead_workers(context)
        with context.ledger.read() as tx:
            live = [row["run_id"] for row in runs.live_with_workers(tx)]
        for run_id in live:
            _give_up_and_advance(context, run_id)
        with context.ledger.read() as tx:
            due = [row["batch_key"] for row in batches.due(tx)]
        for batch_key in due:
            publish("tend", batch_key)
        hint(context, live, publish)
        _last = time.monotonic()
    finally:
        _busy.release()


def _mark_dead_workers(context: Context) -> None:
    now = time.monotonic()
    if now - _last > DEAD_S / 2:  # this observer has missed heartbeats, perhaps because the ledger was away: start over
        _seen.clear()
    with context.ledger.read() as tx:
        beats = {row["worker_id"]: row["beat"] for row in workers.live(tx)}
    for worker_id in set(_seen) - set(beats):
        del _seen[worker_id]
    for worker_id, beat in beats.items():
        if _seen.get(worker_id, (None, 0.0))[0] != beat:
            _seen[worker_id] = (beat, now)
        elif now - _seen[worker_id][1] > DEAD_S:
            with context.ledger.write() as tx:
                freed, lost = workers.mark_dead(tx, worker_id)
                text = (
                    f"worker {worker_id} is gone: {plural(freed, 'job')} freed, {plural(lost, 'call')} in flight lost"
                )
                events.add(tx, "", text, level="warning", worker=context.worker_id)
            context.release_limiter_slots(worker_id)
            log.warning("worker is gone", worker=worker_id, freed=freed, lost=lost)


def _give_up_and_advance(context: Context, run_id: str) -> None:
    """Give up jobs that were attempted too often, which fails the run unless they are questions, and plan the next stages."""
    with context.ledger.write() as tx:
        for job, error in jobs.exhausted(tx, run_id):
            reason = stages.fail_permanently(tx, run_id, job, error)
            if job.stage not in jobs.QUESTIONS:
                runs.set_state(tx, run_id, "failed", reason)
        stages.advance(tx, run_id)


def hint_next(context: Context, run_id: str, publish: Publish) -> None:
    """Send hints for a run's next stage at once, instead of at the next pass."""
    with context.ledger.read() as tx:
        row = runs.get(tx, run_id)
    if row is not None and row["state"] in runs.LIVE:
        hint(context, [run_id], publish)


def hint(context: Context, live: Sequence[str], publish: Publish) -> None:
    """Send a hint for each due job, up to the free space of its queue, which the runs share equally.

    A stage that is asked in provider batches gets one hint: one worker takes all jobs that may be submitted.
    """
    if not live:
        return
    with broker.connect(context.settings) as redis:
        room = {queue: MAX_HINTS - int(redis.llen(queue)) for queue in set(QUEUE_OF.values())}
    with context.ledger.read() as tx:
        n_due = {
            (queue, run_id): sum(
                jobs.count_due(tx, run_id, stage, 1 if batches.exist(tx, run_id, stage) else MAX_HINTS)
                for stage, its_queue in QUEUE_OF.items()
                if its_queue == queue
            )
            for run_id in live
            for queue in room
        }
    for queue, free in room.items():
        with_work = [run_id for run_id in live if n_due[queue, run_id]]
        for run_id in with_work:
            for _ in range(min(n_due[queue, run_id], max(0, free) // len(with_work))):
                publish(queue, run_id)
