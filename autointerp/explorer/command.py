"""What `autointerp explore` does: finds the index that is meant, and serves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from autointerp.errors import UsageError
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.library import INDEX, Library, is_index
from autointerp.explorer.web.server import access_of, serve
from autointerp.ledger.database import Ledger
from autointerp.monitoring import run_names

SHORTEST_TOKEN = 12
"""Characters of a token that a user chooses."""


def explore(
    name: str | None, results: Path, ledger: Ledger | None, *, host: str, token: str | None, port: int | None,
    read_only: bool, open_browser: bool, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Serve the index that `name` means until Ctrl-C. Raises `UsageError` if there is none or an option is wrong."""
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"--token has {len(token)} characters: give at least {SHORTEST_TOKEN}, or leave it out for a random one"
        )
    library = Library(results, find_index(name, results))
    library.reader(
        None
    )  # before the address is printed, so that an index that cannot be read is an error of the command
    access: Access = access_of(host, token, read_only=read_only)
    serve(library, access, ledger, port=port, open_browser=open_browser, say=say)


def find_index(name: str | None, results: Path) -> Path:
    """The folder of the index that a run has, or that `name` is; without a name, that of the newest run with one. Raises `UsageError`."""
    library = Library(results, None)
    if name is None:
        for run in run_names.finished(results):
            if library.has_index(run):
                return library.folder_of(run) / INDEX
        raise UsageError(f"no run in {results} has an index yet: make one with `autointerp index latest`")
    if is_index(Path(name)):
        return Path(name)
    run = run_names.find(name, run_names.finished(results))
    if not library.folder_of(run).is_dir():
        raise UsageError(f"there is no finished run {run} in {results}: `autointerp runs` lists the runs")
    if not library.has_index(run):
        raise UsageError(f"{run} has no index yet: make it with `autointerp index {run}`")
    return library.folder_of(run) / INDEX
