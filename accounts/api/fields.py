"""Fields of several resources."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.dateparse import parse_duration
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.checked import Checked
from accounts.keys.model_names import warning_of
from accounts.models import LIMITS, Team, names_in, validate_name
from accounts.models.end import LAST
from accounts.roles.reach import assignable_teams

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MOST_DIGITS: Final = 9
NAMES: Final = {"type": "array", "items": {"type": "string"}}


@extend_schema_field(NAMES)
class Names(serializers.Field[Any, Any, Any, Any]):
    """A column of comma-separated names as a list; a text with commas is taken too."""

    def to_representation(self, value: str) -> list[str]:
        return names_in(value)

    def to_internal_value(self, data: Any) -> str:
        names = names_in(data) if isinstance(data, str) else data
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise serializers.ValidationError(gettext("This is no list of names."))
        # A comma would make two names of one.
        if any("," in name or not name.strip() or not name.isprintable() for name in names):
            raise serializers.ValidationError(gettext("A name in a list has neither commas nor line breaks."))
        return ", ".join(name.strip() for name in names)


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "integer"}], "description": "Name of a team, or its id."})
class TeamName(serializers.Field[Any, Any, Any, Any]):
    """The name of a team; its id is taken too, and null for none."""

    def to_representation(self, value: Team) -> str:
        return value.name

    def to_internal_value(self, data: Any) -> Team:
        # Of teams that the user may not choose nobody learns whether they exist.
        teams = assignable_teams(self.context["request"].user)
        found = teams.none()
        # What is larger than 64 bits is no id, and the database would raise. True is an int to Python.
        if isinstance(data, int) and not isinstance(data, bool) and 0 < data < 10**18:
            found = teams.filter(pk=data)
        elif isinstance(data, str) and data.isprintable():
            found = teams.filter(name=data.strip())
        team: Team | None = found.first()
        if team is None:
            raise serializers.ValidationError(gettext("There is no such team."))
        return team


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "integer"}], "examples": ["1h", "PT1H", 3600]})
class Duration(serializers.Field[Any, Any, Any, Any]):
    """A span of time: seconds, a text such as `1h` or `7d`, or a duration of ISO 8601."""

    def to_representation(self, value: timedelta) -> int:
        return int(value.total_seconds())

    def to_internal_value(self, data: Any) -> timedelta:
        span = None
        if isinstance(data, int) and not isinstance(data, bool):
            span = timedelta(seconds=data) if abs(data) < 10**MOST_DIGITS else None
        elif isinstance(data, str) and data.isascii():
            span = _span(data.strip())
        if span is None or span < timedelta(0):
            raise serializers.ValidationError(gettext("This is no span of time such as 1h, 3600 or PT1H."))
        return span


class Moment(serializers.DateTimeField):
    """A time of ISO 8601, or one that far from now, as commands take it: `30d`."""

    def to_internal_value(self, value: Any) -> datetime:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}[mhdw]", value) and (span := _span(value)) is not None:
            return timezone.now() + span
        return super().to_internal_value(value)


def _span(text: str) -> timedelta | None:
    if found := re.fullmatch(r"(\d{1,9})([smhdw]?)", text):
        # A timedelta holds 999,999,999 days: six digits of weeks, or nine of seconds, are less.
        return timedelta(**{UNITS[found[2] or "s"]: int(found[1])}) if len(found[1]) <= 6 or not found[2] else None
    # Of a duration of ISO 8601 the same.
    if not text.startswith("P") or re.search(r"\d{7}", text):
        return None
    try:
        return parse_duration(text)
    except (ValueError, OverflowError):
        return None


class WarningSerializer(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="The field of the request that it is about.")
    detail = serializers.CharField()


class PolicyFields(Checked):
    """What keys and teams have in common: lists as lists, and the model's own checks."""

    allowed_models = Names(required=False)
    allowed_networks = Names(required=False)
    scopes = Names(required=False)
    shadow = Names(required=False)
    warnings = serializers.SerializerMethodField(
        help_text="What was sent is kept and may not be what was meant; only in the answer to that request."
    )

    @extend_schema_field(WarningSerializer(many=True))
    def get_warnings(self, row: Any) -> list[dict[str, str]]:
        """Of what this very request has set."""
        if "allowed_models" not in getattr(self, "_validated_data", ()):
            return []
        warning = warning_of(row.allowed_models)
        return [{"field": "allowed_models", "detail": warning}] if warning else []

    def to_representation(self, instance: Any) -> Any:
        told = super().to_representation(instance)
        if not told["warnings"]:
            del told["warnings"]
        return told

    def validate_name(self, value: str) -> str:
        """As the console does: an old one may stay."""
        if self.instance is None or value != self.instance.name:
            validate_name(value)
        return value

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        """Refuse a new expiry in the past; an old one that has passed may stay."""
        # Programs send a whole object back, of which one field is another.
        if value is None or (self.instance is not None and value == self.instance.expires_at):
            return value
        if not timezone.now() < value < LAST:
            raise serializers.ValidationError(gettext("This time has passed, or is too far away."))
        return value


POLICY: Final = (
    "allowed_models",
    "allowed_networks",
    "scopes",
    "tool_mode",
    "tool_approval",
    *LIMITS,
    "shadow",
    "warnings",
)
