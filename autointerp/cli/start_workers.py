"""`autointerp workers start`: the workers of this host, in the foreground."""

from __future__ import annotations

import os
from pathlib import Path

import click

from autointerp.cli.common import RESULTS, command_ledger, one_line_errors
from autointerp.monitoring import worker_processes
from autointerp.settings import PREFIX, Settings


@click.command("start")
@click.argument("kinds", metavar="[KIND]...", nargs=-1, type=click.Choice(worker_processes.KINDS))
@click.option("--beat", is_flag=True, help="Start beat too, which triggers all work. One is needed over all hosts.")
@RESULTS
@one_line_errors()
def start(kinds: tuple[str, ...], beat: bool, results: Path) -> int:
    """Start this host's workers: one of kind activations for each GPU, or one on the CPU, one judge and one aggregate worker.

    With KINDs, only workers of these kinds: activations, judge, aggregate. Stays in the foreground. Ctrl-C or SIGTERM stops all after their present work, a second Ctrl-C at once. If a worker ends by
    itself, the others are stopped, and the command ends with exit code 1. Redis (AUTOINTERP_BROKER) and the ledger must answer.
    """
    worker_processes.check_redis(Settings.from_env())
    command_ledger(results, make=True).close()
    schedule = None
    if beat:
        schedule = results.absolute() / "beat"
        schedule.parent.mkdir(parents=True, exist_ok=True)
    kinds = kinds or worker_processes.KINDS
    gpus = worker_processes.visible_gpus() if "activations" in kinds else []
    processes = worker_processes.worker_processes(gpus, kinds=kinds, beat=schedule)
    environment = {**os.environ, f"{PREFIX}RESULTS": str(results)}
    return worker_processes.run_until_stopped(processes, environment, click.echo)
