"""The turns of a seed, and what pages say of them, all in plain Python: no query, no sum and no filter of ours."""

import math
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

from accounts.models.hour import BOUNDS_MS
from tests.accounts.reports.sample import COLUMN, OURS, THEIRS

HOUR = timedelta(hours=1)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
GUESSES = ("estimate", "partial")
NOT_ASKED = ("from", "to", "sort", "all")


class Turn(SimpleNamespace):
    """As the generator has it, with the ids of its key and team."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @property
    def hour(self):
        return self.started_at.replace(minute=0, second=0, microsecond=0)

    @cached_property
    def outcome(self):
        """By whose fault it failed, "" for none."""
        if self.status not in ("error", "refused"):
            return ""
        ours = self.reason in OURS if self.status == "refused" else self.reason not in THEIRS
        return "failed" if ours else "turned_away"

    @property
    def tokens_known(self):
        return bool(self.status != "refused" and self.instance and self.usage_source)

    def is_meant(self, name, value, zone):
        """By a value of a filter."""
        if name == "outcome":
            return self.outcome == value
        if name == "hour_of_week":
            at = self.hour.astimezone(zone)
            return value == f"{WEEKDAYS[at.weekday()]}-{at.hour:02}"
        return value == (str(getattr(self, COLUMN.get(name, name)) or "") or "none")


class Turns:
    """All of them, in the order of time."""

    def __init__(self, made):
        self.all = made
        self._times = [turn.started_at for turn in made]
        self._kept = {}

    def left_by(self, given, zone):
        """Those that filters leave."""
        start, end = (datetime.fromisoformat(given[name][0]) for name in ("from", "to"))
        left = set(self.all[bisect_left(self._times, start) : bisect_left(self._times, end)])
        for name, values in given.items():
            if name not in NOT_ASKED:
                left &= self._having(name, tuple(values), zone)
        return left

    def behind(self, href, zone):
        """Those that an address leads to."""
        return self.left_by(parse_qs(urlsplit(href).query), zone)

    def _having(self, name, values, zone):
        if (name, values, zone) not in self._kept:
            wanted, unwanted = ([each.lstrip("!") for each in values if (each[0] == "!") is no] for no in (False, True))
            self._kept[name, values, zone] = {
                turn
                for turn in self.all
                if not any(turn.is_meant(name, value, zone) for value in unwanted)
                and (not wanted or any(turn.is_meant(name, value, zone) for value in wanted))
            }
        return self._kept[name, values, zone]


def within(times, share):
    """The time in milliseconds that this share of all stays within, as pages have it.

    What is known of a time is the two bounds it lies between; there times are spread evenly.
    """
    if not times:
        return None
    bounds = [0, *BOUNDS_MS]
    tops = [*BOUNDS_MS, math.inf]
    buckets = sorted(tops[bisect_left(BOUNDS_MS, ms)] for ms in times)
    upper = buckets[math.ceil(share * len(buckets)) - 1]
    if upper == math.inf:
        return BOUNDS_MS[-1]
    lower = bounds[bounds.index(upper) - 1]
    rank = share * len(buckets) - sum(each < upper for each in buckets)
    return round(lower + (upper - lower) * rank / buckets.count(upper))


def firsts(turns):
    return [turn.first_token_ms for turn in turns if turn.first_token_ms is not None]


def iso(at):
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
