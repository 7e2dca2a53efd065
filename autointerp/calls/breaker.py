"""Stops a run whose first replies are all unusable, before its budget is spent on more of them.

The replies are counted in the ledger, by stage and by scorer, so that all workers of a run count together. Until one of them is usable,
no more questions of a stage are asked at once than could still be unusable without a stop; a provider batch holds no more of them either.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable

from autointerp.errors import ProviderStopped
from autointerp.judges.error_codes import redact
from autointerp.judges.limits.limiter import Aborted
from autointerp.ledger import calls, jobs, judgements
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.records import Outcome

FIRST_REPLIES = 24
"""After this many replies without a usable one the run stops: by chance alone, even a judge that fails at every second question has a
usable one among them but once in 16 million runs."""
_LOOK_S = 0.5
"""How often a question that waits for the first replies looks whether the run was stopped."""
_REMEDIES = {
    Outcome.PARSE_FAILURE: "they are not the JSON object that was asked for: check the server, or change judge.model",
    Outcome.OUT_OF_RANGE: "they are not on the scale that was asked for: change judge.model",
    Outcome.TRUNCATED: "raise judge.max_output_tokens, or set judge.thinking = false",
    Outcome.REFUSAL: "the judge refuses: change judge.model",
    Outcome.CONTENT_REJECTED: "the provider rejects the prompts: change judge.model",
    Outcome.TOO_LONG: "the prompts exceed the judge's context or limits: raise them at the server, or change judge.model",
    calls.LOST: "check the server, or raise judge.timeout_s",
}


class Breaker:
    """Watches the first replies of one judge in one run, from many threads."""

    def __init__(self, ledger: Ledger, run_id: str, judge: str) -> None:
        self._ledger, self._run_id, self._judge = ledger, run_id, judge
        self._changed = threading.Condition()
        self._in_flight: Counter[str] = Counter()
        self._unusable: dict[str, int] = defaultdict(int)
        """Numbers of questions in flight and of unusable replies, as last counted, by stage."""
        self._usable: set[tuple[str, str | None]] = set()
        """Stages, and scorers of a stage, of which a usable reply is known. `_changed` guards the changes of all of these."""
        self._reason = ""

    def enter(self, job: Job, is_aborted: Callable[[], bool]) -> None:
        """Wait until another question of the job's stage may be asked. Raises `Aborted`, and `ProviderStopped` after a stop."""
        stage = job.stage
        with self._changed:
            while (stage, None) not in self._usable and self._in_flight[stage] + self._unusable[stage] >= FIRST_REPLIES:
                if self._reason:
                    raise ProviderStopped(self._reason)
                if is_aborted():
                    raise Aborted
                self._changed.wait(_LOOK_S)
            self._in_flight[stage] += 1

    def leave(self, job: Job) -> None:
        """A question of the job's stage has ended, or was not asked after all."""
        with self._changed:
            self._in_flight[job.stage] -= 1
            self._changed.notify_all()

    @property
    def has_stopped(self) -> bool:
        """Whether it stopped the run. Failures of the provider, also of earlier stages, may then have the same cause."""
        return bool(self._reason)

    def raise_if_stopped(self) -> None:
        """Raise `ProviderStopped` after a stop, so that no failure of the same cause is stored behind the withdrawal."""
        if self._reason:
            raise ProviderStopped(self._reason)

    def note_usable(self, job: Job) -> None:
        """A usable reply: the judge can answer questions of this kind."""
        with self._changed:
            self._usable |= {(job.stage, None), (job.stage, job.scorer)}
            self._changed.notify_all()

    def note_unusable(self, job: Job) -> None:
        """A reply that could not be used, and is stored. Raises `ProviderStopped` if no reply of its kind could be used so far.

        The unusable answers are then withdrawn, so that the same command asks again once the cause is mended.
        """
        with self._changed:
            open_ = [scorer for scorer in (None, job.scorer) if (job.stage, scorer) not in self._usable]
        for scorer in open_:
            with self._ledger.read() as tx:
                replies = calls.replies_by_state(tx, self._run_id, job.stage, scorer)
            if scorer is None:
                self._unusable[job.stage] = sum(replies.values())
            if calls.SCORED in replies:
                with self._changed:
                    self._usable.add((job.stage, scorer))
                    self._changed.notify_all()
            elif sum(replies.values()) >= FIRST_REPLIES or self._reason:
                self._stop(job.stage, scorer, replies)

    def room(self, stage: str, scorer: str | None) -> int | None:
        """How many questions of a stage, or of one of its scorers, may be submitted in batches beside those that are submitted already.

        None if any number may be, because a reply is usable. Raises `ProviderStopped` if none of the first replies is.
        """
        if (stage, scorer) in self._usable:
            return None
        with self._ledger.read() as tx:
            replies = calls.replies_by_state(tx, self._run_id, stage, scorer)
            n_held = jobs.count_held(tx, self._run_id, stage, scorer)
        if calls.SCORED in replies:
            with self._changed:
                self._usable.add((stage, scorer))
            return None
        if sum(replies.values()) >= FIRST_REPLIES:
            self._stop(stage, scorer, replies)
        return max(0, FIRST_REPLIES - sum(replies.values()) - n_held)

    def _stop(self, stage: str, scorer: str | None, replies: Counter[str]) -> None:
        with self._ledger.write() as tx:
            reason, text = calls.last_unusable(tx, self._run_id, stage, scorer)
            withdrawn = calls.withdraw_unusable(tx, self._run_id, stage, scorer)
            judgements.withdraw(tx, self._run_id, withdrawn)
        with self._changed:
            if not self._reason:
                n, (most, count) = sum(replies.values()), replies.most_common(1)[0]
                came = (
                    f"{redact(reason)[:160]}; the last one was {redact(text)[:80]!r}" if text else redact(reason)[:160]
                )
                self._reason = (
                    f"{self._judge}: none of the first {n} replies to {scorer or stage} questions can be used"
                    f" ({count} {most.replace('_', ' ')}: {came}): {_REMEDIES.get(most, 'change judge.model')}"
                )
            self._changed.notify_all()
            raise ProviderStopped(self._reason)
