"""The tasks: each is told of a run that may have work, and ends when it finds none or has worked for its share of time."""

from __future__ import annotations

from workers import context, nightly, reconcile, runner
from workers.app import app

ACTIVATIONS_S, JUDGE_S, AGGREGATE_S = 300.0, 30.0, 30.0
"""Seconds of one task, which then makes way for other runs. The longest job begun within them ends long before Redis hands the
message out again."""


def publish(task: str, key: str) -> None:
    """Send a hint: a task's name without its prefix, and a run or batch."""
    app.send_task(f"autointerp.{task}", [key])


def go_on(queue: str, run_id: str, ended: runner.Ended) -> None:
    """Say where a run goes on, as far as this task knows; the reconciler says the rest."""
    if ended == "more":
        publish(queue, run_id)
    elif ended == "moved":
        reconcile.hint_next(context.current(), run_id, publish)


@app.task(name="autointerp.activations")
def activations(run_id: str) -> None:
    """Open a run's inputs, read shards of its corpus, merge them; read what judges wrote."""
    ended = runner.stages(context.current(), run_id, ("prepare", "harvest", "merge", "probe"), ACTIVATIONS_S)
    go_on("activations", run_id, ended)


@app.task(name="autointerp.judge")
def judge(run_id: str) -> None:
    """Ask judges for explanations and grades."""
    go_on("judge", run_id, runner.questions(context.current(), run_id, JUDGE_S))


@app.task(name="autointerp.tend")
def tend(batch_key: str) -> None:
    """Ask after a provider's batch, and collect what it answered."""
    runner.tend(context.current(), batch_key)


@app.task(name="autointerp.aggregate")
def aggregate(run_id: str) -> None:
    """Plan the scoring, or make tables, statistics and report."""
    go_on("aggregate", run_id, runner.stages(context.current(), run_id, ("plan", "finish"), AGGREGATE_S))


@app.task(name="autointerp.nightly")
def nightly_tick() -> None:
    """Begin tonight's scoring at its hour, and end it when its runs have ended."""
    nightly.tick(context.current())


@app.task(name="autointerp.reconcile")
def reconcile_all() -> None:
    """Free what the dead held, plan what comes next, and say where there is work."""
    reconcile.once(context.current(), publish)
