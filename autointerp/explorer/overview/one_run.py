"""The state of one run: its stages, cost, calls by kind, judges, verdict, and the commands that go on with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autointerp.costs import bounds
from autointerp.errors import UsageError
from autointerp.explorer.items.names import kind_of
from autointerp.explorer.overview.kept import Kept
from autointerp.findings.summary import Summary, read_summary
from autointerp.ledger import events, run_items, runs
from autointerp.ledger.database import Ledger
from autointerp.monitoring.run_status import calls_line, cost_line, read_progress, stage_line, status_values
from autointerp.monitoring.run_watch import RateMeter
from autointerp.redaction import hide
from autointerp.report import prose
from autointerp.settings import Settings
from autointerp.spec.providers import is_llm
from autointerp.spec.spec import Spec, from_toml

STATES = {
    "queued": "waits for a worker",
    "running": "is in progress",
    "stopped": "was stopped before its end",
    "cancelled": "was cancelled by hand",
    "failed": "cannot be executed",
    "done": "is done",
    "withheld": "is done, and its headline is withheld",
}
STAGES = {
    "prepare": "open the inputs",
    "harvest": "read the corpus",
    "merge": "choose units and examples",
    "explain": "explain units",
    "plan": "plan questions",
    "score": "ask the judge",
    "probe": "let the subject read and write",
    "regrade": "ask the second judge",
    "finish": "write the report",
    "studies": "carry out studies",
}
"""What each stage does."""
_GIVEN = "given explanations: "
RETRIED = ("provider_error", "gave_up")
"""Outcomes whose questions `autointerp retry --failed` asks again."""


class RunStates:
    """The states of runs, with the pace of their stages as it was watched."""

    def __init__(self, results: Path, ledger: Callable[[], Ledger | None]) -> None:
        self.results, self._known_ledger = results, ledger
        self._kept = Kept()
        self._meters: dict[str, RateMeter] = {}

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, if there is one by now."""
        return self._known_ledger()

    def of(self, run_id: str) -> dict[str, Any]:
        """Everything about a run. Raises `UsageError` for an unknown one."""
        summary = self._summary(run_id)
        if self.ledger is None or not self._knows(run_id):
            if summary is None:
                raise UsageError(f"there is no run {run_id} in the ledger or in {self.results}: `autointerp runs` lists them")  # fmt: skip
            return _finished(run_id, summary) | self._files(run_id)
        progress = read_progress(self.ledger, run_id)
        rates = self._meters.setdefault(run_id, RateMeter()).add(time.monotonic(), progress.stages)
        status = status_values(progress, self.results, rates)
        spec = _spec(progress.row["spec"])
        live = status["state"] in runs.LIVE
        usage = self._kept.get(("usage", run_id), lambda: self._usage(run_id), None if live else progress.row["updated_at"])  # fmt: skip
        return {
            **{name: status[name] for name in ("run_id", "state", "carrier", "night", "created_at", "updated_at", "judge", "subject", "dictionary")},
            "reason": hide(status["reason"]),
            "in_words": STATES.get(status["state"], status["state"]),
            "live": live,
            "stages": [_stage(name, stage) for name, stage in status["stages"].items()],
            "errors": [{"text": hide(error), "n": n} for error, n in status["errors"].items()],
            "unscored": [{"outcome": outcome, "meaning": prose.OUTCOMES.get(outcome, outcome), "n": n} for outcome, n in sorted(status["unscored"].items(), key=lambda each: -each[1])],
            "cost": status["cost"] | {"in_words": cost_line(status["cost"]), "forecast_usd": self._forecast(run_id, spec)},
            "budgets": [{"name": name, **use} for name, use in status["budgets"].items()],
            "calls": calls_line(status["calls"]),
            "usage": usage,
            "judges": _judges(spec),
            "workers": status["workers"] if status["carrier"] == "fleet" and live else None,
            "verdict": _verdict(summary),
            "commands": list(self._commands(status, spec)),
            "missing": "",
        } | self._files(run_id)  # fmt: skip

    def events(self, run_id: str, after: int) -> list[dict[str, Any]]:
        """The run's events after event `after`, in order: what `autointerp logs` prints."""
        if self.ledger is None:
            return []
        with self.ledger.read() as tx:
            rows = events.of_run(tx, run_id, after=after)
        return [{name: row[name] for name in ("event_id", "at", "level", "worker")} | {"text": hide(" ".join(row["text"].split()))} for row in rows]  # fmt: skip

    def _knows(self, run_id: str) -> bool:
        assert self.ledger is not None
        with self.ledger.read() as tx:
            return runs.get(tx, run_id) is not None

    def _summary(self, run_id: str) -> Summary | None:
        path = self.results / run_id / "summary.json"
        if not path.is_file():
            return None

        def read() -> Summary | None:
            try:
                return read_summary(path.parent)
            except UsageError:
                return None

        found: Summary | None = self._kept.get(("summary", run_id), read, path.stat().st_mtime)
        return found

    def _usage(self, run_id: str) -> list[dict[str, Any]]:
        """Calls, tokens and dollars by the kind of question."""
        assert self.ledger is not None
        with self.ledger.read() as tx:
            rows = run_items.usage(tx, run_id)
        return [{"kind": kind_of(row["stage"], row["scorer"]), **{name: row[name] for name in ("calls", "cost_usd", *run_items.TOKENS)}} for row in rows]  # fmt: skip

    def _forecast(self, run_id: str, spec: Spec | None) -> float | None:
        """Dollars that the run was to cost at most by the usual length of its questions; None if a price is unknown, or the judge costs nothing."""
        if spec is None or not any(is_llm(judge.model) for judge in spec.judges):
            return None

        def read() -> float | None:
            try:
                return bounds.usual_usd(bounds.bounds(spec))
            except (UsageError, KeyError):  # a rubric or an evaluation that is not here
                return None

        found: float | None = self._kept.get(("forecast", run_id), read, spec.hash())
        return found

    def _files(self, run_id: str) -> dict[str, Any]:
        folder = self.results / run_id
        files = [path for path in folder.glob("*") if path.is_file() and not path.name.startswith(".")]
        return {
            "files": [{"name": path.name, "bytes": path.stat().st_size} for path in sorted(files)],
            "index": (folder / "index" / "index.json").is_file(),
        }

    def _commands(self, status: Mapping[str, Any], spec: Spec | None) -> Iterator[dict[str, str]]:
        """Commands that go on with the run as it is, each with its purpose."""
        run, state = status["run_id"], status["state"]
        if state in runs.LIVE:
            yield {"purpose": "follow it in a terminal", "command": self._command("status", run, "--watch")}
            if status["carrier"] == "fleet":
                yield {"purpose": "start no further calls", "command": self._command("cancel", run)}
        elif state in ("stopped", "failed", "cancelled"):
            yield {"purpose": "go on where it stopped, by the workers", "command": self._command("resume", run)}
            if status["carrier"] == "local":
                yield {"purpose": "go on in one process: the command that began it, with its spec", "command": self._command("run", "SPEC.toml")}  # fmt: skip
        failed = sum(status["unscored"].get(name, 0) for name in RETRIED)
        failed += sum(stage["failed"] for stage in status["stages"].values())
        if failed and state not in runs.LIVE:
            yield {"purpose": "ask again what failed at the provider or a worker", "command": self._command("retry", "--failed", run)}  # fmt: skip
        if status["report"] and not (self.results / run / "index" / "index.json").is_file():
            yield {"purpose": "make its index, to see all units", "command": self._command("index", run)}

    def _command(self, *words: str) -> str:
        given = [] if self.results == Settings.model_fields["results"].default else ["--results", str(self.results)]
        return " ".join(["autointerp", *words, *(f'"{word}"' if " " in word else word for word in given)])


def _stage(name: str, stage: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "purpose": STAGES.get(name, name), "in_words": stage_line(stage), **stage}


def _spec(text: str) -> Spec | None:
    """A run's spec; None if this version cannot read it any more."""
    try:
        return from_toml(text)
    except (ValueError, UsageError):
        return None


def _judges(spec: Spec | None) -> list[dict[str, Any]]:
    """Who explains and who grades. `is_llm` is None for explanations that the spec gives."""
    if spec is None:
        return []
    roles = [("explains", spec.explained_by.model), ("grades", spec.judge.model)]
    if spec.explain.given:
        roles[0] = ("explains", f"{_GIVEN}{spec.explain.given}")
    if spec.cascade is not None:
        roles.append(("grades a sample again", spec.cascade.judge.model))
    return [{"role": role, "model": hide(model), "is_llm": None if model.startswith(_GIVEN) else is_llm(model)} for role, model in roles]  # fmt: skip


def _verdict(summary: Summary | None) -> dict[str, Any] | None:
    """The headline of a finished run, and how far its judge can be relied on."""
    if summary is None:
        return None
    trust = prose.judge_reliability(summary)
    return {
        "lead": prose.lead(summary),
        "sentence": prose.verdict(summary).sentence,
        "judged_by": prose.judged_by(summary),
        "trust": {"verdict": trust.verdict.verdict, "label": trust.label, "sentence": trust.verdict.sentence},
    }


def _finished(run_id: str, summary: Summary) -> dict[str, Any]:
    """A run of which only its folder is known."""
    return {
        "run_id": run_id, "state": "done", "in_words": STATES["done"], "reason": "", "live": False, "carrier": "", "night": "",
        "created_at": None, "updated_at": None, "judge": summary.judge, "subject": summary.subject.name,
        "dictionary": summary.dictionary.name, "stages": [], "errors": [], "unscored": [], "budgets": [], "usage": [], "workers": None,
        "cost": {"in_words": prose.cost(summary), "spent_usd": summary.cost_usd, "budget_usd": None, "forecast_usd": None},
        "calls": "", "verdict": _verdict(summary), "commands": [],
        "judges": [{"role": "explains", "model": summary.explainer, "is_llm": summary.explainer_is_llm}, {"role": "grades", "model": summary.judge, "is_llm": summary.judge_is_llm}],
        "missing": "The ledger does not know this run: stages, calls and events were recorded there.",
    }  # fmt: skip
