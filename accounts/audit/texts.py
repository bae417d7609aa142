"""Values of columns as the audit log shows them: text that can be read after all else is gone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from django.db.models import Field, ForeignKey, Model
from django.utils.text import Truncator

from accounts.audit.watched import SECRETS
from gateway_project.lib.secrets.secrets_at_rest import SecretField

MASK: Final = "***"
LONGEST: Final = 1000
"""Characters of one value. Templates of prompts are longer."""


def text_of(field: Field[Any, Any], value: Any) -> str | None:
    """None for NULL; a mask for a secret, even an empty one."""
    if value is None:
        return None
    if field.name in SECRETS or isinstance(field, SecretField):
        # Before and after look the same, so that a row says no more than that it was changed.
        return MASK
    if isinstance(field, ForeignKey):
        return _text_of_object(field.related_model, value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, list):
        return shortened(", ".join(map(str, value)))
    return shortened(str(value))


def _text_of_object(model: Any, key: Any) -> str:
    # Its text and not its id: the row is read when the object is gone.
    found: Model | None = model._base_manager.filter(pk=key).first()
    return f"#{key}" if found is None else shortened(str(found))


def names_of(objects: Iterable[Model]) -> str:
    """Members, groups or permissions, in an order of their own."""
    return shortened(", ".join(sorted(map(str, objects))))


def shortened(text: str) -> str:
    return Truncator(text).chars(LONGEST)
