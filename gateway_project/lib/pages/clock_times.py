"""Times of day that people enter, in a zone whose clocks are put back and forward once a year."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from django.forms import SplitDateTimeField
from django.utils import timezone


class ClockTimeField(SplitDateTimeField):
    """A day and a time, in the zone of the page. An hour that clocks have twice is the first of the two.

    Django refuses such a time, and with it the whole form: nobody could save a key that ends in that hour.
    """

    def compress(self, data_list: tuple[date, time] | None) -> datetime | None:
        match data_list:
            case [date() as day, time() as clock]:
                first = datetime.combine(day, clock, timezone.get_current_timezone())
                if _comes_twice(first):
                    return first
        found: datetime | None = super().compress(data_list)
        return found


def is_skipped(at: datetime) -> bool:
    """Whether no clock of its zone ever shows it, as it is put forward then."""
    # No time of UTC leads to it. It has two offsets, too; asked first, as the ends of the calendar have no time of UTC.
    return _has_two_offsets(at) and at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None) != at.replace(
        tzinfo=None
    )


def _comes_twice(at: datetime) -> bool:
    return _has_two_offsets(at) and not is_skipped(at)


def _has_two_offsets(at: datetime) -> bool:
    return at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()
