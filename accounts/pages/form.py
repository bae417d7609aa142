"""The filter bar: ranges, choices, and the filters that are set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.dates import WEEKDAYS
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from accounts.models import Usage
from accounts.pages.markup import options, shortened, suggestions
from accounts.pages.names import Names
from accounts.pages.query import VIEW, Query
from accounts.pages.tables import program
from accounts.pages.trace_words import SESSION_STATES
from accounts.reports.filters import COLUMNS, HOURS, NONE, NOT, WEEKLY
from accounts.reports.period import RANGES
from accounts.reports.words import SOURCES
from gateway_project.lib.public_formats import PROTOCOLS, PUBLIC_FORMATS
from gateway_project.lib.visible import visible

LONGEST: Final = 48
"""Of the name of a choice."""
SESSIONS: Final = ("new", "reused", "rebuilt", "off")


WORDS: Final[dict[str, Mapping[str, Any]]] = {
    "status": dict(Usage.Status.choices), "session": SESSION_STATES, "source": SOURCES, "protocol": dict(PROTOCOLS),
}  # fmt: skip
"""What a value of these filters is called; all others are names that somebody gave."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A range: its name, its address, and whether it is the one that is shown."""

    name: str
    href: str
    chosen: bool
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A filter to set. With `choices` (value, name) it is a list, else a text with `suggestions`."""

    name: str
    label: str
    value: str
    choices: list[tuple[str, str]] | None = None
    suggestions: list[str] | None = None
    kept: tuple[str, ...] = ()
    """Further values that the address has; they go along."""

    @property
    def options(self) -> SafeString:
        """Of the list, or the suggestions, as a template shows them."""
        if self.choices is None:
            return suggestions(self.suggestions or ())
        return options([(value, shortened(name, LONGEST)) for value, name in self.choices], self.value)


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A filter that is set, and the address without it."""

    label: str
    value: str
    href: str


def labels() -> dict[str, str]:
    return {
        "team": gettext("Team"), "key": gettext("Key"), "model": gettext("Model asked"),
        "lingma_model": gettext("Model used"), "protocol": gettext("Protocol"), "endpoint": gettext("Endpoint"),
        "client_app": gettext("Program"), "status": gettext("Status"), "reason": gettext("Reason"),
        "instance": gettext("Instance"), "session": gettext("Session"), "source": gettext("Tokens from"),
        "outcome": gettext("Outcome"), "from": gettext("From"), "to": gettext("To"),
        WEEKLY: gettext("Hour of the week"),
    }  # fmt: skip


def ranges(query: Query) -> list[Choice]:
    """The ranges of the API, and days by their dates."""
    names = {
        "1h": gettext("Hour"), "24h": gettext("24 hours"), "7d": gettext("7 days"), "30d": gettext("30 days"),
        "month": gettext("Month"),
    }  # fmt: skip
    today = query.filters.now.astimezone(query.filters.zone).date()
    monday = today - timedelta(days=today.weekday())
    last_month = today.replace(day=1) - timedelta(days=1)
    days = [
        (gettext("Today"), today, today),
        (gettext("Yesterday"), today - timedelta(days=1), today - timedelta(days=1)),
        (gettext("Last week"), monday - timedelta(days=7), monday - timedelta(days=1)),
        (gettext("Last month"), last_month.replace(day=1), last_month),
    ]
    found = [
        Choice(
            name=names[name],
            href=query.href(**{"range": name, "from": None, "to": None}),
            chosen=query.filters.range == name,
            value=name,
        )
        for name in RANGES
    ]
    for name, first, last in days:
        dates = {"from": first.isoformat(), "to": last.isoformat()}
        chosen = all(list(query.given.get(each, ())) == [dates[each]] for each in dates)
        found.append(Choice(name=name, href=query.href(**{**dates, "range": None}), chosen=chosen))
    return found


def fields(query: Query, names: Names, models: list[str], reasons: list[str]) -> tuple[list[Field], list[Field]]:
    """Those that are always shown, and those that unfold."""
    every = labels()

    def field(name: str, **how: Any) -> Field:
        values = query.filters.values.get(name, ()) if name in COLUMNS else (query.filters.outcome,)
        # What rows may not have goes along, and stands above as what is set.
        first = next((value for value in values if not value.startswith(NOT)), "")
        # An address may have a value that is no choice; without this the form would drop it when it is sent.
        if how.get("choices") is not None and first and first not in dict(how["choices"]):
            how["choices"] = [*how["choices"], (first, visible(first))]
        return Field(
            name=name,
            label=every[name],
            value=first,
            kept=tuple(value for value in values if value not in ("", first)),
            **how,
        )

    teams = [(str(pk), name) for pk, name in names.teams.items()]
    # Who sees their teams alone sees no turn of a key without one.
    teams += [(NONE, gettext("no team"))] if names.everything else []
    first = [
        field("team", choices=teams),
        field("key", suggestions=names.keys),
        field("lingma_model", suggestions=models),
        field("status", choices=[(value, str(label)) for value, label in Usage.Status.choices]),
        field("reason", suggestions=reasons),
    ]
    more = [
        field("client_app", choices=[(value, program(value)) for value in Usage.Agent.values]),
        field("model", suggestions=[]),
        field("protocol", choices=list(PROTOCOLS)),
        field("endpoint", choices=[(each.path, each.path) for each in PUBLIC_FORMATS]),
        field("outcome", choices=outcomes()),
        field("instance", suggestions=[]),
        field("session", choices=[(value, str(SESSION_STATES[value])) for value in SESSIONS]),
        field("source", choices=[(value, str(label)) for value, label in SOURCES.items()]),
    ]
    return first, more


def outcomes() -> list[tuple[str, str]]:
    return [("failed", gettext("failed here")), ("turned_away", gettext("turned away by a limit or a mistake"))]


def chips(query: Query, names: Names, page: str = "usage") -> list[Chip]:
    """One for each value that is set; a range where there is no choice of them beside. `page` is where they lead."""
    every, found = labels(), []
    for name, values in query.filters.values.items():
        for value in values:
            rest = [other for other in query.given[name] if other.strip() != value]
            found.append(
                Chip(label=every[name], value=_shown(name, value, names), href=query.href(page, **{name: rest}))
            )
    if query.filters.outcome:
        outcome = dict(outcomes())[query.filters.outcome]
        found.append(Chip(label=every["outcome"], value=outcome, href=query.href(page, outcome=None)))
    if asked := query.filters.hour_of_week:
        weekday, hour = HOURS[asked]
        shown = f"{WEEKDAYS[weekday]} {hour:02}:00"
        found.append(Chip(label=every[WEEKLY], value=shown, href=query.href(page, **{WEEKLY: None})))
    if query.filters.range and page != "usage":
        shown = next(choice.name for choice in ranges(query) if choice.value == query.filters.range)
        found.append(Chip(label=gettext("Range"), value=shown, href=query.href(page, range=None)))
    if not query.filters.range:
        for name, at in zip(("from", "to"), query.filters.span, strict=True):
            if at is not None:
                href = query.href(page, **{name: None})
                found.append(Chip(label=every[name], value=f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}", href=href))
    return found


def _shown(name: str, value: str, names: Names) -> str:
    if value.startswith(NOT):
        return gettext("not %(value)s") % {"value": _shown(name, value[1:], names)}
    if value == NONE:
        return gettext("none")
    if name == "team" and value.isdecimal():
        return names.team(int(value))
    if name == "key" and value.isdecimal():
        return names.key(int(value))
    if name == "client_app":
        return program(value)
    return str(WORDS.get(name, {}).get(value) or visible(value))


def moment_value(query: Query, name: str) -> str:
    """What an input of a local time shows, "" while a range is chosen."""
    at = query.filters.span.start if name == "from" else query.filters.span.end
    return f"{timezone.localtime(at):%Y-%m-%dT%H:%M:%S}" if at is not None and not query.filters.range else ""


def kept(query: Query) -> list[tuple[str, str]]:
    """What the form sends along unseen: how the page looks, the range, further values of a filter."""
    # Not which table is shown whole: other filters leave other groups.
    unseen = [(name, value) for name in VIEW if name != "all" for value in query.given.get(name, ())]
    hidden = [("range", query.filters.range), (WEEKLY, query.filters.hour_of_week)]
    return [*unseen, *((name, value) for name, value in hidden if value)]
