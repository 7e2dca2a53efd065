"""TensorBoard: a finished run as an event file, with scalars, the grade by bin as a curve, the report and the units as text.

Written with `torch.utils.tensorboard`, which needs the package tensorboard.
"""

from __future__ import annotations

import json

import tensorboard  # noqa: F401 - named in the error if it is missing, where torch would say something else
from torch.utils.tensorboard import SummaryWriter

from autointerp.exports import tracking
from autointerp.exports.request import Request
from autointerp.exports.run_tables import RunTables
from autointerp.report.escape import markdown


def export(run: RunTables, request: Request) -> str:
    """Write the event file. Returns its folder, for `tensorboard --logdir`."""
    folder = request.out / run.summary.run_id
    with SummaryWriter(log_dir=str(folder)) as writer:
        for name, value in tracking.measures(run.summary).items():
            writer.add_scalar(name, value)
        for name, points in tracking.curves(run.summary).items():
            for bin_, grade in points:
                writer.add_scalar(name, grade, bin_)
        writer.add_text("report", tracking.report(run))
        writer.add_text("units", _table(run))
        writer.add_text("configuration", f"```json\n{json.dumps(tracking.configuration(run), indent=1)}\n```")
    return str(folder)


def _table(run: RunTables) -> str:
    columns, rows = tracking.units(run)
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return markdown(" ".join(text.split()))
