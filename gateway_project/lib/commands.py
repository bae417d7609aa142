"""The base of our management commands: what one could not do stands in one line, and its exit code is 1.

Names that they show come from whoever chose them, so a terminal gets no escapes of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import ProgrammingError

from gateway_project.lib.database_state import AWAY
from gateway_project.lib.visible import visible


class GatewayCommand(BaseCommand):
    """A command that fails in one line. `--traceback` shows what Django would have shown."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for output in (self.stdout, self.stderr):
            # Of a terminal alone, which Django asks: a file or a program gets what was written.
            output.style_func = partial(_on_a_terminal, output.style_func)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """One line, where argparse prints all options and exits with 2."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if parser.called_from_command_line:

            def refuse(message: str) -> None:
                parser.exit(1, f"CommandError: {message}; --help lists what there is\n")

            parser.error = refuse  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        # ProgrammingError is what PostgreSQL raises when `migrate` has not made the tables yet.
        except (*AWAY, ProgrammingError) as exc:
            raise CommandError(f"The database cannot be used: {' '.join(str(exc).split())}") from exc


def _on_a_terminal(style: Callable[[str], str], text: str) -> str:
    """Without escapes of others, and in the colour of ours."""
    return style("\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n")))
