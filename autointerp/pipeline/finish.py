"""Finishes a run: writes the files of its results folder and marks it as done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from autointerp import report
from autointerp.dictionaries import registry
from autointerp.errors import AutointerpError, UsageError
from autointerp.findings import giveaways, judge_evidence, server_cautions, tables
from autointerp.findings.summarise import summarise
from autointerp.findings.summary import Summary, read_summary
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.finished import finished_harvest
from autointerp.judge_check import verdict as graded_verdict
from autointerp.ledger import events, runs
from autointerp.ledger.database import Ledger
from autointerp.pipeline import spec_changes
from autointerp.pipeline.stages import open_run
from autointerp.places import writing
from autointerp.redaction import hide
from autointerp.run import Run
from autointerp.scorers import unit_metrics
from autointerp.settings import Settings
from autointerp.spec import rubric
from autointerp.spec.spec import from_toml
from autointerp.stats import aid_effects, comparison


def write_results(ledger: Ledger, run: Run, *, judge_facts: Mapping[str, Any], command: str) -> Summary:
    """Write the run's files and report from the ledger, and return its summary. Raises `PlaceFailed`."""
    with writing(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
        return _write_results(ledger, run, judge_facts, hide(command))


def _write_results(ledger: Ledger, run: Run, judge_facts: Mapping[str, Any], command: str) -> Summary:
    unit_figures = unit_metrics.of_run(ledger, run)
    frames = tables.of_run(ledger, run)
    if run.spec.controls.neighbours:
        frames = tables.with_distinction(frames, unit_metrics.per_unit(unit_figures, "distinction", "told"))
    facts = tables.facts_of_run(ledger, run) | dict(judge_facts) | {"command": command, "finished_at": _now()}
    if page := registry.neuronpedia_page(run.spec.dictionary.path):
        facts["dictionary"] = facts["dictionary"] | {"neuronpedia": page}
    if run.given is not None:
        facts |= run.given.facts()
    again, labels = tables.second_judgements(ledger, run, frames), tables.label_table(ledger, run)
    evidence = judge_evidence.of_run(frames, run.spec, run.rubric.grades, again, labels, run.left_out)
    levels, intervals = [level.grade for level in run.rubric.levels], comparison.interval_options(run.spec)
    summary = summarise(
        units=frames.units,
        judgements=frames.main,
        exemplars=frames.exemplars,
        spec=run.spec,
        rubric_levels=levels,
        facts=facts,
        evidence=evidence,
        scorers=unit_metrics.summarise(unit_figures, intervals),
        giveaways=giveaways.of_run(frames.main, frames.exemplars, unit_figures.shapes, intervals),
        graded_set=graded_verdict.of_judge(facts["judge"], run.spec.score, run.rubric.hash, run.folder.parent),
        variants=aid_effects.effects(frames.main, frames.units, scale=(min(levels), max(levels)), **intervals),
    )
    if cautions := server_cautions.of_run(ledger, run):
        summary = summary.model_copy(update={"cautions": [*summary.cautions, *cautions]})
    if len(unit_figures.figures):
        tables.write_table(run.folder / "scorers.parquet", unit_figures.figures)
    tables.write(frames, summary, run, spec_changes.since_last(ledger, run))
    report.write(run.folder)
    return summary


def rewrite(run_id: str, results: Path, open_ledger: Callable[[], Ledger]) -> Path:
    """Write a run's report again and return its path. Raises `UsageError` for a run without results.

    With its ledger and harvest the tables and the summary are rebuilt first; a folder that was copied has neither.
    """
    folder = results / run_id
    if not (folder / "summary.json").exists():
        raise UsageError(f"{folder} holds no summary.json: `autointerp runs` lists the runs that exist")
    artifacts = Artifacts(Settings.from_env().artifacts or str(results / "artifacts"))
    rebuilt = False
    with suppress(UsageError):
        rebuilt = rebuild(open_ledger(), run_id, results, artifacts)
    if not rebuilt:
        with writing(folder):
            report.write(folder)
    return folder / "report.html"


def rebuild(ledger: Ledger, run_id: str, results: Path, artifacts: Artifacts) -> bool:
    """Build a finished run's files and report again from the ledger, so that labels given since then count.

    Returns False, and writes nothing, if the run is not in the ledger, is still live, or has no harvest here.
    """
    before = read_summary(results / run_id)
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
    key = (before.harvest or "").removeprefix("harvest-")
    if row is None or row["state"] in runs.LIVE or not key:
        return False
    harvest = finished_harvest(artifacts, key)
    if harvest is None:
        return False
    spec = from_toml(row["spec"])
    run = open_run(run_id, spec, rubric.load(spec.score.rubric), results, harvest)
    facts = {name: getattr(before, name) for name in ("judge", "judge_is_llm", "explainer", "explainer_is_llm")}
    write_results(ledger, run, judge_facts=facts, command=before.command)
    return True


def mark_done(tx: Connection, run_id: str, summary: Summary, failed: Sequence[str] = ()) -> None:
    """Mark a run whose files are written as done, or as withheld. `failed` holds a line for each study of its spec that failed."""
    withheld = summary.headline.withheld
    code = AutointerpError.exit_code if failed else 0
    runs.set_state(tx, run_id, "withheld" if withheld else "done", "; ".join(filter(None, [withheld, *failed])), code)
    events.add(tx, run_id, f"done, headline withheld: {withheld}" if withheld else "done")
    for line in failed:
        events.add(tx, run_id, f"failed: {line}", level="error")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
