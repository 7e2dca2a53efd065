"""Stops a run whose first replies are all unusable, before its budget is spent on more of them.

Replies and questions in flight are counted in the ledger, by stage and by scorer, so that all workers of a run count together. Until one
reply is usable, at most `MOST_ASKED` are asked, and provider batches hold at most `FIRST_REPLIES`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from sqlalchemy import Connection

from autointerp.errors import ProviderStopped
from autointerp.judges.error_codes import redact
from autointerp.judges.limits.limiter import Aborted
from autointerp.ledger import calls, events, jobs, judgements, runs
from autointerp.ledger.budgets import NotRunning
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.records import Outcome

FIRST_REPLIES = 24
"""After this many replies without a usable one the run stops: by chance alone, even a judge that fails at every second question has a
usable one among them but once in 16 million runs."""
MOST_ASKED = 2 * FIRST_REPLIES
"""Until a reply is usable, no more questions than this are asked: more than the stop takes, so that a few without an end do not delay it."""
_LOOK_S = 0.5
"""How often a process that waits for the first replies, which may be another worker's, tries to ask one question more."""
Kind = tuple[str, str | None]
"""A stage and one of its scorers; with None the stage as a whole."""
_REMEDIES = {
    Outcome.PARSE_FAILURE: "they are not the JSON object that was asked for: check the server, or change judge.model",
    Outcome.OUT_OF_RANGE: "they are not on the scale that was asked for: change judge.model",
    Outcome.TRUNCATED: "raise judge.max_output_tokens, or set judge.thinking = false",
    Outcome.REFUSAL: "the judge refuses: change judge.model",
    Outcome.CONTENT_REJECTED: "the provider rejects the prompts: change judge.model",
    Outcome.TOO_LONG: "the prompts exceed the judge's context or limits: raise them at the server, or change judge.model",
    calls.LOST: "check the server, or raise judge.timeout_s",
}


class Full(Exception):
    """No further question of a kind may be asked before one of those asked is answered. Roll the transaction back."""


class FirstRepliesUnusable(ProviderStopped):
    """The run was stopped at its first replies, in the ledger too: it may have been resumed by the time that a thread raises this."""


class Breaker:
    """Watches the first replies of one judge in one run, from many threads."""

    def __init__(self, ledger: Ledger, run_id: str, judge: str, worker: str = "") -> None:
        self._ledger, self._run_id, self._judge, self._worker = ledger, run_id, judge, worker
        self._changed = threading.Condition()
        self._usable: set[Kind] = set()
        """Kinds of questions of which a usable reply is known. `_changed` guards the changes of all of these."""
        self._next_try: dict[Kind, float] = {}
        """Kinds that are full, with the monotonic time at which one thread of this process tries again."""
        self._reason = ""

    def wait(self, job: Job, is_aborted: Callable[[], bool]) -> None:
        """Wait until another question like the job's may be tried. Raises `Aborted`, and `FirstRepliesUnusable` after a stop."""
        with self._changed:
            while not self._may_try(job):
                if self._reason:
                    raise FirstRepliesUnusable(self._reason)
                if is_aborted():
                    raise Aborted
                self._changed.wait(_LOOK_S)

    def _may_try(self, job: Job) -> bool:
        now = time.monotonic()
        full = [kind for kind in self._unproven(job) if kind in self._next_try]
        if any(now < self._next_try[kind] for kind in full):
            return False
        self._next_try |= dict.fromkeys(full, now + _LOOK_S)
        return True

    def admit(self, tx: Connection, job: Job) -> None:
        """Count a call among the first ones, in the transaction that begins it and holds the run's row. Raises `Full`."""
        for kind in self._unproven(job):
            replies = calls.replies_by_state(tx, self._run_id, *kind)
            with self._changed:
                if calls.SCORED in replies:
                    self._usable.add(kind)
                elif replies.total() > MOST_ASKED:
                    self._next_try[kind] = time.monotonic() + _LOOK_S
                    raise Full
                if self._next_try.pop(kind, None):
                    self._changed.notify_all()

    def hold(self, tx: Connection, job: Job) -> None:
        """Hold the run's row in a transaction that stores a failure or an unusable reply, which a stop would withdraw.

        Raises `FirstRepliesUnusable` or `NotRunning` after a stop, so that no failure of the same cause is stored behind the withdrawal.
        """
        if self._unproven(job):
            row = runs.lock_row(tx, self._run_id)
            if row is not None and row["state"] not in runs.LIVE:
                raise self.stopped(str(row["state"]))

    def stopped(self, state: str) -> FirstRepliesUnusable | NotRunning:
        """The error of a question that a run in another state than `running` does not ask."""
        return FirstRepliesUnusable(self._reason) if self._reason else NotRunning(state)

    def note_usable(self, job: Job) -> None:
        """A usable reply: the judge can answer questions of this kind."""
        with self._changed:
            self._usable |= set(_kinds(job))
            self._changed.notify_all()

    def note_unusable(self, job: Job) -> None:
        """A reply that could not be used, and is stored. Raises `FirstRepliesUnusable` if no reply of its kind could be used so far.

        The unusable answers are then withdrawn, and so is each failure of the provider in the run, which may have the same cause, so
        that the same command asks again once it is mended. Raises `NotRunning` if another worker has stopped the run.
        """
        for kind in self._unproven(job):
            with self._ledger.read() as tx:
                replies, live = self._look(tx, kind)
            if calls.SCORED in replies:
                with self._changed:
                    self._usable.add(kind)
                    self._changed.notify_all()
            elif replies.total() >= FIRST_REPLIES or not live:
                self._stop(kind)

    def room(self, kind: Kind) -> int | None:
        """How many questions of a kind may be submitted in batches beside those that are submitted already; None if any number may be.

        Raises `FirstRepliesUnusable` if none of the first replies can be used, and `NotRunning` if another worker has stopped the run.
        """
        if kind in self._usable:
            return None
        with self._ledger.read() as tx:
            replies, _ = self._look(tx, kind)
            n_held = jobs.count_held(tx, self._run_id, *kind)
        if calls.SCORED in replies:
            with self._changed:
                self._usable.add(kind)
            return None
        if replies.total() >= FIRST_REPLIES:
            self._stop(kind)
        return max(0, FIRST_REPLIES - replies.total() - n_held)

    def _look(self, tx: Connection, kind: Kind) -> tuple[Counter[str], bool]:
        """The ended replies of a kind by state, and whether the run is live."""
        replies = calls.replies_by_state(tx, self._run_id, *kind)
        del replies[calls.OPEN]
        row = runs.get(tx, self._run_id)
        return replies, row is None or row["state"] in runs.LIVE

    def _unproven(self, job: Job) -> list[Kind]:
        """The kinds of a job of which no usable reply is known."""
        return [kind for kind in _kinds(job) if kind not in self._usable]

    def _stop(self, kind: Kind) -> None:
        """Stop the run for all workers, in the transaction that withdraws; after another worker's stop, withdraw what came behind it."""
        with self._ledger.write() as tx:
            # As `hold` does: each failure is stored before the withdrawal, or not at all.
            runs.lock_row(tx, self._run_id)
            replies, live = self._look(tx, kind)
            if calls.SCORED in replies or (live and replies.total() < FIRST_REPLIES):
                return  # one was usable meanwhile, or another worker's stop withdrew these and the run was resumed
            line = self._line(kind, replies, *calls.last_unusable(tx, self._run_id, *kind)) if live else ""
            withdrawn = calls.withdraw_unusable(tx, self._run_id, *kind)
            alike = judgements.resting_on(tx, self._run_id, [call_key for _, call_key in withdrawn])
            if line:
                self._reason = line  # before the commit, from which on other threads see that the run has stopped
                runs.stop(tx, self._run_id, line, FirstRepliesUnusable.exit_code)
                events.add(tx, self._run_id, f"stopped: {line}", level="error", worker=self._worker)
            asked = {job_key for job_key, _ in withdrawn} | set(alike) | set(judgements.failed(tx, self._run_id))
            judgements.withdraw(tx, self._run_id, sorted(asked))
        with self._changed:
            self._changed.notify_all()
        raise self.stopped("stopped")

    def _line(self, kind: Kind, replies: Counter[str], reason: str, text: str) -> str:
        (stage, scorer), (most, count) = kind, replies.most_common(1)[0]
        came = f"{redact(reason)[:160]}; the last one was {redact(text)[:80]!r}" if text else redact(reason)[:160]
        return (
            f"{self._judge}: none of the first {replies.total()} replies to {scorer or stage} questions can be used ({count}"
            f" {most.replace('_', ' ')}: {came}): {_REMEDIES.get(most, 'change judge.model')}{_without(scorer)}"
        )


def _without(scorer: str | None) -> str:
    """How to leave out the questions of an evaluation, so that grades alone are asked for; nothing for explanations and grades."""
    if not scorer:
        return ""
    return ", or set controls.neighbours = 0" if scorer == "distinction" else f", or take {scorer} out of score.also"


def _kinds(job: Job) -> tuple[Kind, Kind]:
    return (job.stage, None), (job.stage, job.scorer)
