"""Runners of a night's runs: this process, one run after the other, or the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from autointerp.calls.cost_limits import price_within, run_limits
from autointerp.costs import bounds, run_forecast
from autointerp.judges import cost_model, registry
from autointerp.ledger import calls, runs
from autointerp.ledger.database import Ledger
from autointerp.progress import Progress
from autointerp.run import Run
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec


class Runner(Protocol):
    """Executes the runs of a night."""

    @property
    def survives_exit(self) -> bool:
        """Whether its runs continue when this process ends."""
        ...

    def prefetch(self, specs: Sequence[Spec]) -> None:
        """Do the work that the runs share. Called once, with all runs that a night may start, before the first."""
        ...

    def forecast(self, spec: Spec) -> float | None:
        """Expected cost of a run in dollars; None if a price is unknown. Raises `UsageError` and `SaeError`."""
        ...

    def execute(self, spec: Spec, night: str) -> str:
        """Run a spec to its end, or submit it, and return the run's id. Raises `AutointerpError` and `SaeError`."""
        ...


class LocalRunner:
    """Runs each spec to its end in this process. Its forecast is exact, because it harvests first, which costs nothing."""

    survives_exit = False

    def __init__(
        self,
        ledger: Ledger,
        results: Path,
        progress: Progress,
        judges: Callable[[Spec, Rubric], registry.Judges] = registry.Judges.open,
    ) -> None:
        self.ledger, self.results, self.progress, self.judges = ledger, results, progress, judges
        self._prepared: tuple[Spec, Run] | None = None

    def prefetch(self, specs: Sequence[Spec]) -> None:
        """Harvest dictionaries that share a subject and a corpus in one pass."""
        from autointerp.pipeline.prepare import harvest_together  # torch

        harvest_together(specs, self.results, self.progress, self.ledger)

    def forecast(self, spec: Spec) -> float | None:
        return run_forecast.forecast(self._prepare(spec), self.ledger).usd

    def execute(self, spec: Spec, night: str) -> str:
        from autointerp.pipeline import local  # torch

        run = self._prepare(spec)
        with self.ledger.write() as tx:
            runs.register(
                tx, run_id=run.run_id, name=spec.name, spec_hash=spec.hash(), spec=spec.to_toml(), night=night
            )  # fmt: skip
        judges = self.judges(spec, run.rubric)
        local.execute_run(run, self.ledger, self.progress, judges=judges, command=["autointerp", "run", "spec.toml"])
        return run.run_id

    def _prepare(self, spec: Spec) -> Run:
        from autointerp.pipeline.prepare import prepare  # torch

        if self._prepared is None or self._prepared[0] != spec:
            self._prepared = None
            self._prepared = spec, prepare(spec, self.results, self.progress, self.ledger)
        return self._prepared[1]


class FleetRunner:
    """Submits runs to the workers, by a function of a spec and a night that returns the run's id."""

    survives_exit = True

    def __init__(self, ledger: Ledger, submit: Callable[[Spec, str], str]) -> None:
        self.ledger, self._submit = ledger, submit

    def prefetch(self, specs: Sequence[Spec]) -> None:
        """Do nothing: workers find runs that can share a pass by themselves."""

    def forecast(self, spec: Spec) -> float | None:
        return upper_bound_usd(spec, self.ledger)

    def execute(self, spec: Spec, night: str) -> str:
        return self._submit(spec, night)


def upper_bound_usd(spec: Spec, ledger: Ledger) -> float | None:
    """Cost of a run before its harvest, as if every unit were alive and every bin full; calls are as long as earlier ones.

    In dollars; None if a price is unknown. Raises `UsageError` for an unknown price with a budget.
    """
    limits = run_limits(spec)
    for settings in spec.judges:
        price_within(settings, limits)
    with ledger.read() as tx:
        stages = bounds.bounds(
            spec, lambda judge, stage: calls.latest_measured(tx, judge.model, stage, cost_model.SAMPLE)
        )
    return bounds.usual_usd(stages)
