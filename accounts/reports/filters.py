"""The filters of the usage pages, their exports and the REST API, in one spelling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext

from accounts.models import FAILED, TURNED_AWAY, ApiKey, Team, Usage
from accounts.reports.period import DAY, HOUR, RANGES, BadTime, Span, before, is_whole_hours, moment, span_of, weekly

COLUMNS: Final = {
    "team": "team_id", "key": "api_key_id", "model": "model", "lingma_model": "lingma_model", "protocol": "protocol",
    "endpoint": "endpoint", "client_app": "agent", "status": "status", "reason": "reason", "instance": "instance",
    "session": "session", "source": "usage_source",
}  # fmt: skip
"""Filters by a column of the rows, and that column. All but ROW_ONLY are columns of the hours too."""
ROW_ONLY: Final = frozenset({"model", "instance", "session"})
NONE: Final = "none"
"""As a value: rows that have none, such as those of keys without a team."""
TIMES: Final = ("from", "to", "range")
OUTCOMES: Final = ("failed", "turned_away")
WEEKLY: Final = "hour_of_week"
"""Such as `mon-14`: an hour of each week of the span."""
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOURS: Final = {f"{day}-{hour:02}": (number, hour) for number, day in enumerate(WEEKDAYS) for hour in range(24)}
NAMES: Final = (*TIMES, *COLUMNS, "outcome", WEEKLY)
NOT: Final = "!"
"""In front of a value: all rows but those that have it."""
MOST_VALUES: Final = 50
MOST_WEEKS: Final = 120
LONGEST: Final = 128
MOST_DIGITS: Final = 18
"""More would not fit into the column of an id."""


EVER: Final = Span(None, None)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What rows are asked for. Values of one filter are alternatives, but for those with a NOT; all filters must hold.

    With `hour_of_week` the span has a start.
    """

    now: datetime
    zone: tzinfo
    range: str = ""
    span: Span = EVER
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outcome: str = ""
    hour_of_week: str = ""

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """The span, or those hours of it that are asked for."""
        start, end = self.span
        if not self.hour_of_week or start is None:
            return (self.span,)
        # Without an end the hour that runs counts as a whole, as it does where spans have none.
        return tuple(weekly(start, end or self.now + HOUR, HOURS[self.hour_of_week], self.zone))

    @property
    def needs_rows(self) -> bool:
        """Whether a filter is by a column that sums by the hour do not have."""
        return not ROW_ONLY.isdisjoint(self.values)

    @cached_property
    def accepted(self) -> dict[str, frozenset[Any]]:
        """By column, the values that rows may have: ids instead of names, None or "" for none."""
        return self._stored({name: [text for text in texts if text[0] != NOT] for name, texts in self.values.items()})

    @cached_property
    def excluded(self) -> dict[str, frozenset[Any]]:
        """By column, the values that rows may not have."""
        return self._stored(
            {name: [text[1:] for text in texts if text[0] == NOT] for name, texts in self.values.items()}
        )

    def _stored(self, by_name: Mapping[str, list[str]]) -> dict[str, frozenset[Any]]:
        return {COLUMNS[name]: frozenset(_accepted(name, texts)) for name, texts in by_name.items() if texts}

    @property
    def condition(self) -> Q:
        """Of rows and, unless `needs_rows`, of hours; without the span of time."""
        met = Q()
        for column, values in self.accepted.items():
            found = Q(**{f"{column}__in": sorted(values - {None})})
            met &= found | Q(**{f"{column}__isnull": True}) if None in values else found
        for column, values in self.excluded.items():
            # Rows with none are left, as Django puts it.
            met &= ~Q(**{f"{column}__in": sorted(values - {None})})
            met &= Q(**{f"{column}__isnull": False}) if None in values else Q()
        match self.outcome:
            case "failed":
                met &= FAILED
            case "turned_away":
                met &= TURNED_AWAY
        return met

    def splits_days(self, group_by: Sequence[str]) -> bool:
        """In a zone such as Asia/Kolkata the hour (UTC) around midnight belongs to two days."""
        return "day" in group_by and not is_whole_hours(self.zone, self.now)

    def before(self) -> Filters | None:
        """The same filters over the period before; None where there is nothing before."""
        span = before(self.range, self.span, self.now, self.zone)
        return span and replace(self, span=span, range="")


def parse(given: Mapping[str, Sequence[str]], now: datetime, zone: tzinfo, default_range: str = "") -> Filters:
    """The filters in a query: names to the values given. Other names are left alone, empty values are no filter.

    Raise ValidationError with a message for each filter that makes no sense.
    """
    texts = {name: [text for each in given.get(name, ()) if (text := each.strip())] for name in NAMES}
    errors = {name: flaw for name, values in texts.items() if (flaw := _flaw(name, values))}
    chosen, span = "", EVER
    if errors.keys().isdisjoint(TIMES):
        chosen, span = _span(texts, now, zone, default_range, errors)
    # Also where the times make no sense: who takes them away has to take this one as well.
    if texts[WEEKLY] and (span.start is None or (span.end or now) - span.start > MOST_WEEKS * 7 * DAY):
        errors.setdefault(WEEKLY, gettext("It needs a start, at most %(most)d weeks ago.") % {"most": MOST_WEEKS})
    if errors:
        raise ValidationError(errors)
    values = {name: tuple(dict.fromkeys(texts[name])) for name in COLUMNS if texts[name]}
    outcome, hour = "".join(texts["outcome"]), "".join(texts[WEEKLY])
    return Filters(
        now=now, zone=zone, range=chosen, span=span, values=values, outcome=outcome, hour_of_week=hour
    )  # fmt: skip


def _flaw(name: str, values: list[str]) -> str:
    """What is wrong with the values of a filter, "" when nothing is."""
    if any(len(text) > LONGEST or "\0" in text or text == NOT for text in values) or len(values) > MOST_VALUES:
        return gettext("This is longer than any value can be.")
    if name in COLUMNS:
        values = [text.removeprefix(NOT) for text in values]
    if name in {*TIMES, "outcome", WEEKLY} and len(values) > 1:
        return gettext("This may be given once.")
    if name in ("team", "key") and any(text.isdecimal() and len(text) > MOST_DIGITS for text in values):
        return gettext("This is the id of nothing.")
    if name == WEEKLY and not HOURS.keys() >= set(values):
        return gettext("This is no hour of the week such as mon-14.")
    choices = {"status": Usage.Status.values, "range": list(RANGES), "outcome": list(OUTCOMES)}.get(name)
    if choices and (unknown := [text for text in values if text not in choices]):
        words = {"value": unknown[0], "choices": ", ".join(choices)}
        return gettext("%(value)s is not one of %(choices)s.") % words
    return ""


def _span(
    given: Mapping[str, list[str]], now: datetime, zone: tzinfo, default: str, errors: dict[str, str]
) -> tuple[str, Span]:
    """The range that was chosen, "" for times of one's own, and the span. Times win over a range."""
    times: dict[str, datetime | None] = {"from": None, "to": None}
    for name in times:
        if given[name]:
            try:
                times[name] = moment(given[name][0], zone, end=name == "to")
            except BadTime:
                errors[name] = gettext("This is no time such as 2026-11-28 or 2026-11-28T14:00:00Z.")
    start, end = times["from"], times["to"]
    if start and end and end < start:
        errors["to"] = gettext("This is before the start.")
    if start or end:
        return "", Span(start, end)
    chosen = "".join(given["range"]) or default
    return chosen, span_of(chosen, now, zone) if chosen else EVER


def _accepted(name: str, values: Sequence[str]) -> Iterator[Any]:
    texts = [text for text in values if text != NONE]
    if name not in ("team", "key"):
        yield from [*texts, *([""] if NONE in values else [])]
        return
    # A name of digits alone is taken for an id.
    yield from [int(text) for text in texts if text.isdecimal()]
    if names := [text for text in texts if not text.isdecimal()]:
        model = Team if name == "team" else ApiKey
        # Read at once, and not as a subquery: the planner of SQLite then knows that there are few.
        yield from model._default_manager.filter(name__in=names).values_list("pk", flat=True)
    if NONE in values:
        yield None
