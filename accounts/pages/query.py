"""The addresses of usage pages: the filters in them, and addresses with other filters made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext

from accounts.reports.filters import NAMES, TIMES, Filters, parse
from gateway_project.lib.pages.paths import path_of
from gateway_project.lib.visible import visible

DEFAULT_RANGE: Final = "24h"
VIEW: Final = ("sort", "all", "refresh")
"""What else an address of the page says: how tables are ordered, which one is shown whole, whether it comes anew."""

MOST_NAMED: Final = 5
LONGEST: Final = 40
KEPT: Final = 64
"""So long are values whose text in addresses is kept."""

Values = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Query:
    """What was asked for, as it stands in the address. A name with no values is left out of addresses."""

    given: Values
    filters: Filters

    def href(self, page: str = "usage", /, **changes: str | Sequence[str] | None) -> str:
        """The address of a page with these filters and some changes; None takes a filter away."""
        return address(page, self.given, changes)

    def frozen(self, page: str = "usage_rows", /, **changes: str | Sequence[str] | None) -> str:
        """As `href`, and from and to the moment: what is there leads to the very rows that were summed up."""
        span = self.filters.span
        times: dict[str, str | Sequence[str] | None] = {
            "from": iso(span.start), "to": iso(span.end or self.filters.now), "range": None,
        }  # fmt: skip
        # How the page looks goes along to itself alone.
        return address(page, self.given, times | changes, names=NAMES)

    def value(self, name: str) -> str:
        """The first value of a filter, "" for none."""
        values = self.filters.values.get(name, ())
        return values[0] if values else ""

    def view(self, name: str) -> str:
        return next(iter(self.given.get(name, ())), "")


def query_of(request: HttpRequest, default_range: str = DEFAULT_RANGE) -> Query:
    """Raise ValidationError for a filter that makes no sense."""
    given = given_in(request)
    return Query(given, parse(given, timezone.now(), timezone.get_current_timezone(), default_range))


def given_in(request: HttpRequest) -> dict[str, list[str]]:
    """The values of all names that a page reads, without empty ones."""
    return {name: [text for text in request.GET.getlist(name) if text.strip()] for name in (*NAMES, *VIEW)}


def unknown_in(request: HttpRequest, *others: str) -> str:
    """What to say of parameters that nobody reads, "" without any: a filter that is misspelt must not seem to hold."""
    unknown = sorted(set(request.GET) - {*NAMES, *VIEW, *others})
    if not unknown:
        return ""
    words = {"names": ", ".join(visible(name[:LONGEST]) for name in unknown[:MOST_NAMED])}
    return gettext("There is no such filter, and nothing is filtered by it: %(names)s.") % words


def without_flaws(request: HttpRequest, flaws: Mapping[str, object], default_range: str = DEFAULT_RANGE) -> Query:
    """The same without the filters that make no sense."""
    given = {
        name: []
        if name in flaws or (name in TIMES and not flaws.keys().isdisjoint(TIMES))
        else request.GET.getlist(name)
        for name in (*NAMES, *VIEW)
    }
    return Query(given, parse(given, timezone.now(), timezone.get_current_timezone(), default_range))


def address(
    page: str, given: Values, changes: Mapping[str, str | Sequence[str] | None], names: Sequence[str] = (*NAMES, *VIEW)
) -> str:
    pairs: dict[str, Sequence[str]] = {name: given[name] for name in names if given.get(name)}
    for name, change in changes.items():
        values = [change] if isinstance(change, str) else change
        if values:
            pairs[name] = values
        else:
            pairs.pop(name, None)
    if not pairs:
        return path_of(page)
    return f"{path_of(page)}?{'&'.join([_pair(name, value) for name, values in pairs.items() for value in values])}"


def _pair(name: str, value: str) -> str:
    return _short_pair(name, value) if len(value) <= KEPT else urlencode(((name, value),))


@lru_cache(4096)
def _short_pair(name: str, value: str) -> str:
    """A page has a thousand addresses of the same few pairs."""
    return urlencode(((name, value),))


def iso(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, as addresses and exports have times."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
