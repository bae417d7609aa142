"""Sums of groups as rows of `/api/usage/summary/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from django.utils.translation import gettext
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from accounts.models import ApiKey, Team
from accounts.reports.summary import GROUPS, TIME_GROUPS, Group
from accounts.reports.sums import SUMMARY_FIELDS, TOKENS, Sums

NAMED: Final[Mapping[str, Any]] = {"team": Team, "key": ApiKey}
"""Groups whose values are ids; their rows have the name, and the id beside it."""
LONGEST: Final = 100


class GroupSerializer(serializers.Serializer[Any]):
    """A group of usage. Of the fields in front there are those of `group_by`; null: rows that have none."""

    # In the class body, as DRF collects its fields from there, and in the order in which they stand.
    locals().update(
        {name: serializers.CharField(required=False, allow_null=True) for name in GROUPS if name not in TIME_GROUPS}
    )
    team_id = serializers.IntegerField(required=False, allow_null=True)
    key_id = serializers.IntegerField(required=False, allow_null=True)
    hour = serializers.DateTimeField(required=False)
    day = serializers.DateField(required=False)
    locals().update(
        {
            name: serializers.IntegerField(allow_null=name in TOKENS or name.endswith(("p50", "p95")))
            for name in SUMMARY_FIELDS
        }
    )


class SummarySerializer(serializers.Serializer[Any]):
    """All groups on one page."""

    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = GroupSerializer(many=True)


PARAMETERS: Final = [
    OpenApiParameter("group_by", many=True, enum=GROUPS, description="At most three, also as one text with commas."),
    OpenApiParameter(
        "ordering",
        description="A field of the rows, with - in front the other way round. Usually by time, or by turns.",
    ),
]


def rows_of(group_by: Sequence[str], groups: Mapping[Group, Sums]) -> list[dict[str, Any]]:
    names = {
        name: _names(NAMED[name], {group[place] for group in groups})
        for place, name in enumerate(group_by)
        if name in NAMED
    }
    found = []
    for group, sums in groups.items():
        row: dict[str, Any] = {}
        for name, value in zip(group_by, group, strict=True):
            if name in names:
                row |= {name: names[name].get(value), f"{name}_id": value}
            else:
                row[name] = value
        found.append(row | sums.as_row())
    return found


def ordered(rows: list[dict[str, Any]], group_by: Sequence[str], asked: str) -> list[dict[str, Any]]:
    """The rows in the order asked for. Raise ValidationError for a field they do not have."""
    choices = (*group_by, *SUMMARY_FIELDS)
    field = asked.removeprefix("-")
    if field and field not in choices:
        words = {"value": asked[:LONGEST], "choices": ", ".join(choices)}
        raise serializers.ValidationError({"ordering": gettext("%(value)s is not one of %(choices)s.") % words})
    times = [name for name in group_by if name in TIME_GROUPS]
    # Sorting is stable: the last order is the first that counts.
    # The weakest order: rows that are equal in all others come in the same one each time.
    rows.sort(key=lambda row: tuple(_text(row[name]) for name in group_by))
    rows.sort(key=lambda row: -row["turns"])
    for name in reversed(times):
        rows.sort(key=lambda row, name=name: _text(row[name]))  # type: ignore[misc]
    if field:
        rows.sort(key=lambda row: _sortable(row[field]), reverse=asked.startswith("-"))
    return rows


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _sortable(value: Any) -> tuple[bool, Any]:
    """What is not known comes first."""
    if value is None:
        return (False, 0)
    return (True, value if isinstance(value, int) else _text(value))


def _names(model: Any, ids: set[Any]) -> dict[int, str]:
    return dict(model._default_manager.filter(pk__in=ids - {None}).values_list("pk", "name"))
