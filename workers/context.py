"""What a worker process keeps between tasks: the ledger, what it loaded, whom it asks, and its heartbeat."""

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
from autointerp.spec.sections import Judge as JudgeSettings
from autointerp.spec.spec import Spec
from workers import broker
from workers.prefetch import Leases

if TYPE_CHECKING:
    from autointerp.harvest.inputs import Opened

T = TypeVar("T")
BEAT_S = 3.0
KEPT = 8
"""Runs whose exemplars and clients are kept loaded."""
log = structlog.get_logger()


class Context:
    """One life of a worker process. Safe to use from all its threads."""

    def __init__(self, settings: Settings, queues: str) -> None:
        """Raises `UsageError` where the ledger or the artifacts cannot be reached."""
        self.settings = settings
        self.pid = os.getpid()
        self.ledger = Ledger.open(settings.ledger_url)
        self.artifacts = Artifacts(settings.artifacts_root)
        self.stopping = threading.Event()
        self.leases: Leases[tuple[Job, RowMapping]] = Leases()
        self.worker_id = ""
        self._working: Counter[str] = Counter()
        """Tasks at work under each name that this process has had and that is not buried."""
        self._queues = queues
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._keeping = threading.Lock()
        self._making: dict[Any, threading.Lock] = {}
        self._limiters: dict[Any, SharedLimiter] = {}
        self._redis = broker.connect(settings)
        self._begin_anew()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @contextmanager
    def life(self) -> Iterator[str]:
        """The name under which a task leases jobs and makes calls: alive until its last task has ended, whatever begins meanwhile."""
        with self._keeping:
            name = self.worker_id
            self._working[name] += 1
        try:
            yield name
        finally:
            with self._keeping:
                self._working[name] -= 1

    @cached_property
    def opened(self) -> Opened:
        """The subjects, dictionaries and corpora that this worker has loaded."""
        from autointerp.harvest.inputs import Opened  # torch

        return Opened()

    def spec(self, run_id: str) -> Spec:
        """A run's spec as the ledger holds it now."""
        row = self._row(run_id)
        return self._keep(("spec", row["spec"]), lambda: spec.from_toml(row["spec"]))

    def run(self, run_id: str, row: RowMapping | None = None) -> Run:
        """A run over its finished harvest, as its row says, where somebody has just read that."""
        row = row or self._row(run_id)

        def open_run() -> Run:
            given = self.spec(run_id)
            folder = finished_harvest(self.artifacts, row["harvest_key"])
            if folder is None:
                raise AutointerpError(f"harvest-{row['harvest_key']} of run {run_id} is not in {self.artifacts}")
            return stages.open_run(run_id, given, rubric.load(given.score.rubric), self.settings.results, folder)

        return self._keep(("run", run_id, row["harvest_key"], row["spec"]), open_run)

    def explanations(self, run_id: str, row: RowMapping | None = None) -> dict[ExplanationKey, Explanation]:
        """What is said of a run's units. They are complete before scoring begins, and change only when a stage is planned anew."""
        row = row or self._row(run_id)

        def read() -> dict[ExplanationKey, Explanation]:
            with self.ledger.read() as tx:
                return judgements.explanations_of(tx, run_id)

        return self._keep(("said", run_id, row["stage_s"]), read)

    def caller(self, run: Run, stage: str, worker: str) -> Caller:
        """Whoever asks the judge of a stage for a run. Callers of the same account and model share one limiter, fleet-wide."""
        given, limits = spec.judge_of(run.spec, stage), self.limits(run)

        def make() -> Caller:
            judge = self._judge(given, run)
            limiter = self._limiter(given, judge, worker) if judge.is_llm else None
            return Caller(self.ledger, run.run_id, judge, given, limits, limiter=limiter, worker=worker)

        return self._keep(("caller", run.run_id, given, limits, worker), make)

    def forget(self, worker_id: str) -> None:
        """Free what a dead worker held in the limiters."""
        redis_limiter.free_slots(self._redis, worker_id)

    def limits(self, run: Run) -> budgets.Limits:
        """What a run may spend."""
        return budgets.Limits(run.spec.budget.usd, self.settings.month_usd)

    def batcher(self, run: Run, stage: str) -> Batcher:
        """Whoever asks the judge of a stage for a run in batches."""
        given, limits = spec.judge_of(run.spec, stage), self.limits(run)

        def make() -> Batcher:
            provider = open_batches(given)
            assert provider is not None, given.model

            def handle(job: Job, ask: Ask) -> None:
                said = {} if job.stage == "explain" else self.explanations(run.run_id)
                handlers.handle_job(self.ledger, run, ask, job, said)

            judge = self._judge(given, run)
            return Batcher(self.ledger, run.run_id, stage, given, judge, provider, limits, self.worker_id, handle)

        return self._keep(("batcher", run.run_id, given, limits, self.worker_id, stage), make)

    def stop(self) -> None:
        """Ask every task to end after what it is at."""
        self.stopping.set()
        for limiter in list(self._limiters.values()):
            limiter.abort()

    def close(self) -> None:
        """Free what this worker still holds, and say that it is gone."""
        self.stop()
        with self.ledger.write() as tx:
            for name in self._working:
                workers.bury(tx, name)
        self.ledger.close()

    def _row(self, run_id: str) -> RowMapping:
        with self.ledger.read() as tx:
            row = runs.get(tx, run_id)
        if row is None:
            raise AutointerpError(f"no run {run_id} in the ledger")
        return row

    def _judge(self, given: JudgeSettings, run: Run) -> Judge:
        return self._keep(("judge", given, run.rubric.hash), lambda: open_judge(given, run.rubric))

    def _limiter(self, given: JudgeSettings, judge: Judge, worker: str) -> Limiter:
        with self._keeping:
            key = (given, worker)
            if key not in self._limiters:
                recent = partial(calls.last_minute, self.ledger, judge.name)
                self._limiters[key] = SharedLimiter.of(given, self._redis, worker, recent)
            return self._limiters[key]

    def _keep(self, key: Any, make: Callable[[], T]) -> T:
        """What was made under a key, made once even when many threads want it, and let go when others came since."""
        with self._keeping:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]  # type: ignore[no-any-return]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._keeping:
                if key in self._kept:
                    return self._kept[key]  # type: ignore[no-any-return]
            made = make()
            with self._keeping:
                self._kept[key] = made
                self._making.pop(key, None)
                while len(self._kept) > 5 * KEPT:
                    self._kept.popitem(last=False)
            return made

    def _beat(self) -> None:
        """Count up for as long as the process lives.

        Whoever was taken for dead begins a new life under a new name. So does one whose ledger failed: it may hold leases of
        which it never heard, and they are freed when the old name is buried, after its last task.
        """
        failures = self.ledger.failures
        while True:
            threading.Event().wait(BEAT_S)
            if _told[0] and not self.stopping.is_set():
                self.stop()
            try:
                alive = self._live_on() and self.ledger.failures == failures
                if not alive and not self.stopping.is_set():
                    log.warning("taken for dead or cut off, beginning anew", worker=self.worker_id)
                    failures = self.ledger.failures
                    self._begin_anew()
            except Exception as error:
                log.warning("no heartbeat", error=str(error))

    def _live_on(self) -> bool:
        """One beat of every life, and the end of those that have no task left. Returns whether the newest one is known to live."""
        with self._keeping:
            ended = [name for name, tasks in self._working.items() if not tasks and name != self.worker_id]
            lives = [name for name in self._working if name not in ended]
        with self.ledger.write() as tx:
            alive = {name: workers.beat(tx, name) for name in lives}
            for name in ended:
                workers.bury(tx, name)
        with self._keeping:
            for name in ended:
                del self._working[name]
        return alive[self.worker_id]

    def _begin_anew(self) -> None:
        name = workers.new_id()
        with self.ledger.write() as tx:
            workers.register(tx, name, queues=self._queues, version=version("autointerp-eval"))
        with self._keeping:
            self.worker_id = name
            self._working[name] += 0


queues = ""
_current: Context | None = None
_lock = threading.Lock()
_told = mmap.mmap(-1, 1)
"""Shared with the processes that this one forks, which nobody else tells that they are to stop."""


def current() -> Context:
    """This process's context, made when it is first wanted: a forked child has its own."""
    global _current
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = Context(Settings.from_env(), queues)
        return _current


def stop() -> None:
    """Ask the tasks of this process, and of those that it forked, to end."""
    _told[0] = 1
    if _current is not None and _current.pid == os.getpid():
        _current.stop()


def close() -> None:
    """End this process's context, if it has one."""
    global _current
    if _current is not None and _current.pid == os.getpid():
        context, _current = _current, None
        context.close()
