"""Judge drift: the same questions, the anchors, are asked every night, so that a change of their grades is the judge's.

The anchors are chosen from the first night's judgements, equally many of each grade if possible, and then asked again at once.
The grades by which they were chosen are biased towards the extremes (selection on a noisy value), so only answers given after
the choice can be compared with later ones.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date as date_
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection

from autointerp.calls import server_probe
from autointerp.calls.answers import Answer
from autointerp.calls.caller import Caller, Postponed
from autointerp.errors import AutointerpError
from autointerp.hashing import content_hash
from autointerp.judges.base import Judge
from autointerp.judges.limits.limiter import Aborted
from autointerp.judges.registry import open_judge
from autointerp.ledger import calls, judgements, nights, runs
from autointerp.ledger.budgets import Limits, NotRunning
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.nights import Anchor
from autointerp.messages import MarkedText, ScoreMaterial
from autointerp.prompts import single_grade
from autointerp.records import ExplanationKey, Outcome
from autointerp.spec import rubric as rubric_
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec
from autointerp.stats import trend
from autointerp.stats.trend import Change


@dataclass(frozen=True)
class Drift:
    """A judge's grades of the anchors by night, or why there are none.

    A judge that is not an LLM always gives the same answer, so its drift is 0 by construction.
    """

    judge: str
    is_llm: bool
    grades: dict[str, dict[int, int]]
    """Grades by night and anchor number."""
    anchors: tuple[Anchor, ...] = ()
    missing: str = ""
    """Why the drift could not be measured; empty if it was."""

    def between(self, before: str, now: str, shares: Mapping[int, float] | None = None) -> Change | None:
        """The mean change of grades from one night to another; None if it was not measured.

        All anchors weigh the same, unless `shares` gives each grade's share of a population of judgements to reweight to.
        """
        if not self.is_llm or before == now:
            return Change(0.0, 0.0, 0.0, 0)
        if self.missing or before not in self.grades or now not in self.grades:
            return None
        units = {anchor.number: anchor.unit_id for anchor in self.anchors}
        strata = {anchor.number: anchor.grade for anchor in self.anchors}
        weights = None if shares is None else trend.population_weights(strata, shares)
        return trend.judge_drift(self.grades[before], self.grades[now], units, weights)

    @property
    def first_night(self) -> str:
        """The first night with grades; empty if there is none."""
        return min(self.grades, default="")


def measure(
    ledger: Ledger, template: Spec, date: str, results: Path, run_ids: Sequence[str], n: int, limits: Limits
) -> Drift:
    """Ask tonight's anchors, after choosing them from the given runs if there are none yet.

    Questions that were asked on this date are not asked again. If the judge cannot be asked, the drift is unknown and the night
    continues.
    """
    rubric = rubric_.load(template.score.rubric)
    judge = open_judge(template.judge, rubric)
    try:
        if not judge.is_llm or not n:
            return Drift(judge.name, judge.is_llm, {}, missing="" if n else "no anchors: night.anchors = 0")
        set_ = anchor_set_key(template, rubric, n)
        chosen = _anchors(ledger, set_, results, run_ids, n)
        if not chosen:
            return Drift(judge.name, True, {}, missing="no judgements to choose anchors from")
        with ledger.write() as tx:
            nights.add_anchors(tx, set_, date, chosen)
        missing = _ask(ledger, judge, template, rubric, set_, date, chosen, limits)
    finally:
        judge.close()
    grades: dict[str, dict[int, int]] = defaultdict(dict)
    with ledger.read() as tx:
        for night, number, _, grade in nights.anchor_scores(tx, set_):
            grades[night][number] = grade
    return Drift(judge.name, True, dict(grades), tuple(chosen), missing)


def anchor_set_key(template: Spec, rubric: Rubric, n: int) -> str:
    """Hash of what must stay equal from night to night: the judge, the rubric and the number of anchors."""
    return content_hash([template.identity()["judge"], rubric.hash, n])


def choose(rows: Sequence[dict[str, object]], n: int) -> list[dict[str, object]]:
    """Choose up to `n` graded judgements: round-robin over grades, each time of a unit with the fewest so far."""
    shuffled = sorted(rows, key=lambda row: str(row["job_key"]))
    random.Random(0).shuffle(shuffled)
    by_grade: dict[object, list[dict[str, object]]] = defaultdict(list)
    for row in shuffled:
        by_grade[row["score"]].append(row)
    used: dict[object, int] = defaultdict(int)
    chosen: list[dict[str, object]] = []
    while len(chosen) < n and any(by_grade.values()):
        for grade in sorted(by_grade, key=str):
            if by_grade[grade] and len(chosen) < n:
                row = min(by_grade[grade], key=lambda candidate: used[candidate["unit_id"]])
                by_grade[grade].remove(row)
                used[row["unit_id"]] += 1
                chosen.append(row)
    return chosen


def _anchors(ledger: Ledger, set_: str, results: Path, run_ids: Sequence[str], n: int) -> list[Anchor]:
    """The set's anchors: the stored ones, else chosen from the first run that has graded judgements."""
    with ledger.read() as tx:
        if stored := nights.anchors_of(tx, set_):
            return stored
    for run_id in run_ids:
        with ledger.read() as tx:
            graded = [r for r in judgements.judgement_rows(tx, run_id) if r["score"] is not None and r["repeat"] == 0]
            explanations = judgements.explanations_of(tx, run_id)
        chosen = choose(graded, n)
        if chosen:
            columns = ["exemplar_id", "tokens", "mark"]
            table = pd.read_parquet(results / run_id / "exemplars.parquet", columns=columns)
            windows = {row["exemplar_id"]: (tuple(row["tokens"]), int(row["mark"])) for row in table.to_dict("records")}
            return [
                Anchor(
                    i,
                    str(r["unit_id"]),
                    int(str(r["score"])),
                    explanations[ExplanationKey.parse(str(r["explanation_unit_id"]))].text,
                    *windows[str(r["exemplar_id"])],
                )
                for i, r in enumerate(chosen)
            ]
    return []


def _ask(
    ledger: Ledger, judge: Judge, template: Spec, rubric: Rubric, set_: str, date: str, chosen: Sequence[Anchor], limits: Limits
) -> str:  # fmt: skip
    """Ask all anchors, under a run of their own that the night pays for. Returns why some could not be asked, or an empty string."""
    run_id = f"anchors-{date}-{set_[:8]}"
    with ledger.write() as tx:
        calls.write_off(tx, run_id)
        runs.register(
            tx, run_id=run_id, name="anchors", spec_hash=template.hash(), spec=template.to_toml(), night=date
        )  # fmt: skip
    caller = Caller(ledger, run_id, judge, template.judge, limits)
    repeat, how = date_.fromisoformat(date).toordinal(), template.score.ask

    def ask(anchor: Anchor) -> None:
        def conclude(tx: Connection, answer: Answer[single_grade.Grade]) -> None:
            grade = answer.value.score if answer.value else None
            outcome = Outcome(answer.outcome).value
            nights.answer_anchor(
                tx, set_, anchor.number, date, outcome=outcome, score=grade, call_key=answer.call_key
            )  # fmt: skip

        material = ScoreMaterial(anchor.explanation, MarkedText(anchor.tokens, anchor.mark))
        prompt = single_grade.prompt(rubric, material, template.judge.max_output_tokens, how)
        server_probe.settle(caller, template.judge)
        job = Job(content_hash(["anchor", set_, anchor.number, date]), "anchor", anchor.unit_id, repeat=repeat)
        caller.ask(prompt, lambda text: single_grade.parse(rubric, text, how), job, repeat, conclude)

    problem = _ask_all(caller, ask, chosen)
    with ledger.write() as tx:
        runs.set_state(tx, run_id, "stopped" if problem else "done", problem)
    return problem


def _ask_all(caller: Caller, ask: Callable[[Anchor], None], chosen: Sequence[Anchor]) -> str:
    with ThreadPoolExecutor(caller.concurrency, thread_name_prefix="anchors") as pool:
        problem = ""
        for future in [pool.submit(ask, anchor) for anchor in chosen]:
            try:
                future.result()
            except (AutointerpError, Postponed, NotRunning) as error:
                problem = problem or f"not all anchors could be asked: {error}"
                caller.abort()
            except Aborted:
                continue
    return problem
