"""Makes messages agree with the ledger: frees what the dead held, plans what comes next, says where there is work.

It may run at any time, twice at once, or not for hours: all that suffers is how soon work goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from autointerp.ledger import batches, events, jobs, runs, workers
from autointerp.pipeline import stages
from workers import broker
from workers.context import Context

DEAD_S = 20.0
"""A worker whose beats did not count up for so long, by the watcher's own clock, is dead."""
SHORTEST_S = 0.5
"""Between two passes of one process."""
MOST_QUEUED = 512
"""Hints in a queue at most: more would tell nothing more."""
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
}
Publish = Callable[[str, str], object]
"""Sends a hint: a task's name, which is its queue's but for `tend`, and a run or batch."""

log = structlog.get_logger()
_busy = threading.Lock()
_seen: dict[str, tuple[int, float]] = {}
"""For each worker its beats, and when on this process's monotonic clock they counted up last."""
_last = float("-inf")


def once(context: Context, publish: Publish) -> None:
    """One pass; none while another is going on in this process, or has just ended: reminders may have piled up."""
    global _last
    if time.monotonic() - _last < SHORTEST_S or not _busy.acquire(blocking=False):
        return
    try:
        _bury_the_dead(context)
        with context.ledger.read() as tx:
            live = [row["run_id"] for row in runs.live(tx, "fleet")]
        for run_id in live:
            _give_up_and_advance(context, run_id)
        with context.ledger.read() as tx:
            tended = [row["batch_key"] for row in batches.due(tx)]
        for batch_key in tended:
            publish("tend", batch_key)
        hint(context, live, publish)
        _last = time.monotonic()
    finally:
        _busy.release()


def _bury_the_dead(context: Context) -> None:
    now = time.monotonic()
    if now - _last > DEAD_S / 2:  # who could not look, as while the ledger was away, has missed beats
        _seen.clear()
    with context.ledger.read() as tx:
        living = {row["worker_id"]: row["beat"] for row in workers.live(tx)}
    for worker_id in set(_seen) - set(living):
        del _seen[worker_id]
    for worker_id, beat in living.items():
        if _seen.get(worker_id, (None, 0.0))[0] != beat:
            _seen[worker_id] = (beat, now)
        elif now - _seen[worker_id][1] > DEAD_S:
            with context.ledger.write() as tx:
                freed, lost = workers.bury(tx, worker_id)
                said = f"worker {worker_id} is gone: {freed} jobs freed, {lost} calls in flight lost"
                events.add(tx, "", said, level="warning", worker=context.worker_id)
            context.forget(worker_id)
            log.warning("worker is gone", worker=worker_id, freed=freed, lost=lost)


def _give_up_and_advance(context: Context, run_id: str) -> None:
    with context.ledger.write() as tx:
        for job, error in jobs.exhausted(tx, run_id):
            said = stages.fail_permanently(tx, run_id, job, error)
            if job.stage not in jobs.QUESTIONS:
                runs.set_state(tx, run_id, "failed", said)
        stages.advance(tx, run_id)


def hint_next(context: Context, run_id: str, publish: Publish) -> None:
    """Say at once where a run goes on after a stage, instead of at the next pass."""
    with context.ledger.read() as tx:
        row = runs.get(tx, run_id)
    if row is not None and row["state"] in runs.LIVE:
        hint(context, [run_id], publish)


def hint(context: Context, live: Sequence[str], publish: Publish) -> None:
    """Hints for due jobs, as many as there are or as the queue has room for, shared by the runs."""
    if not live:
        return
    with broker.connect(context.settings) as redis:
        room = {queue: MOST_QUEUED - int(redis.llen(queue)) for queue in set(QUEUE_OF.values())}
    with context.ledger.read() as tx:
        wanted = {
            (queue, run_id): sum(jobs.due(tx, run_id, s, MOST_QUEUED) for s, q in QUEUE_OF.items() if q == queue)
            for run_id in live
            for queue in room
        }
    for queue, free in room.items():
        asking = [run_id for run_id in live if wanted[queue, run_id]]
        for run_id in asking:
            for _ in range(min(wanted[queue, run_id], max(0, free) // len(asking))):
                publish(queue, run_id)
