"""The process of a model, as the server sees it: jobs go in, and the parts of their answers come back in threads of its own."""

from __future__ import annotations

import itertools
import queue
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import IO

from autointerp.errors import AutointerpError
from autointerp.explorer import worker_process
from autointerp.explorer.live.questions import Answer, Cancel, Continue, Numbered, Reading, Ready, Source

WORKER = "autointerp.explorer.live.worker"
OnAnswer = Callable[[Answer], None]
_END_S = 5.0


class ModelFailed(AutointerpError):
    """The subject or the dictionary cannot be opened, or their process has ended."""


class ModelProcess:
    """A model in a process that has just been started. Its methods return at once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.ready: Future[Ready] = Future()
        """Raises `ModelFailed` if the model cannot be opened."""
        self.code: int | None = None
        """The exit code, once the process has ended."""
        self._waiting: dict[int, OnAnswer] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the thread that reads to the end
        self._process = worker_process.started(WORKER, complaints=self._complaints)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lines.put(source.model_dump_json())
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def waiting(self) -> int:
        """Jobs that are not answered yet."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether the model is being opened or used."""
        return self.code is None and bool(not self.ready.done() or self._waiting)

    def ask(self, job: Reading | Continue, on_answer: OnAnswer) -> int:
        """The number of a job, of whose answer `on_answer` gets each part in another thread, up to the one that is done or an error."""
        number = next(self._numbers)
        with self._lock:
            if self.code is None:
                self._waiting[number] = on_answer
                self._lines.put(Numbered(number=number, job=job).model_dump_json())
                return number
        on_answer(Answer(number=number, error=self._ending()))
        return number

    def cancel(self, number: int) -> None:
        """End a job, if it has not ended."""
        if self._waiting.pop(number, None):
            self._lines.put(Numbered(number=number, job=Cancel()).model_dump_json())

    def kill(self) -> None:
        """End the process, and with it the memory of the model."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and wait for its end."""
        self.kill()
        for thread in self._threads:
            thread.join(_END_S)

    def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(OSError, ValueError), stdin:
            while (line := self._lines.get()) is not None:
                stdin.write(line + "\n")
                stdin.flush()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            for line in stdout:
                self._take(Answer.model_validate_json(line))
        code = self._process.wait()
        with self._lock:
            self.code = code
            waiting, self._waiting = self._waiting, {}
        self._lines.put(None)
        if not self.ready.done():
            self.ready.set_exception(ModelFailed(f"the model cannot be opened: {self._ending()}"))
        for number, on_answer in waiting.items():
            on_answer(Answer(number=number, error=self._ending()))
        self._complaints.close()

    def _take(self, answer: Answer) -> None:
        if answer.number == 0:
            if answer.part is None:
                self.ready.set_exception(ModelFailed(f"the model cannot be opened: {answer.error}"))
            else:
                self.ready.set_result(Ready(**answer.part))
            return
        over = answer.done or answer.error is not None
        on_answer = self._waiting.pop(answer.number, None) if over else self._waiting.get(answer.number)
        if on_answer:
            on_answer(answer)

    def _ending(self) -> str:
        return worker_process.ending(self.code or 0, self._complaints)
