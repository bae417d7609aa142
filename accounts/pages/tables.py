"""Usage by team, key, model, program and reason: the largest groups, and the others in one line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from accounts.models import Usage
from accounts.pages.markup import linked, shortened
from accounts.pages.names import Names
from accounts.pages.query import Query
from accounts.reports.filters import MOST_VALUES, NONE, NOT
from accounts.reports.sums import Sums
from accounts.reports.words import UNKNOWN, number, seconds, share, tokens

TOP: Final = 20
MOST: Final = 1_000
NOTHING: Final = ("0", UNKNOWN)
"""Texts that sum no rows."""
SORTS: Final = ("turns", "faults", "turned_away", "prompt_tokens", "completion_tokens", "busy_ms")

Groups = Mapping[Any, Sums]


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    href: str = ""

    def __str__(self) -> SafeString:
        """As a template shows it."""
        return linked(self.text, self.href)


@dataclass(frozen=True, kw_only=True)
class Row:
    """`href` adds the group to the filters; of the line of the others it shows them one by one, "" if it cannot."""

    name: str
    href: str
    cells: list[Cell]
    bar: str
    """Its share of all turns, from 0 to 100."""

    @property
    def short_name(self) -> str:
        return shortened(self.name, 64)


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    href: str
    sorted: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """`whole_href` shows all rows where some are left out."""

    name: str
    title: str
    columns: list[Column]
    rows: list[Row]
    whole_href: str = ""


def fold(groups: Mapping[tuple[Any, ...], Sums], place: int) -> dict[Any, Sums]:
    """The sums by one part of the groups."""
    folded: defaultdict[Any, Sums] = defaultdict(Sums)
    for group, sums in groups.items():
        folded[group[place]].merge(sums, histograms=False)
    return dict(folded)


def tables(
    query: Query, by_caller: Mapping[tuple[Any, ...], Sums], by_kind: Mapping[tuple[Any, ...], Sums], names: Names
) -> list[Table]:
    """`by_caller` is by team and key, `by_kind` by Lingma model, program and reason."""
    # Turns that went well have the reason of their end, and hide why others did not.
    reasons = {value: sums for value, sums in fold(by_kind, 2).items() if value and sums.ok < sums.turns}
    return [
        _table(query, "team", gettext("By team"), fold(by_caller, 0), names.team),
        _table(query, "key", gettext("By key"), fold(by_caller, 1), names.key),
        _table(query, "lingma_model", gettext("By model"), fold(by_kind, 0), model_name),
        _table(query, "client_app", gettext("By program"), fold(by_kind, 1), program),
        _table(query, "reason", gettext("By reason"), reasons, str),
    ]


def program(value: str) -> str:
    return str(dict(Usage.Agent.choices).get(value, value)) or gettext("unknown")


def model_name(value: str) -> str:
    return value or gettext("none (refused before)")


def _table(query: Query, name: str, title: str, groups: Groups, called: Callable[[Any], str]) -> Table:
    sort = query.view("sort") if query.view("sort") in SORTS else SORTS[0]
    ordered = sorted(groups.items(), key=lambda each: (getattr(each[1], sort), each[1].turns), reverse=True)
    shown = MOST if query.view("all") == name else TOP
    whole = _sum(sums for _, sums in ordered)
    rows = [_row(query, name, value, called(value), sums, whole) for value, sums in ordered[:shown]]
    whole_href = ""
    if len(ordered) > shown:
        more = len(ordered) - shown
        whole_href = query.href(all=name) if shown == TOP else ""
        others = _Others(
            called=ngettext("%(count)s other", "%(count)s others", more) % {"count": number(more)},
            href=f"{whole_href}#by-{name}" if whole_href else "",
            values=_others_in(query, name, ordered, shown),
            sums=_sum(sums for _, sums in ordered[shown:]),
        )
        rows.append(others.row(query, name, whole))
    return Table(name=name, title=title, columns=_columns(query, sort), rows=rows, whole_href=whole_href)


def _columns(query: Query, sort: str) -> list[Column]:
    titles = (
        gettext("Turns"), gettext("Failed"), gettext("Turned away"), gettext("Tokens in"), gettext("Tokens out"),
        gettext("Busy"),
    )  # fmt: skip
    return [
        Column(name=title, href=query.href(sort=name), sorted=name == sort)
        for name, title in zip(SORTS, titles, strict=True)
    ]


def _sum(all_sums: Iterable[Sums]) -> Sums:
    whole = Sums()
    for sums in all_sums:
        whole.merge(sums, histograms=False)
    return whole


def _row(query: Query, name: str, value: Any, called: str, sums: Sums, whole: Sums) -> Row:
    chosen = _chosen(value)
    href = query.href(**{name: chosen, "all": None})
    return Row(name=called, href=href, cells=_cells(query, name, [chosen], sums, whole), bar=_bar(sums, whole))


def _chosen(value: Any) -> str:
    return NONE if value in (None, "") else str(value)


def _cells(query: Query, name: str, values: Sequence[str], sums: Sums, whole: Sums) -> list[Cell]:
    """Each leads to its rows; without values, which are too many for an address then, nowhere."""
    every = query.frozen(**{name: values})
    # By the places of `_texts`: all other columns sum all rows of the group.
    outcomes = {1: "failed", 2: "turned_away"}
    return [
        Cell(
            text=text,
            href="" if text in NOTHING or not values else query.frozen(**{name: values, "outcome": outcomes[place]})
            if place in outcomes else every,
        )
        for place, text in enumerate(_texts(sums, whole))
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Others:
    """The line of all groups that have none of their own. `values` of the filter lead to their rows."""

    called: str
    href: str
    values: Sequence[str]
    sums: Sums

    def row(self, query: Query, name: str, whole: Sums) -> Row:
        cells = _cells(query, name, self.values, self.sums, whole)
        return Row(name=self.called, href=self.href, cells=cells, bar=_bar(self.sums, whole))


def _others_in(query: Query, name: str, ordered: Sequence[tuple[Any, Sums]], shown: int) -> list[str]:
    """What leads to the rows of the others: their values, or those that have a line with a NOT."""
    if len(ordered) - shown <= MOST_VALUES:
        return [_chosen(value) for value, _ in ordered[shown:]]
    # Of reasons there are some that no line has, but never as many.
    without = [*query.filters.values.get(name, ()), *(f"{NOT}{_chosen(value)}" for value, _ in ordered[:shown])]
    return without if len(without) <= MOST_VALUES else []


def _texts(sums: Sums, whole: Sums) -> list[str]:
    known = (sums.counted_turns, sums.estimated_turns)
    busy = f"{seconds(sums.busy_ms)} · {share(sums.busy_ms, whole.busy_ms)}" if sums.busy_ms else number(0)
    return [
        number(sums.turns), number(sums.faults), number(sums.turned_away),
        tokens(sums.prompt_tokens, *known, brief=True), tokens(sums.completion_tokens, *known, brief=True), busy,
    ]  # fmt: skip


def _bar(sums: Sums, whole: Sums) -> str:
    return f"{100 * sums.turns / whole.turns:.1f}" if whole.turns else "0"
