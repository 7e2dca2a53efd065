"""What scorers want of the subject itself: texts read, or gone on from, with what the unit does there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autointerp.harvest.inputs import Inputs, open_inputs
from autointerp.hashing import content_hash
from autointerp.ledger import jobs, judgements, leases
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.progress import Tell
from autointerp.records import COMPARED, Answered, Explanation, ExplanationKey, Outcome, Unit
from autointerp.run import Run
from autointerp.scorers import registry
from autointerp.scorers.base import Read, Steer
from autointerp.scorers.cases import Cases
from sae.analysis import unit_probe
from sae.analysis.steering import go_on
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey

Work = Sequence[tuple[Unit, Sequence[Read | Steer]]]


def do_all(ledger: Ledger, run: Run, said: Mapping[ExplanationKey, Explanation], tell: Tell, owner: str) -> None:
    """Do every such job of a run; the inputs are loaded only where there is one."""
    inputs = None
    while True:
        with ledger.write() as tx:
            leased = leases.lease(tx, run.run_id, "probe", most=1, owner=owner)
        if not leased:
            return
        inputs = inputs or open_inputs(run.spec, tell)
        do(ledger, run, said, inputs, leased[0], tell)


def do(
    ledger: Ledger, run: Run, said: Mapping[ExplanationKey, Explanation], inputs: Inputs, job: Job, tell: Tell
) -> None:
    """Do one job: a step of a scorer for all its units. What it brings is stored at once, a row for each piece of work."""
    scorer = registry.scorer(job.scorer)
    with ledger.read() as tx:
        known = Cases(run, said, judgements.answers_of(tx, run.run_id))
    work = [
        (unit, scorer.work(known.of(unit.unit_id), job.step, known.brought(scorer, unit.unit_id)))
        for unit in known.units(scorer)
    ]
    brought = {**_read(inputs, run, work, tell), **_steered(inputs, run, work, tell)}
    rows = [
        (
            content_hash([job.job_key, unit.unit_id, number]),
            Answered(
                scorer.name, unit.unit_id, job.step, number, Outcome.SCORED, brought[unit.unit_id, number], "", None
            ),
        )
        for unit, pieces in work
        for number in range(len(pieces))
    ]
    with ledger.write() as tx:
        judgements.add_answers(tx, run.run_id, rows)
        jobs.finish(tx, run.run_id, job.job_key)


def _read(inputs: Inputs, run: Run, work: Work, tell: Tell) -> dict[tuple[str, int], Any]:
    """The unit's activation at each token of every text to read."""
    places = [
        ((unit.unit_id, number), (place, piece.text))
        for place, (unit, pieces) in enumerate(work)
        for number, piece in enumerate(pieces)
        if isinstance(piece, Read)
    ]
    if not places:
        return {}
    tell("the subject reads what was written", 0, 0)
    reader = UnitReader(inputs.subject, inputs.dictionary, [_key(unit) for unit, _ in work])
    skip, limit = run.spec.harvest.skip_positions, run.facts.get("norm_limit", math.inf)
    seen = unit_probe.read_own(reader, [wanted for _, wanted in places], skip_positions=skip, norm_limit=limit)
    return {
        place: [round(float(a), 6) for a in text.activations[0]] for (place, _), text in zip(places, seen, strict=True)
    }


def _steered(inputs: Inputs, run: Run, work: Work, tell: Tell) -> dict[tuple[str, int], Any]:
    """What the subject adds to every text to go on from."""
    found: dict[tuple[str, int], Any] = {}
    for done, (unit, pieces) in enumerate(work):
        steers = [(number, piece) for number, piece in enumerate(pieces) if isinstance(piece, Steer)]
        for tokens in sorted({piece.tokens for _, piece in steers}):
            tell("the subject goes on from texts", done, len(work))
            alike = [(number, piece) for number, piece in steers if piece.tokens == tokens]
            added = go_on(
                inputs.subject,
                inputs.dictionary,
                _key(unit),
                [piece.text for _, piece in alike],
                [piece.factor for _, piece in alike],
                tokens,
                run.spec.units.seed,
                largest=unit.max_activation,
            )
            found |= {(unit.unit_id, number): text for (number, _), text in zip(alike, added, strict=True)}
    return found


def _key(unit: Unit) -> UnitKey:
    assert unit.kind in COMPARED, unit
    return UnitKey(unit.kind, unit.index, unit.sign)
