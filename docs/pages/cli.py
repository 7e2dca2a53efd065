"""docs/cli.md, from the help of every command."""

from __future__ import annotations

from typing import Any

import click

from autointerp.cli.main import main
from pages.markdown import MARK


def page() -> str:
    """docs/cli.md: the help of every command as the program prints it."""
    parts = [MARK + "# Command line\n\nWhat `--help` prints, command by command.\n"]
    parts += [f"## `{path}`\n\n```text\n{text}\n```\n" for path, text in _helps(main, "autointerp", None)]
    return "\n".join(parts)


def _helps(command: click.Command, path: str, parent: click.Context | None) -> list[tuple[str, str]]:
    # A fixed width: the page must not depend on whose terminal wrote it.
    settings: dict[str, Any] = dict(command.context_settings) | {"terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
    found = [(path, click.unstyle(command.get_help(context)).rstrip())]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                found += _helps(child, f"{path} {name}", context)
    return found
