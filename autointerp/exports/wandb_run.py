"""Weights & Biases: a finished run as one of its runs, with configuration, figures, tables, drawings, report and files.

Written against wandb 0.31. Its own settings decide where the run goes: `WANDB_MODE=offline` writes it to `--out`, for `wandb sync`.
"""

from __future__ import annotations

import wandb

from autointerp.errors import UsageError
from autointerp.exports import tracking
from autointerp.exports.request import Request
from autointerp.exports.run_tables import RunTables

PROJECT = "autointerp"


def export(run: RunTables, request: Request) -> str:
    """Send the run, or write it to the folder in offline mode. Returns the run's address, or its folder. Raises `UsageError`."""
    entity, _, project = (request.name or PROJECT).rpartition("/")
    summary = run.summary
    try:
        with wandb.init(
            project=project,
            entity=entity or None,
            name=summary.run_id,
            config=tracking.configuration(run),
            dir=str(request.out),
            tags=[summary.judge, summary.subject.name[:64]],
            job_type="evaluation",
            notes=tracking.verdict(summary),
        ) as opened:
            _log(opened, run)
            where: str = opened.url or str(opened.dir)
    except wandb.Error as error:
        raise UsageError(
            f"Weights & Biases refuses the run ({error}): run `wandb login`, or set WANDB_MODE=offline"
        ) from None
    return where


def _log(opened: wandb.Run, run: RunTables) -> None:
    opened.summary.update(tracking.measures(run.summary))
    for name, points in tracking.curves(run.summary).items():
        table = wandb.Table(columns=["bin", "grade"], data=[list(point) for point in points])
        opened.log({name: wandb.plot.line(table, "bin", "grade", title=name)})
    columns, rows = tracking.units(run)
    opened.log({"units": wandb.Table(columns=list(columns), data=rows)})
    opened.log({name: wandb.Html(drawing, inject=False) for name, drawing in tracking.drawings(run.summary).items()})
    artifact = wandb.Artifact(f"results-{run.summary.run_id}", type="evaluation")
    for path in tracking.files(run):
        artifact.add_file(str(path), name=path.name)
    opened.log_artifact(artifact)
