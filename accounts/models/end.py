"""The end of a key or of a token: a time that every zone can tell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext

LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Later times have no place in every time zone."""
LONGEST_LIFE: Final = 36_500
"""Days from first use."""


class EndField(models.DateTimeField):  # type: ignore[type-arg]  # its two arguments are those of the column
    """A column of a time. What is too late for it is refused, and was stored before: it is read as the last one."""

    def from_db_value(self, value: datetime | None, *_: Any) -> datetime | None:
        return None if value is None else min(value, LAST)

    def validate(self, value: Any, model_instance: Any) -> None:
        super().validate(value, model_instance)
        if value is not None and value > LAST:
            raise ValidationError(gettext("This time has passed, or is too far away."))

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """As the plain one: to the database there is no difference, and to migrations none either."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs


def check_life(days: int | None) -> None:
    """Raise ValidationError where a key could live too long from its first use."""
    if isinstance(days, int) and days > LONGEST_LIFE:
        raise ValidationError({"expires_after_days": gettext("At most %(days)d days.") % {"days": LONGEST_LIFE}})
