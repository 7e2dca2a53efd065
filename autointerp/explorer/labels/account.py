"""The row of the ledger in which an index's questions are counted: one process at a time asks them, within what may be spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from autointerp.errors import BudgetExceeded, UsageError, exit_code_of
from autointerp.explorer.index.folder import IndexFolder
from autointerp.formatting import dollars
from autointerp.hashing import content_hash
from autointerp.judges import prices
from autointerp.judges.base import Judge
from autointerp.judges.limits.limiter import LocalLimiter
from autointerp.judges.registry import Judges, open_judge
from autointerp.ledger import jobs, judgements, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.run_lock import row_lock
from autointerp.pipeline import local
from autointerp.progress import OnProgress, Progress
from autointerp.questions import handlers
from autointerp.run import Run
from autointerp.spec.providers import is_llm
from autointerp.spec.rubric import Rubric
from autointerp.spec.sections import Budget
from autointerp.spec.spec import Spec

LOCK = ".asking.lock"


class Account:
    """Asks the judges of a spec about an index. `usd` is what may be spent from now on, in dollars."""

    def __init__(self, index: IndexFolder, spec: Spec, rubric: Rubric, ledger: Ledger, usd: float | None) -> None:
        self.index, self.spec, self.rubric, self.ledger, self.usd = index, spec, rubric, ledger, usd
        self.run_id = self._row_of_ledger(index)
        self._before = self._committed()

    @property
    def spent_usd(self) -> float:
        """Dollars since this object was made; calls whose cost is unknown count with their upper bound."""
        return self._committed() - self._before

    @property
    def budget(self) -> Budget:
        """The budget of the row, which includes what was spent before."""
        return Budget(usd=None if self.usd is None else self._before + self.usd)

    def open(self) -> tuple[Judge | None, Judge | None, str]:
        """The explainer and the judge, or None and why one cannot be asked."""
        try:
            judges = self.judges()
        except UsageError as error:
            return None, None, str(error)
        return judges.explainer, judges.judge, ""

    def judges(self) -> Judges:
        """The explainer and the judge. Raises `UsageError`, as for a missing key, or for a price that is not known and has a limit."""
        for settings in (self.spec.explained_by, self.spec.judge):
            unknown = is_llm(settings.model) and prices.price_of(settings.model, settings) is None
            if self.usd is not None and unknown:
                raise UsageError(
                    f"--usd = {self.usd:g} cannot be kept: no price is known for {settings.model}; give judge.input_usd_per_mtok and"
                    " judge.output_usd_per_mtok in the spec of the run"
                )
        judge = open_judge(self.spec.judge, self.rubric)
        same = self.spec.explained_by == self.spec.judge
        return Judges(judge if same else open_judge(self.spec.explained_by, self.rubric), judge)

    def ask(
        self, run: Run, stage: str, planned: Sequence[Job], shown: handlers.Explanations, on_progress: OnProgress
    ) -> None:
        """Do the jobs of a stage that are not done."""
        if not planned:
            return
        with self._holding(run):
            judges = self.judges()
            with self.ledger.write() as tx:
                judgements.withdraw(tx, self.run_id, judgements.failed(tx, self.run_id))
                jobs.delete_unasked(tx, self.run_id)
                jobs.plan(tx, self.run_id, planned)
                done = jobs.counts(tx, self.run_id).get(stage, {}).get("done", 0)
            try:
                judge = judges.explainer if stage == "explain" else judges.judge
                limiters = {settings: LocalLimiter.of(settings) for settings in run.spec.judges}
                local.ask_stage(run, self.ledger, _Told(on_progress, done), judge, stage, shown, limiters)
            except BudgetExceeded as error:
                raise self._over(error) from None
            finally:
                judges.close()

    @contextmanager
    def _holding(self, run: Run) -> Iterator[None]:
        """Within the block this process alone asks about the index, and the ledger says so."""
        what = f"the labels of {self.index.about.name}"
        with row_lock(self.ledger, self.index.path / LOCK, self.run_id, what):
            with self.ledger.write() as tx:
                name, spec = run.spec.name, run.spec
                runs.register(
                    tx, run_id=self.run_id, name=name, spec_hash=spec.hash(), spec=spec.to_toml(), carrier="explorer"
                )
                local.release_held(tx, self.run_id)
            try:
                yield
            except BaseException as error:
                with self.ledger.write() as tx:
                    runs.stop(tx, self.run_id, str(error) or type(error).__name__, exit_code_of(error))
                raise
            with self.ledger.write() as tx:
                runs.set_state(tx, self.run_id, "done")

    def _committed(self) -> float:
        with self.ledger.read() as tx:
            row = runs.get(tx, self.run_id)
        return 0.0 if row is None else float(row["spent_usd"] + row["reserved_usd"] + row["lost_usd"])

    def _over(self, error: BudgetExceeded) -> BudgetExceeded:
        """The error of a budget by the name that it has here."""
        if self.usd is None or not str(error).startswith("budget.usd"):
            return error
        return BudgetExceeded(
            f"--usd = {self.usd:g} could be exceeded by the next call: {dollars(self.spent_usd)} spent; give more, and ask again:"
            " what was paid for is kept"
        )

    def _row_of_ledger(self, index: IndexFolder) -> str:
        """The id of the row that pays: one for an index, judges and wording, so that equal questions have equal keys."""
        spec, about = self.spec, index.about
        decides = [
            section.model_dump(mode="json", by_alias=True) for section in (spec.explain, spec.score, spec.controls)
        ]
        judges = [{"model": each.model, "base_url": each.base_url} for each in (spec.explained_by, spec.judge)]
        key = content_hash([about.identity, decides, judges, self.rubric.hash])[:10]
        return f"explorer-{(about.run or about.name)[:70]}-{key}"


class _Told(Progress):
    """A stage's progress as calls of `on_progress`: those jobs that were done before are not counted."""

    def __init__(self, on_progress: OnProgress, before: int) -> None:
        super().__init__(quiet=True)
        self._on_progress, self._before = on_progress, before

    def update(self, phase: str, done: int, total: int, *, spent_usd: float | None = None) -> None:
        """Tell it."""
        super().update(phase, done, total, spent_usd=spent_usd)
        self._on_progress(phase, max(0, done - self._before), max(0, total - self._before))
