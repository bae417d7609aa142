"""`maintenance_window add NAME --from T --to T`, `delete NAME`, `list`: planned times without turns on instances."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from accounts.audit.commands import RecordedCommand
from accounts.models import names_in
from bridge.fleet import maintenance
from bridge.models import MaintenanceWindow
from bridge.status.wanted import Mode
from gateway_project.lib.commands import names


def moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no date and time such as 2030-12-31T02:00") from None


class Command(RecordedCommand):
    """Each web process opens and closes windows by its own clock."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["add", "delete", "list"])
        parser.add_argument("name", metavar="NAME", nargs="?", default="")
        parser.add_argument("--from", dest="begins", metavar="T", type=moment, help="such as 2030-12-31T02:00")
        parser.add_argument("--to", dest="ends", metavar="T", type=moment)
        parser.add_argument("--weekly", action="store_true", help="each week at the same times of day; else once")
        parser.add_argument(
            "--zone", default=settings.TIME_ZONE, help="of the times, such as Asia/Shanghai; else TIME_ZONE"
        )
        parser.add_argument(
            "--instances", type=names, default=None, metavar="A,B", help="names such as w1-i1; all when left out"
        )
        parser.add_argument("--stop", action="store_true", help="instances end; else they only finish their turns")

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        if action != "list" and not options["name"]:
            raise CommandError(f"{action} needs a NAME.")
        done = {"add": _add, "delete": _delete, "list": _list}[action](options)
        if done:
            self.stdout.write(done)


def _add(options: dict[str, Any]) -> str:
    if options["begins"] is None or options["ends"] is None:
        raise CommandError("add needs --from and --to.")
    try:
        zone = ZoneInfo(options["zone"])
    except (KeyError, OSError, ValueError):
        raise CommandError(f"{options['zone']} is no time zone.") from None
    begins, ends = (each if each.tzinfo else each.replace(tzinfo=zone) for each in (options["begins"], options["ends"]))
    row = MaintenanceWindow(
        name=options["name"], starts_at=begins, ends_at=ends, weekly=options["weekly"], time_zone=options["zone"],
        mode=Mode.STOP if options["stop"] else Mode.DRAIN,
        instances=names_in(options["instances"] or ""),
    )  # fmt: skip
    try:
        row.full_clean()
    except ValidationError as exc:
        raise CommandError(" ".join(exc.messages)) from None
    row.save()
    return _line(row)


def _delete(options: dict[str, Any]) -> str:
    row = MaintenanceWindow.objects.filter(name=options["name"]).first()
    if row is None:
        raise CommandError(f"There is no window {options['name']}.")
    row.delete()
    return f"deleted: {row.name}"


def _list(_options: dict[str, Any]) -> str:
    return "\n".join(map(_line, MaintenanceWindow.objects.all()))


def _line(row: MaintenanceWindow) -> str:
    now = timezone.now()
    times = maintenance.next_of(row, now)
    if times is None or not row.enabled:
        return f"{row.name}: {'over' if row.enabled else 'off'}"
    begins, ends = (f"{each.astimezone(ZoneInfo(row.time_zone)):%Y-%m-%dT%H:%M%z}" for each in times)
    when = f"{'open since' if times[0] <= now else 'from'} {begins} to {ends}"
    about = ", ".join(row.instances) or "all instances"
    return f"{row.name}: {row.mode} {about} {when}{', each week' if row.weekly else ''}"
