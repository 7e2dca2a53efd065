"""What a run will ask: its jobs, in an order that mixes units, bins and arms, and what they will cost."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from autointerp.ledger.jobs import Job
from autointerp.records import Arm, Exemplar, Unit
from autointerp.spec import Spec, content_hash


def stage_job(stage: str, number: int = 0) -> Job:
    """A job that is no question to a judge: a whole stage, or one shard of the harvest."""
    return Job(content_hash([stage, number]), stage, place=number)


def explain_jobs(units: Iterable[Unit]) -> list[Job]:
    """One job for each unit that is alive; dead and barely active ones stay in the tables, unexplained."""
    return [_job("explain", place, unit.unit_id) for place, unit in enumerate(units) if unit.status == "alive"]


def score_jobs(spec: Spec, units: Sequence[Unit], exemplars: Mapping[str, Sequence[Exemplar]]) -> list[Job]:
    """The judgements of every alive unit: its fair sample, and both controls. `exemplars` are by unit."""
    alive = [unit for unit in units if unit.status == "alive"]
    strangers = other_units(alive, spec.units.seed)
    planned = []
    for unit in alive:
        judged = [e for e in exemplars[unit.unit_id] if e.role == "score"]
        silent = [e for e in exemplars[unit.unit_id] if e.role == "quiet"][: spec.controls.base_rate]
        for exemplar in judged:
            planned += [
                _score_job(exemplar, Arm.MAIN, unit.unit_id, spec, repeat) for repeat in range(spec.score.repeats)
            ]
        stranger = strangers.get(unit.unit_id)
        if stranger:
            for exemplar in _across_bins(judged, spec.controls.shuffled):
                planned.append(_score_job(exemplar, Arm.SHUFFLED, stranger, spec))
        planned += [_score_job(exemplar, Arm.BASE_RATE, unit.unit_id, spec) for exemplar in silent]
    return planned


def other_units(units: Sequence[Unit], seed: int) -> dict[str, str]:
    """For each unit another one of its kind, each lent once: a seeded cycle. Empty for a unit alone of its kind."""
    result: dict[str, str] = {}
    for kind in ("feature", "neuron"):
        ids = [unit.unit_id for unit in units if unit.kind == kind]
        random.Random(f"{seed}/{kind}").shuffle(ids)
        if len(ids) > 1:
            result |= dict(zip(ids, ids[1:] + ids[:1], strict=True))
    return result


def _across_bins(exemplars: Sequence[Exemplar], n: int) -> list[Exemplar]:
    """Up to `n` exemplars round by round over the bins, the strongest bin first, so that the control spans them all."""
    by_bin: dict[int, list[Exemplar]] = {}
    for exemplar in exemplars:
        by_bin.setdefault(exemplar.bin, []).append(exemplar)
    lists = [by_bin[b] for b in sorted(by_bin, reverse=True)]
    longest = max((len(found) for found in lists), default=0)
    rounds = [found[turn] for turn in range(longest) for found in lists if turn < len(found)]
    step = max(1, len(lists) // n) if n else 1
    first = rounds[: len(lists)][::step]
    return (first + [found for found in rounds if found not in first])[:n]


def _score_job(exemplar: Exemplar, arm: Arm, explained_by: str, spec: Spec, repeat: int = 0) -> Job:
    identity = [str(spec.units.seed), exemplar.exemplar_id, arm.value, repeat]
    place = int(content_hash(["place", *identity])[:7], 16)
    return _job("score", place, exemplar.unit_id, exemplar.exemplar_id, arm, repeat, explained_by)


def _job(
    stage: str, place: int, unit_id: str, exemplar_id: str = "", arm: str = "", repeat: int = 0, explained_by: str = ""
) -> Job:
    key = content_hash([stage, unit_id, exemplar_id, str(arm), repeat, explained_by])
    return Job(key, stage, unit_id, exemplar_id, str(arm), repeat, explained_by, place)
