"""The state of a run as a file, without what concerns its owner alone: commands, workers, budgets of other runs, and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autointerp.errors import UsageError
from autointerp.explorer.overview.one_run import RunStates
from autointerp.explorer.publishing import answers, run_files
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import packed_json
from autointerp.explorer.publishing.private import Private

_OF_THE_OWNER: dict[str, Any] = {
    "commands": [],
    "workers": None,
    "budgets": [],
    "carrier": "",
    "night": "",
    "live": False,
    "index": True,
}
LEFT_OUT = "The prompts and replies of this run's judge are not published."
NONE = "This run is published without judgements: neither the ledger nor the files of the run have any."


def write(
    folder: PublishedFolder, run: str, states: RunStates, private: Private, files: Mapping[str, int], unpublished: str
) -> None:  # fmt: skip
    """Write the state of a run; `files` of it are published with these sizes, and `unpublished` says why its judgements are not, if so."""
    folder.put(
        f"runs/{run}/data/api/{answers.file_of('about')}",
        packed_json(private.of(_state(run, states, files, unpublished))),
    )


def _state(run: str, states: RunStates, files: Mapping[str, int], unpublished: str) -> dict[str, Any]:
    try:
        known = states.of(run)
    except UsageError as error:  # neither the ledger nor a summary has it
        return {"error": str(error)}
    times = {name: known[name] and int(known[name]) for name in ("created_at", "updated_at")}
    shown = [{"name": name, "bytes": size} for name, size in files.items()]
    names = run_files.names_of(states.results / run)
    return known | _OF_THE_OWNER | names | times | {"files": shown, "unpublished": unpublished}
