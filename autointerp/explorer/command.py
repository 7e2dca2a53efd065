"""What `autointerp explore` does: finds the index that is meant, and serves it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import ABOUT
from autointerp.explorer.labels.allowance import DEFAULT_USD, Allowance, allowance
from autointerp.explorer.web.library import INDEX, Library, is_index
from autointerp.explorer.web.server import access_of, serve
from autointerp.ledger.database import Ledger
from autointerp.monitoring import run_names
from autointerp.spec.spec import load

SHORTEST_TOKEN = 12
"""Characters of a token that a user chooses."""
_ORIGIN = re.compile(r"(https?)://([a-z0-9]+(?:[.-]+[a-z0-9]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/?")
SUMMARY = "summary.json"
_USUAL_PORTS = {"http": "80", "https": "443"}


def check_token(token: str | None) -> None:
    """Raise `UsageError` for a token that is easily guessed."""
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"--token has {len(token)} characters: give at least {SHORTEST_TOKEN}, or leave it out for a random one"
        )


def origin_of(public_url: str | None) -> str | None:
    """The origin of the address under which a proxy makes the explorer known, as a browser writes it. Raises `UsageError` if it is none."""
    if public_url is None:
        return None
    written = _ORIGIN.fullmatch(public_url.lower())
    if written is None:
        raise UsageError(
            f"--public-url {public_url!r} is no address of a server: write it as https://dict.example.org, without a path"
        )
    scheme, name, port = written.groups()
    return f"{scheme}://{name}" if port is None or port == _USUAL_PORTS[scheme] else f"{scheme}://{name}:{port}"


def explore(
    index: Path, results: Path, ledger: Ledger | None, *, host: str, public_url: str | None, token: str | None,
    port: int | None, read_only: bool, usd: float | None, open_browser: bool, say: Callable[[str], None],
    note: Callable[[str], None],
) -> None:  # fmt: skip
    """Serve an index until Ctrl-C, and then raise `KeyboardInterrupt`. Raises `UsageError` if it cannot be read or an option is wrong."""
    library = Library(results, index)
    with library:
        run = library.reader(None).about.run  # an index that cannot be read is an error before the address is printed
        may_spend = Allowance(DEFAULT_USD if usd is None else usd)
        if run is not None and (spec := library.folder_of(run) / "spec.toml").is_file():
            with suppress(UsageError):  # pages say why nothing can be asked
                may_spend = allowance(load(spec), usd, ledger, run)
        if may_spend.line and not read_only:
            note(may_spend.line)
        access = access_of(host, token, read_only=read_only, public=origin_of(public_url))
        serve(library, access, ledger, usd=may_spend.usd, port=port, open_browser=open_browser, say=say)


def find_index(name: str | None, results: Path) -> tuple[Path | None, str]:
    """The folder of an index, and the name of its run.

    `name` is a run, its folder, or the folder of an index; without it, the newest run with an index is meant, or else the newest run. The
    folder is None if the run has no index yet, or if `name` is a spec. Raises `UsageError` for an unknown run.
    """
    if name and name.endswith(".toml"):
        if not Path(name).is_file():
            raise UsageError(f"there is no spec file {name}: check the path")
        return None, name
    if name and (known := _index_in(Path(name))):
        return known, name
    library, runs = Library(results, None), run_names.finished(results)
    indexed = [run for run in runs if is_index(library.folder_of(run) / INDEX)]
    run = indexed[0] if name is None and indexed else run_names.find(name or run_names.LATEST, runs)
    if run not in runs and name and Path(name).is_dir():
        if (Path(name) / SUMMARY).is_file():
            return None, name
        raise UsageError(
            f"{name} has neither the results of a run ({SUMMARY}) nor a finished index ({ABOUT}): `autointerp index` makes or continues one"
        )
    if run not in runs:
        raise UsageError(f"there is no finished run {run} in {results}: `autointerp runs` lists the runs")
    return (library.folder_of(run) / INDEX if run in indexed else None), run


def _index_in(folder: Path) -> Path | None:
    """The folder of the index that a folder is, or that the folder of a run has."""
    return next((path for path in (folder, folder / INDEX) if is_index(path)), None)
