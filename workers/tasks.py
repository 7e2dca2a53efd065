"""The tasks: each is told of a run that may have work, and ends when it finds none or has worked for its share of time."""

from __future__ import annotations

from workers import carry, context, reconcile
from workers.app import app

ACTIVATIONS_S, JUDGE_S, AGGREGATE_S = 300.0, 30.0, 30.0
"""Seconds of one task, which then makes way for other runs. The longest job begun within them ends long before Redis hands the
message out again."""


@app.task(name="autointerp.activations")
def activations(run_id: str) -> None:
    """Open a run's inputs, read shards of its corpus, merge them."""
    if carry.stages(context.current(), run_id, ("prepare", "harvest", "merge"), ACTIVATIONS_S):
        app.send_task("autointerp.activations", [run_id])


@app.task(name="autointerp.judge")
def judge(run_id: str) -> None:
    """Ask judges for explanations and grades."""
    if carry.questions(context.current(), run_id, JUDGE_S):
        app.send_task("autointerp.judge", [run_id])


@app.task(name="autointerp.tend")
def tend(batch_key: str) -> None:
    """Ask after a provider's batch, and collect what it answered."""
    carry.tend(context.current(), batch_key)


@app.task(name="autointerp.aggregate")
def aggregate(run_id: str) -> None:
    """Plan the scoring, or make tables, statistics and report."""
    carry.stages(context.current(), run_id, ("plan", "finish"), AGGREGATE_S)


@app.task(name="autointerp.reconcile")
def reconcile_all() -> None:
    """Free what the dead held, plan what comes next, and say where there is work."""
    reconcile.once(context.current(), lambda task, key: app.send_task(f"autointerp.{task}", [key]))
