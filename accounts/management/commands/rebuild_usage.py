"""`rebuild_usage --from D --to D` makes the sums of usage by the hour anew from the rows."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.audit.commands import RecordedCommand
from accounts.audit.entries import record
from accounts.audit.watched import CHANGED
from accounts.ledger import hours
from accounts.models import UsageHour
from gateway_project.lib.counted import counted


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a date like 2026-11-28") from None


class Command(RecordedCommand):
    """Make the sums of usage by the hour anew from the rows of these days (UTC), the last one included."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", type=day, required=True, dest="first", help="a date like 2026-11-01")
        parser.add_argument("--to", type=day, required=True, dest="last", help="a date like 2026-11-28")

    def handle(self, *args: Any, first: date, last: date, **options: Any) -> None:
        # A day is added to the last one, and no date is later than the year 9999.
        if last < first or last.year > 9998:
            raise CommandError(f"{first} to {last} is no span of time.")
        start = datetime(first.year, first.month, first.day, tzinfo=UTC)
        end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
        sums = hours.rebuild(start, end)
        record(CHANGED, UsageHour._meta.label_lower, "", f"{sums} × {UsageHour._meta.verbose_name_plural}")
        self.stdout.write(f"Rebuilt {first} to {last}: {counted(sums, 'sum')} of hours.")
