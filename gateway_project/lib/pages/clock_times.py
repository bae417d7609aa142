"""Times of day that people enter, in a zone whose clocks are put back once a year."""

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


def _comes_twice(at: datetime) -> bool:
    # What clocks leave out in spring has two offsets, too, but no time of UTC leads to it.
    is_there = at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None)
    return is_there and at.utcoffset() != at.replace(fold=1).utcoffset()
