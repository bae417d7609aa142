"""
`pool ACTION NAME|all`: drains, restarts, stops, starts, cools, clears, tests, logs in or moves instances. For `all`,
drain, stop and start are one order, which also holds for instances that are added later.
`pool size N [PROCESS]`: how many instances each web process has, or that one.
`pool list [--json]`: which instances there are, and how each one is.
"""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar, Final

import redis
from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error
from django.utils import timezone

from accounts.audit.commands import RecordedCommand
from bridge.fleet import attempts, heartbeats, orders, pool_list, sizes, timelines, versions
from bridge.fleet.obeyed import Given, since, undone
from bridge.fleet.orders import LONGEST_SEC, Action, NoLogin, UnknownInstance
from bridge.fleet.sizes import BadSize
from bridge.fleet.versions import UnknownVersion
from bridge.models.pool_size import EVERY_PROCESS
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from gateway_project.lib.redis.redis_client import connect

LIST: Final = "list"
WAIT_SEC: Final = 300
LOOK_SEC: Final = 0.5
MOST_STEPS: Final = 20
NOBODY: Final = "No gateway runs: no instance gives a sign of life."


class Command(RecordedCommand):
    """Write down what is wanted; every web process does it within two seconds."""

    help = __doc__
    numbers: ClassVar = {"--wait": WAIT_SEC}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's own `--version` gives way."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=[LIST, *(each.value for each in Action)])
        parser.add_argument(
            "name", metavar="NAME", nargs="?", default="",
            help="an instance such as w1-i1, or all; for `size`, how many; none for `list`",
        )  # fmt: skip
        parser.add_argument("process", nargs="?", default="", help="for `size`: a web process, such as 2; else all")
        parser.add_argument("--seconds", type=int, default=300, help="how long `cool` lasts; 300 unless said")
        parser.add_argument(
            "--version", default="", metavar="V",
            help="for `move`: one that was installed; none: the default again, or for all what the settings say",
        )  # fmt: skip
        parser.add_argument(
            "--wait", type=int, nargs="?", const=WAIT_SEC, metavar="SECONDS",
            help=f"return when it is done; exit 1 with what is missing after SECONDS ({WAIT_SEC} unless said)",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="for `list`: print one JSON array")

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        try:
            if options["action"] == LIST:
                self._list(as_json=options["json"])
                return
            before = _beats() if options["wait"] else {}
            given, done = _order(Action(options["action"]), options, before)
        except (UnknownInstance, UnknownVersion, NoLogin, BadSize) as exc:
            raise CommandError(str(exc)) from None
        except redis.RedisError as exc:
            raise CommandError(f"Redis does not answer, which alone knows how instances are: {exc}") from None
        except Error as exc:
            raise CommandError(f"The database cannot be used: {exc}") from None
        self.stdout.write(f"{given.action}: {done}")
        if options["wait"]:
            self._wait(given, options["wait"])

    def _wait(self, given: Given, seconds: int) -> None:
        """Until it is done, and say what has happened meanwhile. Raise CommandError with what is missing."""
        until = time.monotonic() + seconds
        while True:
            try:
                missing = undone(given, _beats().values())
                if not missing:
                    break
                failed = attempts.failures(given.attempts)
            except redis.RedisError as exc:
                missing, failed = [f"Redis does not answer: {exc}"], []
            except Error as exc:
                raise CommandError(f"The database cannot be used: {exc}") from None
            if failed:
                raise CommandError("; ".join([*failed, *missing]))
            if time.monotonic() >= until:
                raise CommandError(f"Not done within {seconds} s: {'; '.join([*missing, *_steps(given)])}")
            time.sleep(LOOK_SEC)
        for line in [*_steps(given), "done"]:
            self.stdout.write(line)

    def _list(self, *, as_json: bool) -> None:
        now = timezone.now()
        found = pool_list.facts(settings.REDIS_URL, now)
        if as_json:
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        if all(each["state"] == InstanceState.GONE for each in found):
            self.stdout.write(NOBODY)
        if found:
            self.stdout.write(pool_list.table(found, now))


def _check(options: dict[str, Any]) -> None:
    """What belongs together. Raise CommandError."""
    action, name = options["action"], options["name"]
    if not 0 < options["seconds"] <= LONGEST_SEC:
        raise CommandError(f"--seconds is from 1 to {LONGEST_SEC}.")
    if options["wait"] is not None and not 0 < options["wait"] <= LONGEST_SEC:
        raise CommandError(f"--wait is from 1 to {LONGEST_SEC}.")
    if action == LIST and (name or options["wait"]):
        raise CommandError("list takes no name, and waits for nothing.")
    if action != LIST and options["json"]:
        raise CommandError("--json is for list.")
    if action == Action.SIZE:
        _check_size(name, options["process"])
    elif action != LIST and not name:
        raise CommandError(f"{action} needs a NAME, or all.")
    elif options["process"]:
        raise CommandError(f"{action} takes one NAME, or all.")


def _check_size(number: str, process: str) -> None:
    if not number:
        raise CommandError("size needs how many instances, such as: pool size 3")
    if not number.isdecimal():
        raise CommandError(f"{number} is no number of instances.")
    if process and not (process.isdecimal() and int(process)):
        raise CommandError(f"{process} is no number of a web process, such as 2.")


def _order(action: Action, options: dict[str, Any], before: dict[str, InstanceStatus]) -> tuple[Given, str]:
    """What was ordered, and what it was ordered for."""
    name = options["name"]
    if action is Action.SIZE:
        process = int(options["process"] or EVERY_PROCESS)
        sizes.order(int(name), process, settings.ENV)
        done = f"{int(name)} of {f'web-{process}' if process else 'each web process'}"
        return Given(action, None, size=int(name), process=process), done
    if action is Action.MOVE:
        names = orders.move(name, versions.wanted_by(options["version"]), settings.REDIS_URL)
    else:
        names = orders.order(action, name, settings.REDIS_URL, seconds=options["seconds"])
    whose = None if name == orders.ALL else frozenset(names)
    wanted = orders.read_orders() if options["wait"] else {}
    begun = attempts.latest(names) if action is Action.RELOGIN and options["wait"] else []
    return Given(action, whose, wanted, before, attempts=begun), ", ".join(names) or orders.ALL


def _beats() -> dict[str, InstanceStatus]:
    """Raise redis.RedisError."""
    with connect(settings.REDIS_URL) as client:
        return {each.name: each for each in heartbeats.read_all(client)}


def _steps(given: Given) -> list[str]:
    """What the instances have done since, one line for each: whatever else has happened to them stands there too."""
    try:
        return since(given, timelines.recent(settings.REDIS_URL, given.before, MOST_STEPS))
    except redis.RedisError:
        return []
