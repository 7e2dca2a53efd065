"""Explains and grades any units of an index: the price first, then the questions, then `labels.parquet`.

The prompts, the parsing, the retries, the budget and the ledger are a run's: the units of the index are put to them as those of a run.
Answers are in the ledger as they arrive, so that an interrupted call loses nothing that was paid for and the same call continues.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autointerp.costs import stand_ins
from autointerp.explorer.index.folder import LABELS, IndexFolder
from autointerp.explorer.index.labels import put
from autointerp.explorer.index.schema import LIVE
from autointerp.explorer.labels import grading
from autointerp.explorer.labels.account import Account
from autointerp.explorer.labels.grading import Judged, Texts
from autointerp.explorer.labels.price import (
    FREE,
    TRIES_OF_GROUP,
    TRIES_TO_EXPLAIN,
    Asked,
    Price,
    StagePrice,
    price_of,
    total,
)
from autointerp.explorer.labels.windows import ByUnit, Windows
from autointerp.formatting import plural
from autointerp.harvest import explainer_windows
from autointerp.ledger import judgements
from autointerp.ledger.database import Ledger
from autointerp.messages import Prompt
from autointerp.progress import OnProgress, quiet
from autointerp.prompts import explanation as explanation_prompt
from autointerp.questions import handlers, planned_jobs
from autointerp.records import Aids, Exemplar, ExplanationKey, Unit
from autointerp.run import Run
from autointerp.spec import rubric
from autointerp.spec.providers import is_llm
from autointerp.spec.spec import Spec, load

MOST_PRICED = 512
"""Units whose questions are all made for a price; of more, as many are a sample."""
Label = dict[str, Any]
"""A row of `labels.parquet`."""


@dataclass(frozen=True)
class Labelled:
    """The labels that were made, by row of the index, and why other rows have none."""

    labels: Mapping[int, Label] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)


def spec_of_run(run: Path) -> Spec:
    """The spec of a finished run, in its folder. Raises `UsageError`."""
    return load(run / "spec.toml")


class Labeller:
    """Asks the judges of a spec about units of an index, given by their rows.

    `usd` is what may be spent from now on, in dollars: a call that could exceed it is not made. Every method may be called again; one process
    at a time asks about an index. Raises `UsageError` for an index that cannot be read.
    """

    def __init__(self, index: IndexFolder, spec: Spec, ledger: Ledger, *, usd: float | None = None) -> None:
        aids = {"contrast": 0, "neighbours": 0, "compare": (), "revise": False}
        self.index, self.ledger = index, ledger
        self.spec = spec.model_copy(update={"explain": spec.explain.model_copy(update=aids)})
        self.rubric = rubric.load(spec.score.rubric)
        self.windows = Windows(index, self.spec)
        self.account = Account(index, self.spec, self.rubric, ledger, usd)
        self.run_id = self.account.run_id
        self._left_out = [f"explain.{name}" for name in aids if getattr(spec.explain, name)]

    @property
    def spent_usd(self) -> float:
        """Dollars since this object was made; calls whose cost is unknown count with their upper bound."""
        return self.account.spent_usd

    def price(self, rows: Sequence[int], *, explain: bool = True, grade: bool = True) -> Price:
        """What explaining the units costs, and what grading their explanations costs. Asks nobody.

        Exact for up to `MOST_PRICED` rows, except that an explanation which is not there yet has a usual length.
        """
        sample = sorted(random.Random(0).sample(list(rows), min(len(rows), MOST_PRICED)))
        alive = [row for row in sample if not self.why_not(row)]
        scale = len(rows) / max(1, len(sample))
        explainer, judge, problem = self.account.open()
        stages: list[StagePrice] = []
        n_questions = 0
        try:
            if explain and alive:
                prompts = [self._explaining(row) for row in alive]
                asked = Asked(self.spec.explained_by, prompts, round(scale * len(prompts)), TRIES_TO_EXPLAIN)
                stages.append(price_of(asked, "explain", self.ledger, self.run_id, explainer))
                n_questions += asked.n
            if grade and alive:
                asked = self._graded(alive, scale, known=not explain)
                stages.append(price_of(asked, "score", self.ledger, self.run_id, judge))
                n_questions += asked.n
        finally:
            for opened in {id(each): each for each in (explainer, judge) if each is not None}.values():
                opened.close()
        asks = ([self.spec.explained_by.model] if explain else []) + ([self.spec.judge.model] if grade else [])
        return Price(
            self.spec.explained_by.model, self.spec.judge.model, round(scale * len(alive)), n_questions,
            sum(stage.calls for stage in stages), sum(stage.input_tokens for stage in stages),
            sum(stage.output_tokens for stage in stages), total([stage.usd for stage in stages or [FREE]]),
            total([stage.most_usd for stage in stages or [FREE]]), any(is_llm(model) for model in asks), problem,
            tuple(self._notes(rows, sample, alive)),
        )  # fmt: skip

    def explain(self, rows: Sequence[int], on_progress: OnProgress = quiet) -> Labelled:
        """Ask the explainer about units, and add their explanations to the labels. `on_progress` gets the units done, and may raise to stop.

        Raises `BudgetExceeded`, `ProviderStopped`, `UsageError` for a missing key or an index that another process asks about, and the error
        of `on_progress`; explanations that are there by then are labels.
        """
        failed = {row: why for row in rows if (why := self.why_not(row))}
        run = self.run_of([row for row in rows if row not in failed])
        made: dict[int, Label] = {}
        try:
            planned = planned_jobs.explain_jobs(run.units.values())
            self.account.ask(run, "explain", planned, {}, on_progress)
        finally:
            with self.ledger.read() as tx:
                known = judgements.explanations_of(tx, self.run_id)
            for unit_id in run.units:
                found, row = known.get(ExplanationKey(unit_id)), self.windows.row_of(unit_id)
                if found is not None and found.text:
                    made[row] = self._label(row, found.text)
                elif found is not None:
                    failed[row] = found.reason or found.outcome.value
            self._keep(made, keeps_grades=True)
        return Labelled(made, failed)

    def grade(
        self, rows: Sequence[int], on_progress: OnProgress = quiet, texts: Mapping[int, str] | None = None
    ) -> Labelled:
        """Ask the judge about explanations of units on held-out examples, and add their grades to the labels.

        `texts` holds the explanations by row; by default each unit's leading one is graded. Raises as `explain`; units that are fully judged by
        then are labels.
        """
        failed = {row: why for row in rows if (why := self.why_not(row))}
        known, made = Texts(self.index), dict[int, Label]()
        all_judged: list[Judged] = []
        for row in rows:
            text = (texts or {}).get(row) or known.leading(row)
            if row not in failed and not text:
                failed[row] = "it has no explanation to grade: explain it first"
            elif row not in failed and text:
                all_judged.append(grading.judged(self.windows, known, row, text))
        run = self.run_of([one.row for one in all_judged])
        items = [item for one in all_judged for item in one.items]
        try:
            planned = planned_jobs.question_jobs(self.spec, items)
            self.account.ask(run, "score", planned, grading.explanations(all_judged), on_progress)
        finally:
            with self.ledger.read() as tx:
                found = judgements.judgements_of(tx, self.run_id, [item.key for item in items])
            complete = [one for one in all_judged if all(item.key in found for item in one.items)]
            scores = grading.grades(self.windows, complete, found)
            for one in complete:
                columns = scores.get(one.row, {})
                if columns.get("grade") is None:
                    reasons = [found[item.key]["reason"] for item in one.items]
                    failed[one.row] = next(filter(None, reasons), "none of its examples could be graded")
                else:
                    made[one.row] = self._label(one.row, one.text) | {"judge": self.spec.judge.model} | columns
            self._keep(made)
        return Labelled(made, failed)

    def _keep(self, made: Mapping[int, Label], *, keeps_grades: bool = False) -> None:
        """Add labels in place of live ones of the same texts; with `keeps_grades` those are kept instead."""
        texts = {(row, label["explanation"]) for row, label in made.items()}
        known: set[tuple[int, str]] = set()

        def same(table: pa.Table) -> pa.Array:
            near = pc.and_(pc.equal(table["source"], LIVE), pc.is_in(table["row"], pa.array(list(made), pa.int32())))
            mask = near.to_numpy().astype(bool)
            places = np.flatnonzero(mask)
            pairs = table.select(["row", "explanation"]).take(places).to_pylist()
            mask[places] = [(pair["row"], pair["explanation"]) in texts for pair in pairs]
            return pa.array(mask)

        if not made:
            return
        if keeps_grades:
            before = self.index.table(LABELS, ["row", "explanation", "source"])
            known = {(each["row"], each["explanation"]) for each in before.filter(same(before)).to_pylist()}
            texts -= known
        new = [label for row, label in made.items() if (row, label["explanation"]) not in known]
        if new:
            put(self.index, new, same)

    def _label(self, row: int, text: str) -> Label:
        return {"row": row, "explanation": text, "source": LIVE, "judge": "", "explainer": self.spec.explained_by.model}

    def why_not(self, row: int) -> str:
        """Why a unit cannot be asked about; empty if it can."""
        unit = self.windows.unit(row)
        if unit.status == "dead":
            return "it is never active"
        least = self.spec.explain.min_exemplars
        return (
            "" if unit.status == "alive" else f"too few documents have examples of it (explain.min_exemplars = {least})"
        )

    def run_of(self, rows: Sequence[int]) -> Run:
        """The units of the index as those of a run; `rows` are asked about."""
        windows, unit_ids = self.windows, [self.windows.unit_id(row) for row in rows]

        def by_unit(make: Any) -> ByUnit[Any]:
            return ByUnit(make, windows.row_of, unit_ids)

        units: ByUnit[Unit] = by_unit(windows.unit)
        exemplars: ByUnit[Sequence[Exemplar]] = by_unit(windows.exemplars)
        aids: ByUnit[Aids] = by_unit(windows.aids)
        spec = self.spec.model_copy(update={"budget": self.account.budget})
        path = self.index.path
        return Run(self.run_id, spec, self.rubric, path, path, {}, units, exemplars, aids=aids)

    def _explaining(self, row: int) -> Prompt:
        """The first question to the explainer about a unit, as `handlers.explanation_of` puts it."""
        unit, counts = self.windows.unit(row), explainer_windows.requested_aids(self.spec)
        shown = explanation_prompt.material(
            self.windows.exemplars(row), unit.max_activation, self.windows.aids(row).only(counts)
        )
        return explanation_prompt.prompt(self.rubric, shown, self.spec.explained_by.max_output_tokens)

    def _graded(self, rows: Sequence[int], scale: float, *, known: bool) -> Asked:
        """The questions to the judge. An explanation that is not there yet is replaced by one of usual length."""
        texts, per_call = Texts(self.index), self.spec.score.per_call
        explained = {} if known else self._explanations()
        said = (texts.leading(row) if known else explained.get(row) for row in rows)
        all_judged = [
            grading.judged(self.windows, texts, row, text or stand_ins.EXPLANATION)
            for row, text in zip(rows, said, strict=True)
        ]
        run, shown = self.run_of(rows), grading.explanations(all_judged)
        items = [item for one in all_judged for item in one.items]
        planned = planned_jobs.question_jobs(self.spec, items)
        questions = [handlers.question(run, job, shown) for job in planned]
        prompts = [question.prompt for question in questions if question is not None]
        n, n_items = round(scale * len(prompts)), round(scale * len(items))
        tries, alone = (1, 0) if per_call == 1 else (TRIES_OF_GROUP, n_items)
        return Asked(self.spec.judge, prompts, n, tries, alone)

    def _explanations(self) -> dict[int, str]:
        """The explanations that were made here, by row."""
        with self.ledger.read() as tx:
            known = judgements.explanations_of(tx, self.run_id)
        return {self.windows.row_of(key.unit_id): found.text for key, found in known.items() if found.text}

    def _notes(self, rows: Sequence[int], sample: Sequence[int], alive: Sequence[int]) -> Iterator[str]:
        if len(sample) < len(rows):
            yield f"estimated from {len(sample):,} of them"
        if missing := len(sample) - len(alive):
            yield f"{plural(missing, 'unit')} of {len(sample):,} without enough examples: not asked about"
        if self._left_out:
            yield f"an index has no material for {', '.join(self._left_out)}: asked without"
        if self.spec.explained_by.transport == "batch" or self.spec.judge.transport == "batch":
            yield "in batches, which take up to a day"
