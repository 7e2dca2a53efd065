"""`autointerp dictionaries`: the published dictionaries, and how a spec names them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from autointerp.cli.common import one_line_errors
from autointerp.dictionaries import registry
from autointerp.dictionaries.registry import Entry
from autointerp.errors import UsageError

_COLUMNS = ("path", "model", "hook point", "width", "L0", "Neuronpedia", "")


@click.command()
@click.argument("words", metavar="[PATTERN...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list of objects.")
@one_line_errors()
def dictionaries(words: tuple[str, ...], as_json: bool) -> None:
    """List the published dictionaries that SAELens knows, as a spec names them.

    PATTERN is a part or a glob of a path, model, hook point, width or Neuronpedia id; several must all match. Without PATTERN the
    collections are listed; PATTERNs that match a single dictionary show its details.
    """
    pattern = " ".join(words)
    every = registry.load()
    found = registry.matching(every, pattern) if pattern else every
    if not found:
        raise UsageError(
            f"none of {len(every):,} dictionaries matches {pattern!r}: try a part of the model's or path's name"
        )
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in found], indent=1))
        return
    lines = _collections(found) if not pattern else _described(found[0]) if len(found) == 1 else _listed(found)
    click.echo("\n".join(lines))


def _collections(entries: Sequence[Entry]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(("/".join(entry.path.split("/")[:2]), entry.model), []).append(entry)
    rows = [("repository", "model", "dictionaries", "kinds of hook point", "")]
    for (repository, model), members in groups.items():
        kinds = sorted({entry.hook_point.partition(".")[0] for entry in members if entry.hook_point})
        unread = next((entry.unread for entry in members if entry.unread), None)
        rows.append((repository, model, str(len(members)), " ".join(kinds), f"not read: {unread}" if unread else ""))
    yield from _table(rows)
    yield f"{len(entries):,} dictionaries: `autointerp dictionaries PATTERN` lists those that match, '*' lists all"


def _listed(entries: Sequence[Entry]) -> Iterator[str]:
    rows = [_COLUMNS]
    for entry in entries:
        l0 = "" if entry.l0 is None else f"{entry.l0:g}"
        cells = (entry.path, entry.model, entry.hook_point or "", entry.width or "", l0, entry.neuronpedia or "")
        rows.append((*cells, f"not read: {entry.unread}" if entry.unread else ""))
    yield from _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _described(entry: Entry) -> Iterator[str]:
    yield entry.path
    for name, value in (
        ("model", entry.model),
        ("hook point", entry.hook_point or "stated in its files"),
        ("width", entry.width or "stated in its files"),
        ("L0", None if entry.l0 is None else f"{entry.l0:g}"),
        ("Neuronpedia", f"{registry.NEURONPEDIA}/{entry.neuronpedia}" if entry.neuronpedia else None),
        ("in SAELens", "; ".join(entry.names)),
        ("format", entry.format),
        ("not read", entry.unread),
    ):
        if value is not None:
            yield f"  {name:<12} {value}"
    if entry.unread is None:
        yield from ("", "[dictionary]", f"path = {json.dumps(entry.path)}")
