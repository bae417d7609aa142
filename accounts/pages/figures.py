"""The six figures on top of the usage page, each beside the period before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, ngettext

from accounts.models import BOUNDS_MS
from accounts.pages.query import Query
from accounts.reports.filters import COLUMNS
from accounts.reports.sums import Sums
from accounts.reports.words import ESTIMATED, UNKNOWN, bounded, change, number, percentile_ms, share, short
from gateway_project.lib.token_sources import ESTIMATES


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`change` is what it was before, in words; `tone` says whether the change is "good", "bad" or neither.

    Without an address where no row is summed: the one of other filters would lead to rows that these do not leave.
    """

    name: str
    value: str
    href: str
    note: str = ""
    note_href: str = ""
    change: str = ""
    tone: str = ""


def figures(query: Query, now: Sums, before: Sums | None) -> list[Figure]:
    """`before` is None where nothing is before."""
    return [
        _turns(query, now, before), _failed(query, now, before), _tokens(query, now, before),
        _first_token(query, now, before), _reused(query, now, before), _queue(query, now, before),
    ]  # fmt: skip


def _turns(query: Query, now: Sums, before: Sums | None) -> Figure:
    return Figure(
        name=gettext("Turns"),
        value=number(now.turns),
        href=query.frozen(),
        note=gettext("%(count)s turned away") % {"count": number(now.turned_away)},
        note_href=query.frozen(outcome="turned_away") if now.turned_away else "",
        change=_against(now.turns, before.turns) if before else "",
    )


def _failed(query: Query, now: Sums, before: Sums | None) -> Figure:
    href = query.frozen(outcome="failed") if now.faults else ""
    return Figure(
        name=gettext("Failed"),
        value=share(now.faults, now.turns),
        href=href,
        note=_turns_in_words(now.faults),
        note_href=href,
        change=_before(share(before.faults, before.turns)) if before else "",
        tone=_tone(_ratio(now.faults, now.turns), before and _ratio(before.faults, before.turns)),
    )


def _tokens(query: Query, now: Sums, before: Sums | None) -> Figure:
    def both(sums: Sums) -> str:
        if not sums.counted_turns:
            return UNKNOWN
        mark = ESTIMATED if sums.estimated_turns else ""
        return f"{mark}{short(sums.prompt_tokens)} / {short(sums.completion_tokens)}"

    return Figure(
        name=gettext("Tokens in / out"),
        value=both(now),
        href=query.frozen(),
        note=gettext("%(share)s of turns estimated") % {"share": share(now.estimated_turns, now.counted_turns)},
        note_href=_estimates(query),
        change=_before(both(before)) if before else "",
    )


def _estimates(query: Query) -> str:
    """The rows whose tokens are estimates, of those that the filters leave; "" where they leave no such source."""
    asked, not_asked = (by.get(COLUMNS["source"]) for by in (query.filters.accepted, query.filters.excluded))
    # By the filters that are set: a link replaces that of the source, and would lead to rows which these leave out.
    left = [each for each in ESTIMATES if (asked is None or each in asked) and each not in (not_asked or ())]
    return query.frozen(source=left) if left else ""


def _first_token(query: Query, now: Sums, before: Sums | None) -> Figure:
    return Figure(
        name=gettext("First token p50 / p95"),
        value=two_times(now.first_token_ms_p50, now.first_token_ms_p95),
        href=query.frozen(),
        change=_before(two_times(before.first_token_ms_p50, before.first_token_ms_p95)) if before else "",
        tone=_tone_of_times(now.first_token_ms_p95, before.first_token_ms_p95 if before else None),
    )


def _reused(query: Query, now: Sums, before: Sums | None) -> Figure:
    def of_served(sums: Sums) -> str:
        # What was refused never came to have a session.
        return share(sums.sessions_reused, sums.turns - sums.refused)

    href = query.frozen(session="reused") if now.sessions_reused else ""
    return Figure(
        name=gettext("Sessions reused"),
        value=of_served(now),
        href=href,
        note=_turns_in_words(now.sessions_reused),
        note_href=href,
        change=_before(of_served(before)) if before else "",
    )


def _queue(query: Query, now: Sums, before: Sums | None) -> Figure:
    return Figure(
        name=gettext("Queue p95"),
        value=percentile_ms(now.queue_ms_p95),
        href=query.frozen(),
        # They never waited, and stand among those that need not wait.
        note=gettext("with those turned away") if now.turned_away else "",
        change=_before(percentile_ms(before.queue_ms_p95)) if before else "",
        tone=_tone_of_times(now.queue_ms_p95, before.queue_ms_p95 if before else None),
    )


def two_times(first: int | None, second: int | None) -> str:
    return UNKNOWN if first is None or second is None else f"{bounded(first)} / {percentile_ms(second)}"


def _turns_in_words(count: int) -> str:
    return ngettext("%(count)s turn", "%(count)s turns", count) % {"count": number(count)}


def _before(value: str) -> str:
    return gettext("before: %(value)s") % {"value": value}


def _against(now: int, before: int) -> str:
    if not before:
        return _before(number(before))
    words = gettext("%(difference)s, before: %(value)s")
    return words % {"difference": change(now, before), "value": number(before)}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _tone(now: Any, before: Any) -> str:
    """Of a figure that should be low; a tenth more or less is noise."""
    if now is None or before is None or not before:
        return ""
    if now > 1.1 * before:
        return "bad"
    return "good" if now < 0.9 * before else ""


def _tone_of_times(now: int | None, before: int | None) -> str:
    if now is None or before is None:
        return ""
    # What lies below the first bound is one to another no better and no worse.
    return _tone(max(now, BOUNDS_MS[0]), max(before, BOUNDS_MS[0]))
