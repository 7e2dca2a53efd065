"""The question of an item made again by the program's own prompt builders, for what the ledger does not hold: schema, limits, and all that
a judge without calls was shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.calls.answers import Answer, call_key, read_reply
from autointerp.errors import UsageError
from autointerp.harvest.finished import FILES
from autointerp.judges.base import Judge
from autointerp.judges.registry import open_judge
from autointerp.ledger import judgements, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import Prompt, Reply, Usage, pack_probabilities
from autointerp.pipeline import stages
from autointerp.questions import handlers, scorer_jobs
from autointerp.records import Explanation, ExplanationKey, Outcome, ScorerAnswer
from autointerp.run import Run
from autointerp.scorers import registry
from autointerp.scorers.cases import Cases
from autointerp.spec import rubric
from autointerp.spec import spec as spec_
from autointerp.spec.providers import is_llm
from autointerp.spec.spec import Spec, judge_of

Parse = Callable[[str], Any]
KnownReply = Callable[[str], Reply | None]
"""The stored reply to a question with this text, or None."""


@dataclass(frozen=True)
class Asked:
    """A question as it was made again. `key` and `reply` are known for a judge that makes no calls: it is asked again."""

    prompt: Prompt
    parse: Parse
    key: str | None
    reply: Reply | None


class _Unanswered(Exception):
    """What follows depends on a reply that is not stored."""


class OpenRun:
    """A run, opened with its explanations and, for a judge that makes no calls, that judge."""

    def __init__(self, results: Path, ledger: Ledger | None, run_id: str, *, still: bool = False) -> None:
        """Raises `UsageError` if the run's harvest or spec is not there. With `still`, its explanations are read once."""
        row = None
        if ledger is not None:
            with ledger.read() as tx:
                row = runs.get(tx, run_id)
        self.ledger = ledger if row is not None else None
        spec, harvest = _of_row(results, row) if row is not None else _of_folder(results, run_id)
        if not (harvest / FILES[-1]).is_file():
            raise UsageError(f"the run's harvest {harvest.name} is not in {harvest.parent}: restore it there to see how its questions were made")  # fmt: skip
        self.run: Run = stages.open_run(run_id, spec, rubric.load(spec.score.rubric), results, harvest)
        self._judges: dict[str, Judge] = {}
        self._still = still
        self._kept: dict[ExplanationKey, Explanation] | None = None

    def explanations(self, known: Mapping[str, str]) -> dict[ExplanationKey, Explanation]:
        """The run's explanations: those of the ledger, or `known`."""
        if self._kept is not None:
            return self._kept
        found = self._explanations(known)
        if self._still:
            self._kept = found
        return found

    def _explanations(self, known: Mapping[str, str]) -> dict[ExplanationKey, Explanation]:
        if self.ledger is None:
            keys = {key: ExplanationKey.parse(key) for key in known}
            return {keys[key]: Explanation(keys[key], Outcome.SCORED, text, "", None) for key, text in known.items()}
        with self.ledger.read() as tx:
            return judgements.explanations_of(tx, self.run.run_id)

    def ask_again(self, job: Job, known: Mapping[str, str], reply_to: KnownReply) -> list[Asked]:
        """The questions of a job in the order in which they were asked, as far as the replies before them are known."""
        asked: list[Asked] = []
        settings = judge_of(self.run.spec, job.stage)
        judge = None if is_llm(settings.model) else self._judge(job.stage)

        def ask(prompt: Prompt, parse: Parse, repeat: int) -> Answer[Any]:
            key = call_key(judge, prompt, repeat) if judge else None
            reply = pack_probabilities(judge.ask(prompt)) if judge else reply_to(prompt.user)
            asked.append(Asked(prompt, parse, key, reply))
            if reply is None:
                raise _Unanswered
            return read_reply(reply, parse, key or "")

        with suppress(_Unanswered):
            if job.stage == "explain":
                handlers.explanation_of(self.run, job, ask)
            else:
                question = self._question(job, self.explanations(known))
                if question is not None:
                    ask(question.prompt, question.parse, 0 if job.scorer else job.repeat)
        return asked

    def _question(self, job: Job, explanations: Mapping[ExplanationKey, Explanation]) -> Any:
        if not job.scorer or job.stage == "probe":
            return handlers.question(self.run, job, explanations)
        answers: Sequence[ScorerAnswer] = ()
        if job.step and self.ledger is not None:
            with self.ledger.read() as tx:
                answers = judgements.answers_of(tx, self.run.run_id, job.unit_id)
        return scorer_jobs.question(Cases(self.run, explanations, answers), registry.scorer(job.scorer), job)

    def _judge(self, stage: str) -> Judge:
        if stage not in self._judges:
            self._judges[stage] = open_judge(judge_of(self.run.spec, stage), self.run.rubric)
        return self._judges[stage]


class OpenRuns:
    """The run that was opened last: it holds all exemplars of its units."""

    def __init__(self, results: Path, ledger: Callable[[], Ledger | None]) -> None:
        self.results, self._known_ledger = results, ledger
        self._lock = threading.Lock()
        self._open: tuple[tuple[str, Ledger | None], OpenRun] | None = None

    def of(self, run_id: str) -> OpenRun:
        """The run, opened. Raises `UsageError` if parts of it are missing."""
        with self._lock:
            key = run_id, self._known_ledger()
            if self._open is None or self._open[0] != key:
                self._open = None
                self._open = key, OpenRun(self.results, key[1], run_id)
            return self._open[1]


def stored_reply(text: str, state: str) -> Reply:
    """A reply as the ledger has it."""
    stop: Any = {"refusal": "refusal", "truncated": "truncated"}.get(state, "complete")
    return Reply(text, stop, Usage(), "")


def _of_row(results: Path, row: Any) -> tuple[Spec, Path]:
    if not row["harvest_key"]:
        raise UsageError("the run has no harvest yet: its questions are made from it")
    return spec_.from_toml(row["spec"]), results / "artifacts" / f"harvest-{row['harvest_key']}"


def _of_folder(results: Path, run_id: str) -> tuple[Spec, Path]:
    """Spec and harvest as the files of a finished run name them."""
    folder = results / run_id
    try:
        harvest = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["harvest"]
    except (OSError, ValueError, KeyError):
        raise UsageError(f"{folder / 'summary.json'} does not name the run's harvest: its questions cannot be made again") from None  # fmt: skip
    return spec_.load(folder / "spec.toml"), results / "artifacts" / str(harvest)
