"""A click group whose commands are imported when they are used (click's documentation, *Lazily Loading Subcommands*)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

from autointerp import installation
from autointerp.errors import INTERRUPTED_EXIT_CODE


class LazyCommand(NamedTuple):
    """Where a command is defined, and the line that `--help` shows for it without importing it."""

    module: str
    function: str
    summary: str


class LazyGroup(click.Group):
    """Lists its commands by section from `sections`, and imports the module of a command only to run it or to show its own help."""

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, LazyCommand]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the sections."""
        return [name for commands in self.sections.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None where there is none of that name.

        Raises `ClickException` for an extra that is not installed, and `Exit` for Ctrl-C, which click would end with exit code 1.
        """
        for commands in self.sections.values():
            if place := commands.get(cmd_name):
                try:
                    command = getattr(import_module(place.module), place.function)
                except ModuleNotFoundError as error:
                    if (message := installation.missing(error)) is None:
                        raise
                    raise click.ClickException(message) from None
                except KeyboardInterrupt:
                    click.echo("autointerp: stopped before anything was done", err=True)
                    raise click.exceptions.Exit(INTERRUPTED_EXIT_CODE) from None
                assert isinstance(command, click.Command), place
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections from their table."""
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, command.summary) for name, command in commands.items()])
