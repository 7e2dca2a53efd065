"""Carries out a study: opens its inputs, computes what is not kept yet, writes the folder, and says what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autointerp import report
from autointerp.errors import UsageError
from autointerp.formatting import NOT_AVAILABLE
from autointerp.harvest.input_cache import InputCache
from autointerp.json_values import plain
from autointerp.locks import locked
from autointerp.places import open_folder, writing
from autointerp.progress import Progress
from autointerp.report.escape import visible
from autointerp.studies import folder as folders
from autointerp.studies.folder import StudyFolder
from autointerp.studies.identity import opened_contents, study_id, unread_contents
from autointerp.studies.judging import FOLDER, Asking
from autointerp.studies.request import Request
from autointerp.studies.study import Study
from autointerp.studies.workbench import Workbench, opened

_WIDEST = 32
"""Columns of a cell on a terminal, but for the last one of a row."""


@dataclass(frozen=True)
class Place:
    """Where a study's folder lies: in its first run's folder, in `studies/` of the results folder, or in `out`."""

    results: Path
    out: Path | None = None

    def folder(self, request: Request, name: str) -> Path:
        """The folder of a study with this name."""
        if self.out is not None:
            return self.out
        return (request.runs[0] if request.runs else self.results) / FOLDER / name


@dataclass(frozen=True)
class Outcome:
    """A study's folder and the contents of its `study.json`."""

    folder: Path
    values: dict[str, Any]

    @property
    def page(self) -> Path:
        """The page of the study."""
        return self.folder / folders.PAGE

    def lines(self) -> Iterator[str]:
        """The cautions and sentences."""
        yield from map(visible, (*self.values["cautions"], *self.values["sentences"]))

    def first_table(self, width: int) -> Iterator[str]:
        """The first rows of the first table in aligned columns, without those that are empty, and lines cut to `width`."""
        for table in list(self.values["tables"].values())[:1]:
            rows = [table["header"], *([" ".join(visible(cell).split()) for cell in row] for row in table["rows"])]
            columns = [cells for cells in zip(*rows, strict=True) if not {*cells[1:]} <= {"", NOT_AVAILABLE}]
            widths = [min(max(map(len, cells)), _WIDEST) for cells in columns]
            for row in zip(*columns, strict=True):
                cells = (cell[:wide].ljust(wide) for cell, wide in zip(row[:-1], widths[:-1], strict=True))
                yield "  ".join([*cells, row[-1]]).rstrip()[:width]


def conduct(
    study: Study,
    request: Request,
    place: Place,
    progress: Progress,
    asking: Asking | None = None,
    memory: InputCache | None = None,
) -> Outcome:
    """Carry out a study, or read its finding if it was carried out before on the same inputs, for which no weights are read.

    `memory` keeps what is loaded, for other studies. Raises `AutointerpError` and `SaeError`.
    """

    def load() -> Workbench:
        subject, studied = opened(request, progress, memory or InputCache())
        return Workbench(request, subject, studied, StudyFolder(Path()), progress, study.name, asking)

    contents, bench = unread_contents(request, progress.update), None
    if contents is None:
        bench = load()
        contents = opened_contents(bench)
    name = study_id(study, request, contents, asking, progress.update)
    folder = StudyFolder(open_folder(place.folder(request, name)))
    folder.claim(name)
    if not folder.is_finished():
        with locked(folder.path / ".lock", f"this {study.name}"):
            bench = bench or load()
            bench.folder, bench.study_id = folder, name
            finding = study.carry_out(bench)
            folder.write(finding, study.name, plain(asdict(study)), _inputs(bench, study))
            if place.out is None:
                _link(request)
    return Outcome(folder.path, read(folder.path))


def read(path: Path) -> dict[str, Any]:
    """The contents of a folder's `study.json`. Raises `UsageError` if it cannot be read."""
    try:
        values: dict[str, Any] = json.loads((path / folders.RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path / folders.RESULT} cannot be read ({error}): remove the folder and run the command again"
        ) from None
    return values


def _inputs(bench: Workbench, study: Study) -> dict[str, Any]:
    """The inputs as the page names them."""
    subject, studied = bench.subject, bench.studied
    inputs: dict[str, Any] = {
        "subject": f"{subject.name} ({subject.precision})",
        "dictionaries": [f"{each.name}: {each.dictionary.path}" for each in studied],
        "runs": [each.run.name for each in studied if each.run],
    }
    if study.reads_text:
        inputs["corpus"] = bench.corpus.contents.statement
    return inputs | ({"judge": bench.asking.settings.model} if bench.asking else {})


def _link(request: Request) -> None:
    """Write the reports of the runs again, which list the studies made of them."""
    for run in request.runs:
        with writing(run):
            report.write(run)
