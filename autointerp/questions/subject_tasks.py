"""Runs the scorers' tasks for the subject: texts to read or to continue, with the unit's activations or clamped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autointerp.harvest.inputs import Inputs, OpenInputs, open_inputs
from autointerp.hashing import content_hash
from autointerp.ledger import jobs, judgements, leases
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.progress import OnProgress
from autointerp.records import COMPARED, Explanation, ExplanationKey, Outcome, ScorerAnswer, Unit
from autointerp.run import Run
from autointerp.scorers import registry
from autointerp.scorers.base import ReadPeaks, ReadText, SteerText
from autointerp.scorers.cases import Cases
from sae.analysis import unit_probe
from sae.analysis.steering import continue_texts
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey

Tasks = Sequence[tuple[Unit, Sequence[ReadText | ReadPeaks | SteerText]]]
"""Each unit with its tasks."""
Results = dict[tuple[str, int], Any]
"""Results by unit id and the task's number."""


def run_all(
    ledger: Ledger,
    run: Run,
    explanations: Mapping[ExplanationKey, Explanation],
    on_progress: OnProgress,
    owner: str,
    open_: OpenInputs | None = None,
) -> None:
    """Run every pending job with tasks for the subject. The subject is loaded only if there is one."""
    inputs = None
    while True:
        with ledger.write() as tx:
            leased = leases.lease(tx, run.run_id, "probe", most=1, owner=owner)
        if not leased:
            return
        inputs = inputs or (open_ or open_inputs)(run.spec, on_progress)
        run_job(ledger, run, explanations, inputs, leased[0], on_progress)


def run_job(
    ledger: Ledger,
    run: Run,
    explanations: Mapping[ExplanationKey, Explanation],
    inputs: Inputs,
    job: Job,
    on_progress: OnProgress,
) -> None:
    """Run one step of a scorer for all its units, and store a row per task in one transaction with the end of the job."""
    scorer = registry.scorer(job.scorer)
    with ledger.read() as tx:
        known = Cases(run, explanations, judgements.answers_of(tx, run.run_id))
    tasks = [
        (unit, scorer.subject_tasks(known.of(unit.unit_id), job.step, known.answers(scorer, unit.unit_id)))
        for unit in known.units(scorer)
    ]
    parts = [run_part(inputs, run, tasks, on_progress) for run_part in (_read, _peaks, _steer)]
    results = {task: result for part in parts for task, result in part.items()}
    rows = [
        (
            content_hash([job.job_key, unit.unit_id, number]),
            ScorerAnswer(
                scorer.name, unit.unit_id, job.step, number, Outcome.SCORED, results[unit.unit_id, number], "", None
            ),
        )
        for unit, of_unit in tasks
        for number in range(len(of_unit))
    ]
    with ledger.write() as tx:
        judgements.add_answers(tx, run.run_id, rows)
        jobs.finish(tx, run.run_id, job.job_key)


def _read(inputs: Inputs, run: Run, tasks: Tasks, on_progress: OnProgress) -> Results:
    """The unit's activation at each token of every text to read."""
    texts = [
        ((unit.unit_id, number), (row, task.text))
        for row, (unit, of_unit) in enumerate(tasks)
        for number, task in enumerate(of_unit)
        if isinstance(task, ReadText)
    ]
    if not texts:
        return {}
    on_progress("reading texts", 0, 0)
    reader, counting = _reader(inputs, run, tasks)
    read = unit_probe.read_texts_by_unit(reader, [text for _, text in texts], **counting)
    return {
        task: [round(float(a), 6) for a in text.activations[0]] for (task, _), text in zip(texts, read, strict=True)
    }


def _peaks(inputs: Inputs, run: Run, tasks: Tasks, on_progress: OnProgress) -> Results:
    """The largest activation of every unit in texts that all units share: each text is read once."""
    by_texts: dict[tuple[str, ...], list[tuple[int, str, int]]] = {}
    for row, (unit, of_unit) in enumerate(tasks):
        for number, task in enumerate(of_unit):
            if isinstance(task, ReadPeaks):
                by_texts.setdefault(task.texts, []).append((row, unit.unit_id, number))
    results: Results = {}
    for texts, wanted in by_texts.items():
        on_progress("reading written texts", 0, 0)
        reader, counting = _reader(inputs, run, tasks)
        peaks = unit_probe.largest_activations(reader, texts, **counting)
        results |= {(unit, number): [round(float(a), 6) for a in peaks[row]] for row, unit, number in wanted}
    return results


def _reader(inputs: Inputs, run: Run, tasks: Tasks) -> tuple[UnitReader, dict[str, Any]]:
    """A reader of the tasks' units, and the harvest's rules for tokens that are not counted."""
    reader = UnitReader(inputs.subject, inputs.dictionary, [_key(unit) for unit, _ in tasks])
    norm_limit = run.harvest_metadata.get("norm_limit", math.inf)
    return reader, {"skip_positions": run.spec.harvest.skip_positions, "norm_limit": norm_limit}


def _steer(inputs: Inputs, run: Run, tasks: Tasks, on_progress: OnProgress) -> Results:
    """The continuation of every text to continue. Texts of equal length are generated together, unit by unit."""
    results: Results = {}
    for done, (unit, of_unit) in enumerate(tasks):
        steers = [(number, task) for number, task in enumerate(of_unit) if isinstance(task, SteerText)]
        for tokens in sorted({task.tokens for _, task in steers}):
            on_progress("continuing clamped texts", done, len(tasks))
            batch = [(number, task) for number, task in steers if task.tokens == tokens]
            continuations = continue_texts(
                inputs.subject,
                inputs.dictionary,
                _key(unit),
                [task.text for _, task in batch],
                [task.factor for _, task in batch],
                tokens,
                run.spec.units.seed,
                largest=unit.max_activation,
            )
            results |= {(unit.unit_id, number): text for (number, _), text in zip(batch, continuations, strict=True)}
    return results


def _key(unit: Unit) -> UnitKey:
    assert unit.kind in COMPARED, unit
    return UnitKey(unit.kind, unit.index, unit.sign)
