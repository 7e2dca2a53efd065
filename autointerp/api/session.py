"""A run as a call asks for it: its spec, its inputs and judges as they were given, and the folder that it is in."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.api import request
from autointerp.api.inputs import OBJECT, Given, Opener
from autointerp.api.judges import GivenJudges
from autointerp.api.result import Result
from autointerp.errors import UsageError
from autointerp.findings import tables
from autointerp.findings.tables import Frames
from autointerp.ledger.database import Ledger
from autointerp.pipeline import local
from autointerp.pipeline.prepare import prepare
from autointerp.places import open_folder
from autointerp.progress import Progress
from autointerp.records import COMPARED
from autointerp.report.index import write as write_index
from autointerp.run import Run
from autointerp.settings import Settings
from autointerp.spec.spec import Spec
from sae.objects.subject import Named

COMMAND = ("autointerp.evaluate",)
"""What the report names as the command of a run that was called from Python."""


class TemporaryFolder:
    """A folder that is removed at the end of this object, or of the program."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="autointerp-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Place:
    """The folder of results, and the object that lasts as long as the folder if that is temporary."""

    folder: Path
    temporary: TemporaryFolder | None

    @classmethod
    def of(cls, results: str | Path | None) -> Place:
        """The folder, made if it is missing; for None a temporary one. Raises `UsageError` and `PlaceFailed`."""
        if results is not None:
            return cls(open_folder(Path(results)), None)
        temporary = TemporaryFolder()
        return cls(temporary.path, temporary)


@dataclass(frozen=True)
class Session:
    """A spec with the objects that it names."""

    spec: Spec
    given: Given
    open: Opener
    place: Place
    quiet: bool

    @classmethod
    def of(
        cls,
        given: Given,
        tables: Mapping[str, Mapping[str, Any]],
        *,
        texts: Any,
        hook_point: str | None,
        place: Place,
        name: str,
        more: Mapping[str, Any] | None,
        quiet: bool,
        named: Named | None = None,
    ) -> Session:
        """The session of these inputs and further tables of the spec; `named`: the subject, if it is known.

        Raises `UsageError` and `SaeError`.
        """
        spec = request.spec_of(
            {
                "subject": given.subject_table(),
                "dictionary": given.dictionary_table(hook_point),
                "corpus": request.corpus_table(texts, place.folder, more),
                **tables,
            },
            name,
            more,
        )
        with given.evaluating():
            open_ = given.opener(spec, named)
        spec = open_.spec(spec)
        if spec.studies.chosen and any(name.startswith(OBJECT) for name in (spec.subject.model, spec.dictionary.path)):
            raise UsageError(
                f"studies.{spec.studies.chosen[0].study} reads files: give model and dictionary as paths or ids, or leave it out"
            )
        return cls(spec, given, open_, place, quiet)

    def harvested(self) -> Run:
        """The run over its harvest, which is made or reused. Raises `UsageError` and `SaeError`."""
        with self.given.evaluating(), Progress(quiet=self.quiet) as progress, self._ledger() as ledger:
            return prepare(self.spec, self.place.folder, progress, ledger, self.open)

    def carried_out(self, judges: GivenJudges) -> Result:
        """The result of the whole run. Raises `AutointerpError` and `SaeError`."""
        with self.given.evaluating(), Progress(quiet=self.quiet) as progress, self._ledger() as ledger:
            run = prepare(self.spec, self.place.folder, progress, ledger, self.open)
            opened = judges.open(run.spec)
            local.execute_run(run, ledger, progress, judges=opened, command=COMMAND, open_=self.open, agreed=True)
            write_index(self.place.folder)
        return Result(run.folder, keep=self.place.temporary)

    def explained(self, judges: GivenJudges) -> dict[str, str | None]:
        """The explanation of each unit of the run, features and neurons; None for a unit that has none."""
        units = self.asked(judges, only_explain=True)[1].units
        units = units.loc[units["kind"].isin(COMPARED)]
        texts = units["explanation"].fillna("").tolist()
        return {str(unit): text or None for unit, text in zip(units["unit_id"].tolist(), texts, strict=True)}

    def asked(self, judges: GivenJudges, *, only_explain: bool = False) -> tuple[Run, Frames]:
        """The run and its tables, without summary and report, after its questions or only those of the explainer. Raises as `carried_out`."""
        with self.given.evaluating(), Progress(quiet=self.quiet) as progress, self._ledger() as ledger:
            run = prepare(self.spec, self.place.folder, progress, ledger, self.open)
            local.answer_run(run, ledger, progress, judges.open(run.spec), self.open, only_explain=only_explain)
            return run, tables.of_run(ledger, run)

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        """The ledger: where AUTOINTERP_LEDGER says, or in the folder of results; that of a temporary folder always in it."""
        ledger = Ledger.in_folder(self.place.folder, None if self.place.temporary else Settings.from_env().given_ledger)
        try:
            yield ledger
        finally:
            ledger.close()
