"""The last three hours on the first page of the console: turns in a minute, and how many of them failed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from accounts.admin.recent import between
from accounts.reports.recent import Interval, current, recent
from accounts.reports.visibility import Visibility
from accounts.reports.words import number, share
from gateway_project.lib.pages.panels import Figure

HEIGHT: Final = 100


def minutes_of(now: datetime, visibility: Visibility) -> tuple[list[Figure], dict[str, Any]]:
    """The figure of this moment, and the chart with its table."""
    intervals = recent(now, visibility)
    figure = Figure(gettext("Turns per minute, now"), rate(current(intervals).per_minute), _usage(current(intervals)))
    most = max(1, *(interval.per_minute for interval in intervals))
    title = gettext("Turns per minute, last 3 hours") if visibility.everything else (
        gettext("Turns per minute of your teams, last 3 hours")
    )  # fmt: skip
    first, last = timezone.localtime(intervals[0].start), timezone.localtime(intervals[-1].end)
    return [figure], {
        "title": title, "top": rate(most), "bars": [bar(interval, most) for interval in intervals],
        "first": f"{first:%H:%M}", "last": f"{last:%H:%M %Z}", "any": any(interval.turns for interval in intervals),
    }  # fmt: skip


def bar(interval: Interval, most: float) -> dict[str, Any]:
    """Heights count from the bottom up; the failed part lies at the bottom, where a small one is seen."""
    height = HEIGHT * interval.per_minute / most
    failed = height * interval.faults / interval.turns if interval.turns else 0
    shown = {
        "time": f"{timezone.localtime(interval.start):%H:%M}–{timezone.localtime(interval.end):%H:%M}",
        "rate": rate(interval.per_minute), "turns": number(interval.turns), "faults": number(interval.faults),
        "share": share(interval.faults, interval.turns),
    }  # fmt: skip
    return {
        **shown,
        "words": _words(interval.turns) % shown,
        "href": _usage(interval),
        "failed_href": _usage(interval, outcome="failed") if interval.faults else "",
        "y": f"{HEIGHT - height:.1f}", "height": f"{height - failed:.1f}",
        "failed_y": f"{HEIGHT - failed:.1f}", "failed_height": f"{failed:.1f}",
    }  # fmt: skip


def _words(turns: int) -> str:
    if not turns:
        return gettext("%(time)s: no turns")
    return ngettext(
        "%(time)s: %(rate)s per minute, %(turns)s turn, %(share)s failed",
        "%(time)s: %(rate)s per minute, %(turns)s turns, %(share)s failed",
        turns,
    )


def rate(value: float) -> str:
    """With a digit behind the point below ten, where it says something."""
    return number(round(value)) if value >= 10 else f"{value:.1f}"


def _usage(interval: Interval, **filters: str) -> str:
    return between("usage", interval.start, interval.end, **filters)
