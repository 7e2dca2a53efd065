"""The Celery tasks. Each gets the id of a run that may have work, and ends if it finds none or its time is over."""

from __future__ import annotations

from workers import context, nightly, reconcile, runner
from workers.app import app

ACTIVATIONS_S, JUDGE_S, AGGREGATE_S = 300.0, 30.0, 30.0
"""Longest time of one task, in seconds, so that runs alternate. The last job begun within it ends long before Redis delivers the
message again."""


def publish(task: str, key: str) -> None:
    """Send a hint: a task's name without its prefix, and the id of a run or batch."""
    app.send_task(f"autointerp.{task}", [key])


def publish_next(queue: str, run_id: str, result: runner.TaskResult) -> None:
    """Send hints for the work that a task knows to be next; the reconciler finds the rest."""
    if result == "more":
        publish(queue, run_id)
    elif result == "moved":
        reconcile.hint_next(context.current(), run_id, publish)


@app.task(name="autointerp.activations")
def activations(run_id: str) -> None:
    """Prepare a run, harvest shards of its corpus, merge them, run the subject's tasks for scorers, and carry out studies."""
    stages = ("prepare", "harvest", "merge", "probe", "studies")
    result = runner.stages(context.current(), run_id, stages, ACTIVATIONS_S)
    publish_next("activations", run_id, result)


@app.task(name="autointerp.judge")
def judge(run_id: str) -> None:
    """Ask judges for explanations and grades."""
    publish_next("judge", run_id, runner.questions(context.current(), run_id, JUDGE_S))


@app.task(name="autointerp.tend")
def tend(batch_key: str) -> None:
    """Poll a provider batch, and store its results."""
    runner.tend(context.current(), batch_key)


@app.task(name="autointerp.aggregate")
def aggregate(run_id: str) -> None:
    """Plan rounds of questions, or write tables, statistics and report."""
    publish_next("aggregate", run_id, runner.stages(context.current(), run_id, ("plan", "finish"), AGGREGATE_S))


@app.task(name="autointerp.nightly")
def nightly_tick() -> None:
    """Start tonight's runs at the configured time, and close the night when they have ended."""
    nightly.tick(context.current())


@app.task(name="autointerp.reconcile")
def reconcile_all() -> None:
    """Free the leases of dead workers, plan next stages, and send hints for due work."""
    reconcile.once(context.current(), publish)
