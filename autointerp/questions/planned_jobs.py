"""What a run will ask: its jobs, in an order that mixes units, bins and arms."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from autointerp.hashing import content_hash
from autointerp.ledger import jobs
from autointerp.ledger.jobs import Job
from autointerp.records import COMPARED, PLANTED, Arm, Exemplar, ExplanationKey, Item, Unit, judged_of
from autointerp.spec.spec import Spec


def stage_job(stage: str, number: int = 0) -> Job:
    """A job that is no question to a judge: a whole stage, one round of planning, or one shard of the harvest."""
    return Job(content_hash([stage, number]), stage, place=number)


def explain_jobs(units: Iterable[Unit], compare: Sequence[str] = ()) -> list[Job]:
    """One job for each unit that is alive, and one for each aid that it is compared with; others stay in the tables, unexplained."""
    alive = [unit for unit in units if unit.status == "alive" and unit.kind != PLANTED]
    return [
        _job("explain", place, unit.unit_id, arm=aid)
        for aid in ("", *compare)
        for place, unit in enumerate(alive)
        if not aid or unit.kind in COMPARED
    ]


def score_items(spec: Spec, units: Sequence[Unit], exemplars: Mapping[str, Sequence[Exemplar]]) -> list[Item]:
    """What is judged of every alive unit: its fair sample and the controls. `exemplars` are by unit."""
    alive = [unit for unit in units if unit.status == "alive"]
    strangers = other_units(alive, spec.units.seed)
    planned: list[Item] = []
    for unit in alive:
        own, judged = ExplanationKey(unit.unit_id), judged_of(exemplars[unit.unit_id])
        planned += main_items(spec, unit, judged)
        planned += [_item(e, Arm.NEAR, own) for e in exemplars[unit.unit_id] if e.role == "near"]
        stranger = strangers.get(unit.unit_id)
        if stranger:
            planned += [
                _item(e, Arm.SHUFFLED, ExplanationKey(stranger)) for e in _across_bins(judged, spec.controls.shuffled)
            ]
        silent = [e for e in exemplars[unit.unit_id] if e.role == "quiet"][: spec.controls.base_rate]
        planned += [_item(e, Arm.BASE_RATE, own) for e in silent]
    return planned


def main_items(spec: Spec, unit: Unit, judged: Sequence[Exemplar]) -> Iterator[Item]:
    """A unit's exemplars under its own explanation, and under those that are compared with it."""
    for exemplar in judged:
        for repeat in range(spec.score.repeats):
            yield _item(exemplar, Arm.MAIN, ExplanationKey(unit.unit_id), repeat)
        if unit.kind in COMPARED:
            for aid in spec.explain.compare:
                yield _item(exemplar, Arm.VARIANT, ExplanationKey(unit.unit_id, aid))


def repeated_items(spec: Spec, planned: Sequence[Item]) -> list[Item]:
    """The further repeats of the few items on which the judge's noise is measured, spread over units and bins by their hash."""
    if spec.score.repeats > 1:
        return []
    first = sorted((item for item in planned if item.arm is Arm.MAIN), key=lambda item: _place(spec, item))
    return [
        _keyed(replace(item, repeat=repeat), "score")
        for item in first[: spec.controls.repeated]
        for repeat in range(1, spec.controls.repeats)
    ]


def other_units(units: Sequence[Unit], seed: int) -> dict[str, str]:
    """For each unit another one of its kind, each lent once: a seeded cycle. Empty for a unit alone of its kind."""
    result: dict[str, str] = {}
    for kind in dict.fromkeys(unit.kind for unit in units):
        ids = [unit.unit_id for unit in units if unit.kind == kind]
        random.Random(f"{seed}/{kind}").shuffle(ids)
        if len(ids) > 1:
            result |= dict(zip(ids, ids[1:] + ids[:1], strict=True))
    return result


def questions(spec: Spec, items: Sequence[Item], stage: str = "score") -> list[Job]:
    """Jobs that ask of the items, `score.per_call` together, mixed over units, bins and arms.

    Repeats of an item are never asked of together: they must not see each other.
    """
    if stage != "score":
        items = [_keyed(item, stage) for item in items]
    if spec.score.per_call == 1:
        return [_alone(spec, item, stage) for item in items]
    planned: list[Job] = []
    for repeat in sorted({item.repeat for item in items}):
        mixed = sorted((item for item in items if item.repeat == repeat), key=lambda item: _place(spec, item))
        for start in range(0, len(mixed), spec.score.per_call):
            planned.append(_together(spec, mixed[start : start + spec.score.per_call], stage))
    return planned


def _alone(spec: Spec, item: Item, stage: str) -> Job:
    place = _place(spec, item)
    return _job(stage, place, item.unit_id, item.exemplar_id, item.arm, item.repeat, item.explained_by.text)


def _together(spec: Spec, items: Sequence[Item], stage: str) -> Job:
    key = content_hash([stage, "together", [item.key for item in items]])
    return Job(key, stage, repeat=items[0].repeat, place=_place(spec, items[0]), items=jobs.group(items))


def task_job(scorer: str, step: int, stage: str, unit_id: str, number: int, place: int, explained_by: str = "") -> Job:
    """One question of another scorer, or its task for the subject."""
    key = content_hash([stage, unit_id, f"@{scorer}:{step}", "", number, explained_by])
    return Job(
        key,
        stage,
        unit_id,
        repeat=number,
        explanation_unit_id=explained_by,
        place=place,
        scorer=scorer,
        step=step,
    )


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


def _item(exemplar: Exemplar, arm: Arm, explained_by: ExplanationKey, repeat: int = 0) -> Item:
    return _keyed(Item("", exemplar.unit_id, exemplar.exemplar_id, arm, repeat, explained_by), "score")


def _keyed(item: Item, stage: str) -> Item:
    """The item under the key that its judgement in a stage has: that of the job which asks of it alone."""
    identity = [stage, item.unit_id, item.exemplar_id, str(item.arm), item.repeat, item.explained_by.text]
    return replace(item, key=content_hash(identity))


def _place(spec: Spec, item: Item) -> int:
    identity = [str(spec.units.seed), item.exemplar_id, item.arm.value, item.repeat]
    which = [item.explained_by.text] if item.arm is Arm.VARIANT else []
    return int(content_hash(["place", *identity, *which])[:7], 16)


def _job(
    stage: str, place: int, unit_id: str, exemplar_id: str = "", arm: str = "", repeat: int = 0, explained_by: str = ""
) -> Job:
    key = content_hash([stage, unit_id, exemplar_id, str(arm), repeat, explained_by])
    return Job(key, stage, unit_id, exemplar_id, str(arm), repeat, explained_by, place)
