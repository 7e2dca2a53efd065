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
from autointerp.harvest.input_paths import stamps
from autointerp.hashing import content_hash
from autointerp.json_values import plain
from autointerp.locks import locked
from autointerp.places import open_folder, writing
from autointerp.progress import Progress
from autointerp.report.escape import visible
from autointerp.spec.sections import Corpus
from autointerp.studies import folder as folders
from autointerp.studies.folder import StudyFolder
from autointerp.studies.judging import FOLDER, Asking
from autointerp.studies.request import Request
from autointerp.studies.study import Study
from autointerp.studies.workbench import Studied, Workbench, opened
from sae.subject.model import Subject

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


def conduct(study: Study, request: Request, place: Place, progress: Progress, asking: Asking | None = None) -> Outcome:
    """Carry out a study, or read its finding if it was carried out before on the same inputs. Raises `AutointerpError` and `SaeError`."""
    subject, studied = opened(request, progress)
    bench = Workbench(request, subject, studied, StudyFolder(Path()), progress, study.name, asking)
    settings: dict[str, Any] = plain(asdict(study))
    identity = _identity(study, settings, bench)
    bench.study_id = name = f"{study.name}-{content_hash(identity)[:8]}"
    path = open_folder(place.folder(request, name))
    bench.folder = StudyFolder(path)
    bench.folder.claim(name)
    if not bench.folder.is_finished():
        with locked(path / ".lock", f"this {study.name}"):
            finding = study.carry_out(bench)
            bench.folder.write(finding, study.name, settings, _inputs(subject, studied, bench, study))
            if place.out is None:
                _link(request)
    return Outcome(path, read(path))


def read(path: Path) -> dict[str, Any]:
    """The contents of a folder's `study.json`. Raises `UsageError` if it cannot be read."""
    try:
        values: dict[str, Any] = json.loads((path / folders.RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path / folders.RESULT} cannot be read ({error}): remove the folder and run the command again"
        ) from None
    return values


def _identity(study: Study, settings: dict[str, Any], bench: Workbench) -> dict[str, Any]:
    """Everything that decides the finding."""
    return {
        "study": [study.name, study.version, settings],
        "subject": [bench.subject.fingerprint, bench.subject.precision, bench.subject.bos_id],
        "dictionaries": [[each.dictionary.fingerprint, each.dictionary.hook_point] for each in bench.studied],
        "explanations": [content_hash(dict(each.explanations)) for each in bench.studied],
        "corpus": bench.corpus.fingerprint if study.reads_text else _unread(bench.request.corpus),
        "judge": plain(bench.asking.settings.model_dump()) if bench.asking else None,
    }


def _unread(corpus: Corpus | None) -> Any:
    """What identifies a corpus that is not read: its section of the spec, and sizes and times of its files."""
    return corpus and [plain(corpus), [stamps(source) for source in corpus.sources]]


def _inputs(subject: Subject, studied: tuple[Studied, ...], bench: Workbench, study: Study) -> dict[str, Any]:
    """The inputs as the page names them."""
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
