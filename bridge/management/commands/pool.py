"""
`pool ACTION NAME|all`: drains, restarts, stops, starts, cools, clears, tests, logs in or moves instances. For `all`,
drain, stop and start are one order, which also holds for instances that are added later.
`pool size N [PROCESS]`: how many instances each web process has, or that one.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error

from accounts.audit.commands import RecordedCommand
from bridge.fleet import orders, sizes, versions
from bridge.fleet.orders import LONGEST_SEC, Action, NoLogin, UnknownInstance
from bridge.fleet.sizes import BadSize
from bridge.fleet.versions import UnknownVersion
from bridge.models.pool_size import EVERY_PROCESS


class Command(RecordedCommand):
    """Write down what is wanted; every web process does it within two seconds."""

    help = __doc__

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's own `--version` gives way."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=[each.value for each in Action])
        parser.add_argument("name", metavar="NAME", help="an instance such as w1-i1, or all; for `size`, how many")
        parser.add_argument("process", nargs="?", type=int, help="for `size`: a web process, such as 2; else all")
        parser.add_argument("--seconds", type=int, default=300, help="how long `cool` lasts; 300 unless said")
        parser.add_argument(
            "--version", default="", metavar="V",
            help="for `move`: one that was installed; none: the default again, or for all what the settings say",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 < options["seconds"] <= LONGEST_SEC:
            raise CommandError(f"--seconds is from 1 to {LONGEST_SEC}.")
        action = Action(options["action"])
        if options["process"] is not None and action is not Action.SIZE:
            raise CommandError(f"{action} takes one name.")
        try:
            done = _order(action, options)
        except (UnknownInstance, UnknownVersion, NoLogin, BadSize) as exc:
            raise CommandError(str(exc)) from None
        except Error as exc:
            raise CommandError(f"The database cannot be used: {exc}") from None
        self.stdout.write(f"{action}: {done}")


def _order(action: Action, options: dict[str, Any]) -> str:
    """What it was ordered for."""
    name = options["name"]
    if action is Action.SIZE:
        if not name.isdecimal():
            raise CommandError(f"{name} is no number of instances.")
        process = options["process"] or EVERY_PROCESS
        sizes.order(int(name), process, settings.ENV)
        return f"{int(name)} of {f'web-{process}' if process else 'each web process'}"
    if action is Action.MOVE:
        names = orders.move(name, versions.wanted_by(options["version"]), settings.REDIS_URL)
    else:
        names = orders.order(action, name, settings.REDIS_URL, seconds=options["seconds"])
    return ", ".join(names) or orders.ALL
