"""Keeps one model open for the pages: started by the first question, replaced by that of another index, and started again if it has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

from autointerp.explorer.index.folder import ABOUT, IndexFolder
from autointerp.explorer.live.process import ModelFailed, ModelProcess
from autointerp.explorer.live.questions import Answer, Continue, Reading, Ready, Source

_FAILED_S = 5.0
"""Seconds for which a model that could not be opened is not tried again."""
_SPEC = "spec.toml"


class LiveHost:
    """The open model. Its methods are called from one event loop, and `close` after that has ended."""

    def __init__(self) -> None:
        self.process: ModelProcess | None = None
        """The process of the model that was asked last; None before the first question."""
        self._failed: tuple[Source, float, str] | None = None

    async def ready(self, source: Source) -> Ready:
        """What is known of a model, once it is open. Raises `ModelFailed` if it cannot be opened, or another one is at work."""
        process = self._started(source)
        try:
            return await asyncio.shield(asyncio.wrap_future(process.ready))
        except ModelFailed as error:
            self._failed = source, time.monotonic(), str(error)
            raise

    async def ask(self, source: Source, job: Reading | Continue, seconds: float) -> AsyncGenerator[dict[str, Any]]:
        """The parts of the answer to a job, which is cancelled if nobody reads on.

        Raises `ModelFailed` if the model cannot be opened or ends, `TimeoutError` after `seconds` with the open model, and
        `JobRefused` with the job's own error.
        """
        await self.ready(source)
        ends = time.monotonic() + seconds
        process = self._started(source)
        answers: asyncio.Queue[Answer] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(answer: Answer) -> None:
            with suppress(RuntimeError):  # the server has stopped
                loop.call_soon_threadsafe(answers.put_nowait, answer)

        number = process.ask(job, put)
        try:
            while True:
                answer = await asyncio.wait_for(answers.get(), max(0.0, ends - time.monotonic()))
                if answer.error is not None and process.code is not None:
                    raise ModelFailed(
                        f"the model has to be opened again, which takes some seconds: {answer.error} while it was in use"
                    )
                if answer.error is not None:
                    raise JobRefused(answer.error)
                if answer.part is not None:
                    yield answer.part
                if answer.done:
                    return
        finally:
            process.cancel(number)

    def close(self) -> None:
        """End the model's process."""
        if self.process is not None:
            self.process.close()

    def _started(self, source: Source) -> ModelProcess:
        known = self.process
        if known is not None and known.code is None and not known.ready.cancelled():
            if known.source == source:
                return known
            if known.busy:
                raise ModelFailed(f"the model of {known.source.name} is at work: try again when it is not")
            known.kill()
        if self._failed is not None:
            failed, at, message = self._failed
            if failed == source and time.monotonic() - at < _FAILED_S:
                raise ModelFailed(message)
        self._failed, self.process = None, ModelProcess(source)
        return self.process


class JobRefused(ValueError):
    """A job cannot be done: the reason in one sentence."""


def source_of(index: IndexFolder, results: Path) -> Source:
    """Where the subject and the dictionary of an index are named: by its run's spec if that is there, else by the index.

    Raises `ModelFailed` if it is nowhere.
    """
    run = index.about.run
    folders = (index.path.parent, results / Path(run).name) if run else ()
    found = next((folder for folder in folders if (folder / _SPEC).is_file()), None)
    if found is None and not index.about.subject.model:
        raise ModelFailed(
            f"{index.path / ABOUT} does not say where the subject is, and its run has no spec: make the index again"
        )
    return Source(index=str(index.path.resolve()), run=str(found.resolve()) if found else None)
