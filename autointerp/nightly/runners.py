"""Who carries a night's runs: this process, one after the other, or the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from autointerp.calls.cost_limits import price_within, run_limits
from autointerp.costs import bounds, run_forecast
from autointerp.judges import cost_model, registry
from autointerp.ledger import calls, runs
from autointerp.ledger.database import Ledger
from autointerp.pipeline import local
from autointerp.progress import Progress
from autointerp.run import Run
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec


class Carrier(Protocol):
    """Takes a spec to its report, or on the way there."""

    @property
    def lasting(self) -> bool:
        """Whether its runs go on when this process ends."""
        ...

    def expect(self, specs: Sequence[Spec]) -> None:
        """Hear of all runs that a night may begin, before the first: what they share can be done once."""
        ...

    def forecast(self, spec: Spec) -> float | None:
        """Dollars that the run will ask for; None where a price is unknown. Raises `UsageError` and `SaeError`."""
        ...

    def carry(self, spec: Spec, night: str) -> str:
        """Begin the run, or take it to its end, and return its id. Raises `AutointerpError` and `SaeError`."""
        ...


class Local:
    """Carries each run to its end in this process. Its forecast is exact: it harvests first, which costs no money."""

    lasting = False

    def __init__(
        self,
        ledger: Ledger,
        results: Path,
        progress: Progress,
        judges: Callable[[Spec, Rubric], registry.Judges] = registry.Judges.open,
    ) -> None:
        self.ledger, self.results, self.progress, self.judges = ledger, results, progress, judges
        self._prepared: tuple[Spec, Run] | None = None

    def expect(self, specs: Sequence[Spec]) -> None:
        from autointerp.pipeline.prepare import harvest_together  # torch

        harvest_together(specs, self.results, self.progress)

    def forecast(self, spec: Spec) -> float | None:
        return run_forecast.forecast(self._prepare(spec), self.ledger).usd

    def carry(self, spec: Spec, night: str) -> str:
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
            self._prepared = spec, prepare(spec, self.results, self.progress)
        return self._prepared[1]


class Fleet:
    """Hands runs to the workers through `submit`, a function of a spec and a night that returns the run's id."""

    lasting = True

    def __init__(self, ledger: Ledger, submit: Callable[[Spec, str], str]) -> None:
        self.ledger, self._submit = ledger, submit

    def expect(self, specs: Sequence[Spec]) -> None:
        """Nothing to do: workers look for runs that can share a pass."""

    def forecast(self, spec: Spec) -> float | None:
        return usd_at_most(spec, self.ledger)

    def carry(self, spec: Spec, night: str) -> str:
        return self._submit(spec, night)


def usd_at_most(spec: Spec, ledger: Ledger) -> float | None:
    """Dollars of a run before its harvest: as if every unit were alive and every bin full, estimated from earlier calls.

    None if a price is unknown. Raises `UsageError` for an unknown price under a budget.
    """
    limits = run_limits(spec)
    for settings in spec.judges:
        price_within(settings, limits)
    with ledger.read() as tx:
        stages = bounds.bounds(spec, lambda judge, stage: calls.latest(tx, judge.model, stage, cost_model.SAMPLE))
    costs = [stage.usual_usd for stage in stages]
    return None if None in costs else sum(cost for cost in costs if cost is not None)
