"""Asks the judge whether explanations fit units that they were not written for, without making them labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from autointerp.explorer.labels import grading
from autointerp.explorer.labels.grading import Judged, Texts
from autointerp.explorer.labels.labeller import Labeller
from autointerp.ledger import judgements
from autointerp.progress import OnProgress, quiet
from autointerp.questions import planned_jobs
from autointerp.spec.spec import Spec

Pair = tuple[int, str]
"""The row of a unit, and an explanation."""
EXAMPLES_PER_BIN, SILENT = 1, 4
"""What is graded of a pair: examples of each activation bin, and windows in which the unit is silent."""
ITEMS_PER_CALL = 8
"""Least number of items in one question, because there are many: the instructions are sent once for all."""
_RIGHT, _MARGIN = 0.5, 0.25
"""Least grade of a right explanation, and how far it has to be above the grade where the unit is silent, as shares of the best grade."""


def checking(spec: Spec) -> Spec:
    """The spec with as few items as are needed to say whether an explanation fits."""
    per_call, ask = max(ITEMS_PER_CALL, spec.score.per_call), spec.score.ask
    ask = "grade" if ask == "logprobs" else ask  # probabilities are those of one item
    score = spec.score.model_copy(update={"per_bin": EXAMPLES_PER_BIN, "repeats": 1, "per_call": per_call, "ask": ask})
    controls = spec.controls.model_copy(update={"shuffled": 0, "base_rate": SILENT})
    return spec.model_copy(update={"score": score, "controls": controls})


def fits(labeller: Labeller, pairs: Sequence[Pair], on_progress: OnProgress = quiet) -> dict[Pair, bool]:
    """Whether each explanation fits its unit; pairs that could not be graded are left out.

    It fits if its mean grade over the unit's examples is at least half of the best one, and higher by a quarter than where the unit is silent:
    an explanation that fits any text fits no unit. Raises as `Labeller.grade`; answers so far are kept for the next call.
    """
    texts = Texts(labeller.index)
    able = [pair for pair in dict.fromkeys(pairs) if not labeller.why_not(pair[0])]
    judged = [grading.judged(labeller.windows, texts, row, text) for row, text in able]
    items = {item.key: item for one in judged for item in one.items}
    run = labeller.run_of(sorted({row for row, _ in able}))
    planned = planned_jobs.question_jobs(labeller.spec, list(items.values()))
    labeller.account.ask(run, "score", planned, grading.explanations(judged), on_progress)
    with labeller.ledger.read() as tx:
        found = judgements.judgements_of(tx, labeller.run_id, list(items))
    best = labeller.rubric.grades[-1]
    answers: dict[Pair, bool] = {}
    for together in _of_different_units(judged):
        graded = grading.grades(labeller.windows, together, found)
        for one in together:
            columns: Mapping[str, float | None] = graded.get(one.row, {})
            if (grade := columns.get("grade")) is not None:
                answers[one.row, one.text] = is_right(grade, columns.get("silent_grade"), best)
    return answers


def _of_different_units(judged: Sequence[Judged]) -> list[list[Judged]]:
    """The judged explanations in groups, none of which has two of one unit."""
    groups: list[list[Judged]] = []
    taken: Counter[int] = Counter()
    for one in judged:
        place = taken[one.row]
        taken[one.row] += 1
        if place == len(groups):
            groups.append([])
        groups[place].append(one)
    return groups


def is_right(grade: float, silent: float | None, best: int) -> bool:
    """Whether an explanation with these mean grades is right for a unit, given the best grade of the rubric."""
    return grade >= _RIGHT * best and (silent is None or grade - silent >= _MARGIN * best)
