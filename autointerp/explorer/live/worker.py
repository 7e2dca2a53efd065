"""The process in which a model runs: `python -m autointerp.explorer.live.worker` reads jobs from its input, and writes their answers.

Every line is JSON: first a `Source`, then `Numbered` jobs; `Answer`s come back, the first, of number 0, once the model is open. The process
ends with its input, so also with the server that started it.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

from autointerp.errors import EXPECTED
from autointerp.explorer.live import limits
from autointerp.explorer.live.continuing import continued
from autointerp.explorer.live.inputs import open_model
from autointerp.explorer.live.model import LiveModel
from autointerp.explorer.live.questions import Answer, Cancel, Continue, Numbered, Reading, Source
from autointerp.explorer.live.reading import read
from autointerp.explorer.live.turns import StepFailed, Turns
from sae.errors import one_line


def main() -> None:
    """Open the model of the first line, and do the jobs of the others. Ends after `limits.IDLE_S` without one."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that nothing that a library prints is taken for an answer
    jobs: queue.SimpleQueue[Numbered] = queue.SimpleQueue()
    source = Source.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    try:
        model = open_model(source)
    except Exception as error:
        _answer(out, Answer(number=0, error=_sentence(error)))
        return
    _answer(out, Answer(number=0, part=model.about.model_dump()))
    _work(model, jobs, out)


def _listen(jobs: queue.SimpleQueue[Numbered]) -> None:
    for line in sys.stdin:
        jobs.put(Numbered.model_validate_json(line))
    os._exit(0)  # the server has ended, and nobody reads a further answer


def _work(model: LiveModel, jobs: queue.SimpleQueue[Numbered], out: TextIO) -> None:
    turns: Turns[dict[str, Any]] = Turns()
    while True:
        try:
            while True:
                _add(model, turns, jobs.get(timeout=0 if turns else limits.IDLE_S))
        except queue.Empty:
            if not turns:
                return
        try:
            number, part = turns.take()
            _answer(out, Answer(number=number, part=part, done=part is None))
        except StepFailed as failed:
            _answer(out, Answer(number=failed.number, error=_sentence(failed.__cause__)))


def _add(model: LiveModel, turns: Turns[dict[str, Any]], numbered: Numbered) -> None:
    job = numbered.job
    if isinstance(job, Cancel):
        turns.cancel(numbered.number)
    else:
        turns.add(numbered.number, _steps(model, job), quick=isinstance(job, Reading))


def _steps(model: LiveModel, job: Reading | Continue) -> Iterator[dict[str, Any]]:
    yield from read(model, job) if isinstance(job, Reading) else continued(model, job)


def _sentence(error: BaseException | None) -> str:
    """An error on one line, with its type if it is none that is meant for users."""
    if error is None:
        return "unknown error"
    return str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {one_line(error)}"


def _answer(out: TextIO, answer: Answer) -> None:
    out.write(answer.model_dump_json() + "\n")
    out.flush()


if __name__ == "__main__":
    main()
