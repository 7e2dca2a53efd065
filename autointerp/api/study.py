"""`ai.study`: what the paper does with features, such as steering and attribution, as the commands of that name do it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from autointerp.api.result import Result
from autointerp.errors import UsageError
from autointerp.progress import Progress
from autointerp.report import notebook
from autointerp.report.run_folder import folder_of
from autointerp.report.tables import Table
from autointerp.spec import study_sections
from autointerp.spec.toml_files import wrong_key
from autointerp.studies.command import carry_out
from autointerp.studies.conduct import Outcome
from autointerp.studies.given import Given


class StudyResult:
    """A finished study. In a notebook it shows its sentences and the first rows of its tables.

    `path` is its folder, with study.html, which has the pictures, and every table as a file.
    """

    def __init__(self, outcome: Outcome, *, keep: object = None) -> None:
        self._values = outcome.values
        self.path = outcome.folder
        self._keep = keep

    @property
    def title(self) -> str:
        """What the study is about."""
        return str(self._values["title"])

    @property
    def sentences(self) -> list[str]:
        """The answer, a sentence each with figures and intervals."""
        return list(self._values["sentences"])

    @property
    def cautions(self) -> list[str]:
        """What to keep in mind, a sentence each."""
        return list(self._values["cautions"])

    @property
    def values(self) -> dict[str, Any]:
        """Figures by name."""
        return dict(self._values["values"])

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name, with all rows and columns."""
        return {name: pd.read_parquet(self.path / f"{name}.parquet") for name in self._values["tables"]}

    def __repr__(self) -> str:
        return "\n".join([*self.cautions, *self.sentences, str(self.path / "study.html")])

    def _repr_html_(self) -> str:
        shown = [
            Table(table["caption"], tuple(table["header"]), tuple(map(tuple, table["rows"])))
            for table in self._values["tables"].values()
        ]
        return notebook.study(self.title, self.cautions, self.sentences, shown, str(self.path / "study.html"))


def study(
    name: str,
    run: Result | str | Path | Sequence[Result | str | Path],
    *,
    judge: str | Mapping[str, Any] | None = None,
    budget_usd: float | None = None,
    corpus: str | Sequence[str] = (),
    out: str | Path | None = None,
    results: str | Path = "results",
    quiet: bool = False,
    **settings: Any,
) -> StudyResult:
    """Carry out a study of a finished run's dictionary, or read it if it was carried out before. The same as the command of that name.

    `name`: find, steer, attribute, neighbours, split, cover or categories. `run`: a result, a folder, or an id in the folder `results`; several
    if their dictionaries are studied together. `settings`: the keys of the study's table in the [spec](spec.md#studiesfind), such as
    `prompt=`, `target=`; further `dictionaries=` as paths. `judge`: the name or the spec's table of an LLM, in studies that ask one; `budget_usd`:
    dollars at most. `corpus`: text in place of the run's. `out`: a folder in place of one in the run's. `quiet`: show no progress.

    A study that was interrupted continues with the same call. Raises `AutointerpError` or `SaeError`, one line each.
    """
    runs = [run] if isinstance(run, Result | str | Path) else list(run)
    if not runs:
        raise UsageError("no run: give a result, a folder or an id")
    section = _section(name, settings, asks_judge=judge is not None)
    folders = [folder_of(str(each.path if isinstance(each, Result) else each), Path(results)) for each in runs]
    model, keys = (judge, {}) if isinstance(judge, str) else (None, judge or {})
    given = Given(
        tuple(map(str, folders)),
        dictionaries=section.dictionaries,
        corpus=(corpus,) if isinstance(corpus, str) else tuple(corpus),
        hook_point=section.hook_point,
        out=None if out is None else Path(out),
        results=folders[0].parent,
        judge=model,
        usd=budget_usd,
        agreed=True,
        overrides=tuple(f"judge.{key}={json.dumps(value)}" for key, value in keys.items()),
    )
    with Progress(quiet=quiet) as progress:
        outcome = carry_out(given, name, section.settings(), progress)
    assert outcome is not None, "no dry run was asked for"
    return StudyResult(outcome, keep=run)


def _section(name: str, settings: Mapping[str, Any], *, asks_judge: bool) -> study_sections.Study:
    """The study's table of a spec with these keys. Raises `UsageError`."""
    kind = study_sections.KINDS.get(name)
    if kind is None:
        raise UsageError(f"there is no study {name!r}: give one of {', '.join(study_sections.KINDS)}")
    judged = issubclass(kind, study_sections.JudgedStudy)
    if asks_judge and not judged:
        raise UsageError(f"{name} asks no judge: leave judge out")
    try:
        return kind.model_validate({**settings, **({"judged": asks_judge} if judged else {})})
    except ValidationError as error:
        raise UsageError(wrong_key(error, kind, name)) from None
