"""The base of our management commands: what one could not do stands in one line, and its exit code is 1.

Names that they show come from whoever chose them, so a terminal gets no escapes of theirs.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import ProgrammingError

from gateway_project.lib.database.database_state import AWAY
from gateway_project.lib.visible import visible

CANCELLED: Final = 130
"""The exit code of what ^C has ended, as shells have it."""


def names(text: str) -> str:
    """A list of at least one name: an empty variable in a script must not lift the restriction.

    The default of such an option is None and not "": argparse passes a text through `type`, too.
    """
    if not text.replace(",", "").strip():
        raise ArgumentTypeError("names nothing; leave it out for the default")
    return text


class GatewayCommand(BaseCommand):
    """A command that fails in one line. `--traceback` shows what Django would have shown.

    Options may stand anywhere, also between names that may be left out.
    """

    numbers: ClassVar[Mapping[str, int]] = {}
    """Options whose number may be left out, and what it is then: whatever else follows them is none of theirs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stdout, self.stderr = _Output(self.stdout), _Output(self.stderr)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """One line, where argparse prints all options and exits with 2."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if parser.called_from_command_line:

            def refuse(message: str) -> None:
                parser.exit(1, f"CommandError: {message}; --help lists what there is\n")

            parser.error = refuse  # type: ignore[method-assign]

        def parse(args: Sequence[str] | None = None, namespace: Any = None) -> Any:
            given = sys.argv[1:] if args is None else args
            return parser.parse_intermixed_args(list(_with_numbers(given, self.numbers)), namespace)

        parser.parse_args = parse  # type: ignore[method-assign,assignment]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        # ProgrammingError is what PostgreSQL raises when `migrate` has not made the tables yet.
        except (*AWAY, ProgrammingError) as exc:
            raise CommandError(f"The database cannot be used: {' '.join(str(exc).split())}") from exc
        except UnicodeEncodeError as exc:
            # An argument of a terminal with another encoding, or a name that this terminal has no signs for. No more
            # than what is wrong: it may stand in a secret.
            raise CommandError(f"{exc.object[exc.start : exc.end]!a} cannot be written as {exc.encoding}") from exc

    def run_from_argv(self, argv: list[str]) -> None:
        """Whoever breaks a command off, or reads no more of it, knows where it was."""
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            self.stderr.write("cancelled")
            sys.exit(CANCELLED)
        except BrokenPipeError:
            # What is left of the output has to go somewhere when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.stderr.write("CommandError: nobody reads the output any more, so this was broken off")
            sys.exit(1)


def _with_numbers(args: Sequence[str], numbers: Mapping[str, int]) -> Iterator[str]:
    """Argparse takes whatever follows such an option for its number."""
    for arg, following in zip(args, [*args, ""][1:], strict=True):
        is_without = arg in numbers and not re.fullmatch(r"-?\d+", following)
        yield f"{arg}={numbers[arg]}" if is_without else arg


class _Output(OutputWrapper):
    """Shows no escapes of others on a terminal, whatever becomes of our own colours: `--no-color` drops the style."""

    def __init__(self, before: OutputWrapper) -> None:
        super().__init__(before._out, before.ending)  # type: ignore[arg-type]  # what is not there is asked of it
        self.style_func = before.style_func

    def write(  # type: ignore[override]  # as Django has it
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        # A file or a program gets what was written.
        super().write(_shown(msg) if self.isatty() else msg, style_func, ending)


def _shown(text: str) -> str:
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))
