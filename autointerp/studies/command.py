"""What the commands of studies call: a study by its name, on the inputs of a command line."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from autointerp.errors import UsageError
from autointerp.progress import Progress
from autointerp.spec import toml_files
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.studies import registry
from autointerp.studies.conduct import Outcome, Place, conduct
from autointerp.studies.given import Given
from autointerp.studies.judging import Asking, DryRun
from autointerp.studies.request import request_of


class _Settings(BaseModel):
    """The part of a spec that `--set` may override."""

    model_config = ConfigDict(extra="forbid")
    judge: JudgeSettings


def carry_out(given: Given, name: str, settings: dict[str, Any], progress: Progress) -> Outcome | None:
    """Carry out the study `name`; None after a dry run. Raises `UsageError` and the errors of `conduct`."""
    study = registry.make(name, settings)
    request = request_of(given)
    try:
        return conduct(study, request, Place(given.results, given.out), progress, asking_of(given))
    except DryRun:
        return None


def asking_of(given: Given) -> Asking | None:
    """The judge of a command line; None if it names none. Raises `UsageError`."""
    if given.judge is None and not given.overrides:
        if given.dry_run:
            raise UsageError("--dry-run says what judging will cost: give --judge PROVIDER/MODEL")
        return None
    data: dict[str, Any] = {"judge": {"model": given.judge} if given.judge else {}}
    for override in given.overrides:
        toml_files.apply(data, override)
    try:
        judge = _Settings.model_validate(data).judge
    except ValidationError as error:
        raise UsageError(toml_files.wrong_key(error, _Settings, "--judge")) from None
    return Asking(judge, given.results, given.usd, given.agreed, given.dry_run)
