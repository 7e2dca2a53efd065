"""State that a worker process keeps between tasks: the ledger, loaded inputs, judges, and its heartbeat."""

from __future__ import annotations

import mmap
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy import RowMapping

from autointerp.calls.answers import Ask
from autointerp.calls.batches import Batcher
from autointerp.calls.caller import Caller
from autointerp.errors import AutointerpError
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.finished import finished_harvest
from autointerp.judges.base import Judge
from autointerp.judges.limits import redis_limiter
from autointerp.judges.limits.limiter import Limiter
from autointerp.judges.limits.redis_limiter import SharedLimiter
from autointerp.judges.registry import open_batches, open_judge
from autointerp.ledger import budgets, calls, judgements, runs, workers
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.pipeline import stages
from autointerp.questions import handlers
from autointerp.records import Explanation, ExplanationKey
from autointerp.run import Run
from autointerp.settings import Settings
from autointerp.spec import rubric, spec
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import is_llm
from autointerp.spec.spec import Spec
from autointerp.studies.judging import Payer
from workers import broker
from workers.prefetch import SharedLeases

if TYPE_CHECKING:
    from autointerp.harvest.input_cache import InputCache

T = TypeVar("T")
BEAT_S = 3.0
CACHED_RUNS = 8
"""Runs whose exemplars, judges and clients stay loaded."""
ENTRIES_PER_RUN = 5
log = structlog.get_logger()


class Context:
    """The state of one worker process. Safe to use from all its threads."""

    def __init__(self, settings: Settings, queues: str) -> None:
        """Open everything and register the worker. Raises `UsageError` if the ledger or the artifacts cannot be reached."""
        self.settings = settings
        self.pid = os.getpid()
        self.ledger = Ledger.in_folder(settings.results, settings.given_ledger)
        self.artifacts = Artifacts(settings.artifacts_root)
        self.stopping = threading.Event()
        self.leases: SharedLeases[tuple[Job, RowMapping]] = SharedLeases()
        self.worker_id = ""
        """The newest id under which this process is registered."""
        self._running: Counter[str] = Counter()
        """Number of running tasks for each id of this process that is not marked dead."""
        self._queues = queues
        self._cache: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()
        """Guards ids, cache and limiters; never held during slow work."""
        self._loading: dict[Any, threading.Lock] = {}
        self._limiters: dict[Any, SharedLimiter] = {}
        self._redis = broker.connect(settings)
        self._register()
        threading.Thread(target=self._beat_forever, name="heartbeat", daemon=True).start()

    @contextmanager
    def lease_owner(self) -> Iterator[str]:
        """The worker id under which a task leases jobs and makes calls.

        It stays alive until the last task that uses it has ended, even if the process registers again in the meantime.
        """
        with self._lock:
            worker_id = self.worker_id
            self._running[worker_id] += 1
        try:
            yield worker_id
        finally:
            with self._lock:
                self._running[worker_id] -= 1

    @cached_property
    def opened(self) -> InputCache:
        """The subjects, dictionaries and corpora that this worker has loaded."""
        from autointerp.harvest.input_cache import InputCache  # torch

        return InputCache()

    def spec(self, run_id: str) -> Spec:
        """A run's spec as it is in the ledger now."""
        row = self._row(run_id)
        return self._cached(("spec", row["spec"]), lambda: spec.from_toml(row["spec"]))

    def run(self, run_id: str, row: RowMapping | None = None) -> Run:
        """A run over its finished harvest. `row` saves a query if the caller has just read the run's row."""
        row = row or self._row(run_id)

        def open_run() -> Run:
            spec_ = self.spec(run_id)
            folder = finished_harvest(self.artifacts, row["harvest_key"])
            if folder is None:
                raise AutointerpError(f"harvest-{row['harvest_key']} of run {run_id} is not in {self.artifacts}")
            return stages.open_run(run_id, spec_, rubric.load(spec_.score.rubric), self.settings.results, folder)

        return self._cached(("run", run_id, row["harvest_key"], row["spec"]), open_run)

    def explanations(self, run_id: str, row: RowMapping | None = None) -> dict[ExplanationKey, Explanation]:
        """A run's explanations, which are complete before scoring begins.

        They change only if stages are planned again, which changes `stage_s`: hence it is part of the cache key.
        """
        row = row or self._row(run_id)

        def read() -> dict[ExplanationKey, Explanation]:
            with self.ledger.read() as tx:
                return judgements.explanations_of(tx, run_id)

        return self._cached(("explanations", run_id, row["stage_s"]), read)

    def caller(self, run: Run, stage: str, worker: str) -> Caller:
        """The caller that asks the judge of a stage for a run. Callers of one account and model share a limiter across workers."""
        settings, limits = spec.judge_of(run.spec, stage), self.limits(run)

        def make() -> Caller:
            judge = self._judge(settings, run)
            limiter = self._limiter(settings, judge, worker) if judge.is_llm else None
            return Caller(self.ledger, run.run_id, judge, settings, limits, limiter=limiter, worker=worker)

        return self._cached(("caller", run.run_id, settings, limits, worker), make)

    def forget_callers(self, run_id: str) -> None:
        """Forget what the callers of a stopped run know of its errors, which a person may mend before the run is resumed."""
        with self._lock:
            for key in [key for key in self._cache if key[:2] == ("caller", run_id)]:
                del self._cache[key]

    def release_limiter_slots(self, worker_id: str) -> None:
        """Free the slots that a dead worker held in the rate limiters."""
        redis_limiter.free_slots(self._redis, worker_id)

    def limits(self, run: Run) -> budgets.Limits:
        """A run's spending limits."""
        return budgets.Limits(run.spec.budget.usd, self.settings.month_usd)

    def batcher(self, run: Run, stage: str) -> Batcher:
        """The batcher that asks the judge of a stage for a run in provider batches."""
        settings, limits = spec.judge_of(run.spec, stage), self.limits(run)

        def make() -> Batcher:
            provider = open_batches(settings)
            assert provider is not None, settings.model

            def handle(job: Job, ask: Ask) -> None:
                explanations = {} if job.stage == "explain" else self.explanations(run.run_id)
                handlers.handle_job(self.ledger, run, ask, job, explanations)

            judge = self._judge(settings, run)
            return Batcher(self.ledger, run.run_id, stage, settings, judge, provider, limits, self.worker_id, handle)

        return self._cached(("batcher", run.run_id, settings, limits, self.worker_id, stage), make)

    def payer(self, run: Run) -> Payer:
        """The run's row for the questions of its studies, with a limiter of their own, which the end of each study aborts."""
        settings, worker = run.spec.judge, self.worker_id
        if not is_llm(settings.model):
            return Payer(self.ledger, run.run_id, worker=worker)
        recent = partial(calls.last_minute, self.ledger, self._judge(settings, run).name)
        limiter = SharedLimiter.of(settings, self._redis, worker, recent)
        with self._lock:
            self._limiters["studies", run.run_id] = limiter
        return Payer(self.ledger, run.run_id, limiter, worker)

    def stop(self) -> None:
        """Ask every task to end after its current job, and interrupt waits for a rate limit."""
        self.stopping.set()
        for limiter in list(self._limiters.values()):
            limiter.abort()

    def close(self) -> None:
        """Mark this worker as gone in the ledger, which frees everything that it still holds."""
        self.stop()
        with self.ledger.write() as tx:
            for worker_id in self._running:
                workers.mark_dead(tx, worker_id)
        self.ledger.close()

    def _row(self, run_id: str) -> RowMapping:
        with self.ledger.read() as tx:
            row = runs.get(tx, run_id)
        if row is None:
            raise AutointerpError(f"no run {run_id} in the ledger")
        return row

    def _judge(self, settings: JudgeSettings, run: Run) -> Judge:
        return self._cached(("judge", settings, run.rubric.hash), lambda: open_judge(settings, run.rubric))

    def _limiter(self, settings: JudgeSettings, judge: Judge, worker: str) -> Limiter:
        with self._lock:
            key = (settings, worker)
            if key not in self._limiters:
                recent = partial(calls.last_minute, self.ledger, judge.name)
                self._limiters[key] = SharedLimiter.of(settings, self._redis, worker, recent)
            return self._limiters[key]

    def _cached(self, key: Any, make: Callable[[], T]) -> T:
        """The value made for a key: made once however many threads ask, and dropped when least recently used."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]  # type: ignore[no-any-return]
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # a lock for each key, so that a slow load does not block the others
            with self._lock:
                if key in self._cache:
                    return self._cache[key]  # type: ignore[no-any-return]
            made = make()
            with self._lock:
                self._cache[key] = made
                self._loading.pop(key, None)
                while len(self._cache) > ENTRIES_PER_RUN * CACHED_RUNS:
                    self._cache.popitem(last=False)
            return made

    def _beat_forever(self) -> None:
        """Send heartbeats for as long as the process lives.

        A worker that was declared dead registers again under a new id. So does one whose ledger failed: it may hold leases
        that it never heard of. They are freed when the old id is marked dead, after the last task that uses it.
        """
        failures = self.ledger.failures
        while True:
            threading.Event().wait(BEAT_S)
            if _stop_flag[0] and not self.stopping.is_set():
                self.stop()
            try:
                alive = self._beat() and self.ledger.failures == failures
                if not alive and not self.stopping.is_set():
                    log.warning("declared dead or cut off from the ledger: registering again", worker=self.worker_id)
                    failures = self.ledger.failures
                    self._register()
            except Exception as error:
                log.warning("heartbeat failed", error=str(error))

    def _beat(self) -> bool:
        """Send one heartbeat for each id in use, and mark older ids without tasks dead. Returns whether the newest id is alive."""
        with self._lock:
            ended = [worker_id for worker_id, n in self._running.items() if not n and worker_id != self.worker_id]
            in_use = [worker_id for worker_id in self._running if worker_id not in ended]
        with self.ledger.write() as tx:
            alive = {worker_id: workers.beat(tx, worker_id) for worker_id in in_use}
            for worker_id in ended:
                workers.mark_dead(tx, worker_id)
        with self._lock:
            for worker_id in ended:
                del self._running[worker_id]
        return alive[self.worker_id]

    def _register(self) -> None:
        worker_id = workers.new_id()
        with self.ledger.write() as tx:
            workers.register(tx, worker_id, queues=self._queues, version=version("autointerp-eval"))
        with self._lock:
            self.worker_id = worker_id
            self._running[worker_id] += 0


queues = ""
"""The queues that this worker serves, separated by commas. Set by `workers.app` once the worker is ready."""
_current: Context | None = None
_lock = threading.Lock()
_stop_flag = mmap.mmap(-1, 1)
"""Memory shared with forked pool processes, which get no other signal to stop."""


def current() -> Context:
    """This process's context, made on first use. A forked process makes its own."""
    global _current
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = Context(Settings.from_env(), queues)
        return _current


def stop() -> None:
    """Ask the tasks of this process and of its forked pool processes to end."""
    _stop_flag[0] = 1
    if _current is not None and _current.pid == os.getpid():
        _current.stop()


def close() -> None:
    """Close this process's context, if it has one."""
    global _current
    if _current is not None and _current.pid == os.getpid():
        context, _current = _current, None
        context.close()
