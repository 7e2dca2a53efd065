"""Explains and grades units for the pages: in the background, one request after another, within what the explorer may spend."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autointerp.errors import EXPECTED, UsageError
from autointerp.explorer.search.reader import Reader
from autointerp.formatting import dollars, plural
from autointerp.ledger.database import Ledger

if TYPE_CHECKING:
    from autointerp.explorer.labels.labeller import Labeller
    from autointerp.explorer.labels.price import Price

Kind = Literal["explain", "grade"]
_MOST_WAITING = 20
"""Requests that may wait; more are refused."""
_REMEMBERED = 200
"""Requests whose end is remembered."""


@dataclass
class Task:
    """A request to explain or grade a unit."""

    task_id: int
    kind: Kind
    unit_id: str
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    done: int = 0
    total: int = 0
    error: str = ""

    def shown(self) -> dict[str, Any]:
        """The task as JSON."""
        return asdict(self)


class _Closing(Exception):
    """The explorer stops: nothing more is asked."""


class Desk:
    """`usd` is what may be spent in all, None for no bound. Threads may share it."""

    def __init__(self, results: Path, usd: float | None = None) -> None:
        self.results, self.usd = results, usd
        self._labellers: dict[Path, Labeller] = {}
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._tasks: OrderedDict[int, Task] = OrderedDict()
        self._numbers = itertools.count(1)
        self._live: dict[tuple[Path, Kind, str], Task] = {}
        self._waiting: queue.Queue[tuple[Task, Reader, int, Ledger] | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def why_not(self, index: Reader) -> str:
        """Why no unit of an index can be explained or graded here; empty if it can."""
        run = index.about.run
        if run is None:
            return "This index is of no run, whose judge could be asked: make one with `autointerp index RUN`."
        return "" if self._spec(run).is_file() else f"The run {run} of this index is not in the results folder."

    def price(self, index: Reader, row: int, kind: Kind, ledger: Ledger) -> dict[str, Any]:
        """What a request would cost, as numbers and as a sentence."""
        labeller = self._labeller(index, ledger)
        price = labeller.price([row], explain=kind == "explain", grade=kind == "grade")
        left = None if self.usd is None else max(0.0, self.usd - self._spent())
        judge = price.explainer if kind == "explain" else price.judge
        return {**asdict(price), "left_usd": left, "line": _line(price, judge, kind, left)}

    def begin(self, index: Reader, row: int, kind: Kind, ledger: Ledger) -> Task:
        """Put a request into the queue; the same request about the same index that waits or runs already is not put there again. Raises
        `UsageError`."""
        unit_id = index.columns.unit_ids[row].as_py()
        if kind == "grade" and index.columns.explanation(row) is None:
            raise UsageError(f"{unit_id} has no explanation to grade: explain it first")
        with self._lock:
            self._live = {key: task for key, task in self._live.items() if task.state in ("waiting", "running")}
            key = index.folder.path, kind, unit_id
            if key in self._live:
                return self._live[key]
            if len(self._live) >= _MOST_WAITING:
                raise UsageError(f"{len(self._live)} requests are waiting: ask again when some of them are done")
            task = self._live[key] = Task(next(self._numbers), kind, unit_id)
            self._tasks[task.task_id] = task
            while len(self._tasks) > _REMEMBERED:
                self._tasks.popitem(last=False)
            self._waiting.put((task, index, row, ledger))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="labels units")
                self._thread.start()
        return task

    def task(self, task_id: int) -> Task | None:
        """A request, or None if it is not remembered."""
        return self._tasks.get(task_id)

    def close(self) -> None:
        """Stop after the calls in flight, whose replies are kept."""
        self._closing.set()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None and not self._closing.is_set():
            task, index, row, ledger = item
            task.state = "running"
            try:
                self._do(task, index, row, ledger)
                task.state = "done"
            except _Closing:
                task.state, task.error = "failed", "the explorer was stopped"
            except EXPECTED as error:
                task.state, task.error = "failed", str(error)
            except Exception as error:
                task.state, task.error = "failed", f"{type(error).__name__}: {error}: please report it"

    def _do(self, task: Task, index: Reader, row: int, ledger: Ledger) -> None:
        def progress(_phase: str, done: int, total: int) -> None:
            task.done, task.total = done, total
            if self._closing.is_set():
                raise _Closing

        labeller = self._labeller(index, ledger)
        if self.usd is not None:
            labeller.account.usd = self.usd - (self._spent() - labeller.spent_usd)
        made = (labeller.explain if task.kind == "explain" else labeller.grade)([row], progress)
        if why := made.failed.get(row):
            raise UsageError(f"{task.unit_id} could not be {_DONE[task.kind]}: {why}")

    def _labeller(self, index: Reader, ledger: Ledger) -> Labeller:
        from autointerp.explorer.labels.labeller import Labeller, spec_of_run  # torch

        path = index.folder.path
        with self._lock:
            known = self._labellers.get(path)
            if known is None or known.index.about.identity != index.about.identity:
                run = index.about.run or ""
                self._labellers[path] = Labeller(
                    index.folder, spec_of_run(self._spec(run).parent), ledger, usd=self.usd
                )
            return self._labellers[path]

    def _spent(self) -> float:
        """Dollars since the explorer was started."""
        return sum(labeller.spent_usd for labeller in list(self._labellers.values()))

    def _spec(self, run: str) -> Path:
        return self.results / Path(run).name / "spec.toml"


_DONE = {"explain": "explained", "grade": "graded"}


def _line(price: Price, judge: str, kind: Kind, left: float | None) -> str:
    """What a request costs, in a sentence."""
    questions = plural(price.questions, "question")
    if price.problem:
        return f"Cannot be asked: {price.problem}"
    if not price.units:
        return "This unit has too few examples to be explained and graded."
    if not price.is_llm:
        return f"Free: {questions} to the {judge} judge, which is not an LLM."
    if not price.calls:
        return (
            f"Free: {judge} has answered {'this question' if price.questions == 1 else f'these {questions}'} already."
        )
    calls = f"{plural(price.calls, 'call')} to {judge}"
    if price.usd is None or price.most_usd is None:
        return f"{calls}: the cost is unknown, because no price is known for it."
    bound = "" if left is None else f" {dollars(left)} may still be spent here."
    return f"{calls}: about {dollars(price.usd)}, at most {dollars(price.most_usd)}.{bound}"
