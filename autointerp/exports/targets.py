"""The formats to which `autointerp export` writes, one row each. A new format is one module and one row of `TARGETS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One format. Its module is imported when it is used, because it may need a package that is not installed."""

    name: str
    """What `--to` names."""
    module: str
    """Module below `autointerp.exports` with the function `export(run, request) -> str`, which returns where the export is."""
    about: str
    """What is written, in one line."""
    naming: str = ""
    """What `--name` names; empty if it has no meaning."""
    needs_name: bool = False
    is_remote: bool = False
    """Whether it sends the run elsewhere, so that `--out` has no meaning."""
    packages: tuple[str, ...] = ()
    """Packages that it needs and that the program does not bring, as pip names them."""


_ROWS = (
    Target("csv", "csv_files", "every table as CSV"),
    Target("neuronpedia", "neuronpedia", "features as Neuronpedia imports them", naming="MODEL/SOURCE"),
    Target("sae-dashboard", "sae_dashboard", "features as SAEDashboard's batch-0.json", naming="MODEL/SOURCE"),
    Target("hub", "hub", "a dataset on the Hugging Face Hub", naming="OWNER/DATASET", needs_name=True, is_remote=True),
    Target("wandb", "wandb_run", "a run of Weights & Biases", naming="[ENTITY/]PROJECT", packages=("wandb",)),
    Target("mlflow", "mlflow_run", "a run of MLflow", naming="EXPERIMENT", packages=("mlflow-skinny",)),
    Target("tensorboard", "tensorboard_events", "an event file of TensorBoard", packages=("tensorboard",)),
    Target("inspect", "inspect_log", "a log of inspect_ai, for its viewer", packages=("inspect_ai",)),
)
TARGETS: Mapping[str, Target] = {row.name: row for row in _ROWS}
"""Every format by its name."""
