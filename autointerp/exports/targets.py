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
    Target("csv", "csv_files", "Every table as CSV: units, judgements, explanations, exemplars, other evaluations."),
    Target(
        "neuronpedia",
        "neuronpedia",
        "The features as Neuronpedia imports them: dashboards, activations, explanations.",
        naming="MODEL/SOURCE, such as gpt2-small/6-res-jb",
    ),
    Target(
        "sae-dashboard",
        "sae_dashboard",
        "The features as SAEDashboard writes them: batch-0.json.",
        naming="MODEL/SOURCE, such as gpt2-small/6-res-jb",
    ),
    Target(
        "hub",
        "hub",
        "A dataset on the Hugging Face Hub, with a card.",
        naming="OWNER/NAME of the dataset",
        needs_name=True,
        is_remote=True,
    ),
    Target(
        "wandb",
        "wandb_run",
        "A run of Weights & Biases.",
        naming="the project, or ENTITY/PROJECT",
        packages=("wandb",),
    ),
    Target("mlflow", "mlflow_run", "A run of MLflow.", naming="the experiment", packages=("mlflow-skinny",)),
    Target("tensorboard", "tensorboard_events", "An event file of TensorBoard.", packages=("tensorboard",)),
    Target("inspect", "inspect_log", "A log of inspect_ai, for its viewer.", packages=("inspect_ai",)),
)
TARGETS: Mapping[str, Target] = {row.name: row for row in _ROWS}
"""Every format by its name."""
