"""MLflow: a finished run as one of its runs, with parameters, metrics, tables, drawings, report and files.

Written against mlflow 3.17 (mlflow-skinny is enough). `MLFLOW_TRACKING_URI` names the server; without it, the run is written to a SQLite
database and files in `--out`, which `mlflow ui --backend-store-uri sqlite:///OUT/mlflow.db` shows.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from autointerp.errors import UsageError
from autointerp.exports import tracking
from autointerp.exports.request import Request
from autointerp.exports.run_tables import RunTables
from autointerp.findings.summary import Summary

EXPERIMENT = "autointerp"
LONGEST_PARAMETER = 6000
"""Characters of a parameter's value that MLflow stores at most."""


def export(run: RunTables, request: Request) -> str:
    """Send the run. Returns the tracking address and the run's id. Raises `UsageError`."""
    here, server = request.out.resolve(), os.environ.get("MLFLOW_TRACKING_URI")
    address = server or f"sqlite:///{here / 'mlflow.db'}"
    try:
        client = MlflowClient(address)
        files = None if server else (here / "artifacts").as_uri()
        run_id = _new_run(client, request.name or EXPERIMENT, files, run.summary)
        _log(client, run_id, run)
        client.set_terminated(run_id)
    except MlflowException as error:
        raise UsageError(f"MLflow at {address} refuses the run ({error}): check MLFLOW_TRACKING_URI") from None
    return f"{address} run {run_id}"


def _new_run(client: MlflowClient, experiment: str, files: str | None, summary: Summary) -> str:
    """The id of a new run. `files` is where a new experiment keeps files; None leaves that to the server."""
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment, artifact_location=files)
    created: str = client.create_run(experiment_id, run_name=summary.run_id).info.run_id
    return created


def _log(client: MlflowClient, run_id: str, run: RunTables) -> None:
    made = int(Path(run.folder / "summary.json").stat().st_mtime * 1000)
    parameters = [Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in tracking.configuration(run).items()]
    metrics = [Metric(name, value, made, 0) for name, value in tracking.measures(run.summary).items()]
    for name, points in tracking.curves(run.summary).items():
        metrics += [Metric(name, grade, made, bin_) for bin_, grade in points]
    for start in range(0, len(parameters), 100):  # MLflow takes 100 parameters in one request
        client.log_batch(run_id, params=parameters[start : start + 100])
    client.log_batch(run_id, metrics=metrics, tags=[RunTag("mlflow.note.content", tracking.verdict(run.summary))])
    columns, rows = tracking.units(run)
    client.log_table(run_id, {name: [row[at] for row in rows] for at, name in enumerate(columns)}, "units.json")
    for name, drawing in tracking.drawings(run.summary).items():
        client.log_text(run_id, drawing, name)
    for path in tracking.files(run):
        client.log_artifact(run_id, str(path), "results")
