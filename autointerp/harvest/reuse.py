"""Whether a harvest is there already, found out without reading the weights of the subject or the dictionary."""

from __future__ import annotations

from autointerp.harvest import dictionary_checks
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.finished import finished_harvest, is_complete
from autointerp.harvest.inputs import HARVEST_VERSION, Identified, precision_of
from autointerp.harvest.plan import SharedPlan, read_plan


def complete_harvest(identified: Identified, artifacts: Artifacts, version: int = HARVEST_VERSION) -> SharedPlan | None:
    """The plan of a harvest that is finished and has all files that the spec requests beside it; None if anything is missing.

    Raises `UsageError` if the dictionary explains nothing, as `begin_harvest` does, and `SubjectError` if the spec's device is missing.
    """
    key = identified.harvest_key(precision_of(identified.spec.subject), version)[:16]
    if finished_harvest(artifacts, key) is None:
        return None
    plan = read_plan(artifacts, key)
    if not is_complete(identified.spec, artifacts, plan):
        return None
    dictionary_checks.require_fit(identified.spec, plan.check)
    return plan
