"""The judges of a call: names, tables of the spec, functions, or models of inspect_ai."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autointerp.judges import called
from autointerp.judges.base import Judge
from autointerp.judges.registry import Judges, open_judge
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.rubric import Rubric, load
from autointerp.spec.spec import Spec


@dataclass(frozen=True)
class GivenJudges:
    """The judge and the explainer, each as it was given; without an explainer, the judge explains."""

    judge: Any = "embedded"
    explainer: Any = None

    def tables(self) -> dict[str, dict[str, Any]]:
        """The spec's tables. Raises `UsageError`."""
        return {"judge": _table(self.judge), "explainer": {} if self.explainer is None else _table(self.explainer)}

    def open(self, spec: Spec) -> Judges:
        """The judges of a spec that has these tables. Raises `UsageError`."""
        rubric = load(spec.score.rubric)
        judge = _open(self.judge, spec.judge, rubric)
        explainer = judge if spec.explained_by == spec.judge else _open(self.explainer, spec.explained_by, rubric)
        return Judges(judge, explainer, open_judge(spec.cascade.judge, rubric) if spec.cascade else None)


def _table(judge: Any) -> dict[str, Any]:
    if isinstance(judge, str):
        return {"model": judge}
    if isinstance(judge, Mapping):
        return dict(judge)
    # A function need not be safe to call from several threads; a model of inspect_ai is.
    one_at_a_time = {} if called.is_inspect_model(judge) else {"concurrency": 1}
    return {"model": called.name_of(judge)} | one_at_a_time


def _open(judge: Any, settings: JudgeSettings, rubric: Rubric) -> Judge:
    named = isinstance(judge, str | Mapping)
    return open_judge(settings, rubric) if named else called.CalledJudge(settings, judge)
