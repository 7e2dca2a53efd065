"""The studies that a run's spec names, carried out one after another once its report is written."""

from __future__ import annotations

from autointerp.errors import EXPECTED, LedgerFailed, UsageError
from autointerp.harvest.input_cache import InputCache
from autointerp.progress import Progress
from autointerp.redaction import hide
from autointerp.run import Run
from autointerp.spec.spec import Spec
from autointerp.studies import registry
from autointerp.studies.conduct import Outcome, Place, conduct
from autointerp.studies.given import Given
from autointerp.studies.judging import Asking, Payer
from autointerp.studies.request import request_of
from sae.errors import one_line


def check(spec: Spec) -> None:
    """Raise the `UsageError` of a study whose settings exclude each other, or name a file that cannot be read."""
    for section in spec.studies.chosen:
        try:
            registry.make(section.study, section.settings())
        except UsageError as error:
            raise UsageError(f"studies.{section.study}: {error}") from None


def failures(run: Run, payer: Payer, progress: Progress) -> list[str]:
    """Carry out all studies of a run's spec. Returns a line for each that failed; the others are not affected."""
    memory = InputCache()
    found = [failure(run, number, payer, progress, memory) for number in range(len(run.spec.studies.chosen))]
    return [why for why in found if why]


def failure(run: Run, number: int, payer: Payer, progress: Progress, memory: InputCache) -> str:
    """Carry out one study of a run's spec, or find it finished. Returns why it failed, in a line; empty if it did not."""
    name = f"studies.{run.spec.studies.chosen[number].study}"
    try:
        outcome = _carried_out(run, number, payer, progress, memory)
    except LedgerFailed:
        raise
    except EXPECTED as error:
        line = hide(f"{name}: {one_line(error)}")
        progress.say(f"autointerp: {line}", err=True)
        return line
    progress.note(f"{name}: {outcome.page}")
    return ""


def _carried_out(run: Run, number: int, payer: Payer, progress: Progress, memory: InputCache) -> Outcome:
    section, spec, results = run.spec.studies.chosen[number], run.spec, run.folder.parent
    study = registry.make(section.study, section.settings())
    request = request_of(
        Given((run.run_id,), dictionaries=section.dictionaries, hook_point=section.hook_point, results=results)
    )
    asking = Asking(spec.judge, results, spec.budget.usd, payer.agreed, payer=payer) if section.asks_judge else None
    return conduct(study, request, Place(results), progress, asking, memory)
