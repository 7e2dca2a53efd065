"""The jobs of a run and the items that they judge, in an order that mixes units, bins and arms."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from autointerp.hashing import content_hash
from autointerp.ledger import jobs
from autointerp.ledger.jobs import Job
from autointerp.records import COMPARED, PLANTED, Arm, Exemplar, ExplanationKey, Item, Unit, main_exemplars
from autointerp.spec.spec import Spec


def stage_job(stage: str, number: int = 0) -> Job:
    """A job that asks no judge: a whole stage, one round of planning, or one shard of the harvest."""
    return Job(content_hash([stage, number]), stage, place=number)


def explain_jobs(units: Iterable[Unit], compare: Sequence[str] = ()) -> list[Job]:
    """One job for each alive unit, and another for each aid in `compare` if it is a feature or a neuron. Planted units need none."""
    explained = [unit for unit in units if unit.status == "alive" and unit.kind != PLANTED]
    return [
        _job("explain", place, unit.unit_id, arm=aid)
        for aid in ("", *compare)
        for place, unit in enumerate(explained)
        if not aid or unit.kind in COMPARED
    ]


def score_items(spec: Spec, units: Sequence[Unit], exemplars: Mapping[str, Sequence[Exemplar]]) -> list[Item]:
    """The items of every alive unit: its fair sample and the controls. `exemplars` are by unit id."""
    alive = [unit for unit in units if unit.status == "alive"]
    partners = shuffled_partners(alive, spec.units.seed)
    planned: list[Item] = []
    for unit in alive:
        own, main = ExplanationKey(unit.unit_id), main_exemplars(exemplars[unit.unit_id])
        planned += main_items(spec, unit, main)
        planned += [item_of(e, Arm.NEAR, own) for e in exemplars[unit.unit_id] if e.role == "near"]
        partner = partners.get(unit.unit_id)
        if partner:
            planned += [
                item_of(e, Arm.SHUFFLED, ExplanationKey(partner)) for e in across_bins(main, spec.controls.shuffled)
            ]
        silent = [e for e in exemplars[unit.unit_id] if e.role == "quiet"][: spec.controls.base_rate]
        planned += [item_of(e, Arm.BASE_RATE, own) for e in silent]
        beside = [e for e in exemplars[unit.unit_id] if e.role == "neighbour"][: spec.controls.neighbours]
        planned += [item_of(e, Arm.NEIGHBOUR, own) for e in beside]
    return planned


def main_items(spec: Spec, unit: Unit, exemplars: Sequence[Exemplar]) -> Iterator[Item]:
    """A unit's exemplars under its own explanation, once per repeat, and under those made with the aids in `explain.compare`."""
    for exemplar in exemplars:
        for repeat in range(spec.score.repeats):
            yield item_of(exemplar, Arm.MAIN, ExplanationKey(unit.unit_id), repeat)
        if unit.kind in COMPARED:
            for aid in spec.explain.compare:
                yield item_of(exemplar, Arm.VARIANT, ExplanationKey(unit.unit_id, aid))


def repeated_items(spec: Spec, planned: Sequence[Item]) -> list[Item]:
    """Further repeats of `controls.repeated` main items, chosen over units and bins by their hash, to measure the judge's noise.

    Empty if every item is repeated anyway.
    """
    if spec.score.repeats > 1:
        return []
    ordered = sorted((item for item in planned if item.arm is Arm.MAIN), key=lambda item: _place(spec, item))
    return [
        keyed(replace(item, repeat=repeat), "score")
        for item in ordered[: spec.controls.repeated]
        for repeat in range(1, spec.controls.repeats)
    ]


def shuffled_partners(units: Sequence[Unit], seed: int) -> dict[str, str]:
    """For each unit another unit of its kind, each used once: a seeded random cycle. A unit that is alone in its kind has none."""
    partners: dict[str, str] = {}
    for kind in dict.fromkeys(unit.kind for unit in units):
        ids = [unit.unit_id for unit in units if unit.kind == kind]
        random.Random(f"{seed}/{kind}").shuffle(ids)
        if len(ids) > 1:
            partners |= dict(zip(ids, ids[1:] + ids[:1], strict=True))
    return partners


def question_jobs(spec: Spec, items: Sequence[Item], stage: str = "score") -> list[Job]:
    """The jobs that ask about the items, `score.per_call` items per question, mixed over units, bins and arms.

    Repeats of an item are never in the same question, because the answers would not be independent.
    """
    if stage != "score":
        items = [keyed(item, stage) for item in items]
    if spec.score.per_call == 1:
        return [single_item_job(spec, item, stage) for item in items]
    planned: list[Job] = []
    for repeat in sorted({item.repeat for item in items}):
        mixed = sorted((item for item in items if item.repeat == repeat), key=lambda item: _place(spec, item))
        for start in range(0, len(mixed), spec.score.per_call):
            planned.append(_grouped_job(spec, mixed[start : start + spec.score.per_call], stage))
    return planned


def single_item_job(spec: Spec, item: Item, stage: str) -> Job:
    """The job that asks about one item alone."""
    place = _place(spec, item)
    return _job(stage, place, item.unit_id, item.exemplar_id, item.arm, item.repeat, item.explained_by.text)


def _grouped_job(spec: Spec, items: Sequence[Item], stage: str) -> Job:
    key = content_hash([stage, "together", [item.key for item in items]])
    return Job(key, stage, repeat=items[0].repeat, place=_place(spec, items[0]), items=jobs.encode_items(items))


def scorer_job(
    scorer: str, step: int, stage: str, unit_id: str, number: int, place: int, explained_by: str = ""
) -> Job:
    """A question of another scorer, or one step of its tasks for the subject."""
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


def across_bins(exemplars: Sequence[Exemplar], n: int) -> list[Exemplar]:
    """Up to `n` exemplars, taken in turn from every bin, the strongest bin first, so that they span the bins."""
    by_bin: dict[int, list[Exemplar]] = {}
    for exemplar in exemplars:
        by_bin.setdefault(exemplar.bin, []).append(exemplar)
    bins = [by_bin[b] for b in sorted(by_bin, reverse=True)]
    longest = max((len(one) for one in bins), default=0)
    in_turn = [one[turn] for turn in range(longest) for one in bins if turn < len(one)]
    # If `n` is smaller than the number of bins, take every `step`-th bin rather than the strongest ones only.
    step = max(1, len(bins) // n) if n else 1
    first = in_turn[: len(bins)][::step]
    return (first + [exemplar for exemplar in in_turn if exemplar not in first])[:n]


def item_of(exemplar: Exemplar, arm: Arm, explained_by: ExplanationKey, repeat: int = 0) -> Item:
    """An exemplar to be judged under an explanation, with the key of its judgement."""
    return keyed(Item("", exemplar.unit_id, exemplar.exemplar_id, arm, repeat, explained_by), "score")


def keyed(item: Item, stage: str) -> Item:
    """The item with the key of its judgement in a stage: the key of a job that asks about this item alone."""
    identity = [stage, item.unit_id, item.exemplar_id, str(item.arm), item.repeat, item.explained_by.text]
    return replace(item, key=content_hash(identity))


def _place(spec: Spec, item: Item) -> int:
    """Position in the run's order of questions: a hash, so that units, bins and arms are mixed."""
    identity = [str(spec.units.seed), item.exemplar_id, item.arm.value, item.repeat]
    variant = [item.explained_by.text] if item.arm is Arm.VARIANT else []
    return int(content_hash(["place", *identity, *variant])[:7], 16)


def _job(
    stage: str, place: int, unit_id: str, exemplar_id: str = "", arm: str = "", repeat: int = 0, explained_by: str = ""
) -> Job:
    key = content_hash([stage, unit_id, exemplar_id, str(arm), repeat, explained_by])
    return Job(key, stage, unit_id, exemplar_id, str(arm), repeat, explained_by, place)
