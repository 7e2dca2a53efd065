"""Evaluates how interpretable a trained dictionary is, compared with the neurons of its model.

`import autointerp as ai` is the Python API, described in docs/python.md. Its names are imported when they are first used, so
that the command line starts without torch and pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autointerp import installation

if TYPE_CHECKING:
    from autointerp.api.comparison import ComparedRuns as ComparedRuns
    from autointerp.api.comparison import compare as compare
    from autointerp.api.evaluation import evaluate as evaluate
    from autointerp.api.probe import Probe as Probe
    from autointerp.api.result import Difference as Difference
    from autointerp.api.result import Result as Result
    from autointerp.api.result import load as load
    from autointerp.api.steps import Explanations as Explanations
    from autointerp.api.steps import Harvest as Harvest
    from autointerp.api.steps import explain as explain
    from autointerp.api.steps import harvest as harvest
    from autointerp.api.steps import score as score
    from autointerp.api.study import StudyResult as StudyResult
    from autointerp.api.study import study as study
    from autointerp.api.unit import UnitResult as UnitResult
    from autointerp.errors import AutointerpError as AutointerpError

_HOMES = {
    "evaluate": "autointerp.api.evaluation",
    "harvest": "autointerp.api.steps",
    "explain": "autointerp.api.steps",
    "score": "autointerp.api.steps",
    "Probe": "autointerp.api.probe",
    "load": "autointerp.api.result",
    "study": "autointerp.api.study",
    "compare": "autointerp.api.comparison",
    "Result": "autointerp.api.result",
    "Difference": "autointerp.api.result",
    "UnitResult": "autointerp.api.unit",
    "Harvest": "autointerp.api.steps",
    "Explanations": "autointerp.api.steps",
    "StudyResult": "autointerp.api.study",
    "ComparedRuns": "autointerp.api.comparison",
    "AutointerpError": "autointerp.errors",
}
"""The module of each name of the API, in the order of its page."""

__all__ = [
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autointerp' has no attribute {name!r}")
    if fault := installation.fault():
        raise ImportError(fault)
    if name == "harvest":  # also the name of a package, which can be called
        return import_module("autointerp.harvest")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
