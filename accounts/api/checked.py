"""Serializers of what is written: no other names than theirs, and rows that pass the model's own checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.utils.translation import gettext
from rest_framework import serializers

LONGEST: Final = 200
MOST: Final = 10
"""Names of a body that are told to be unknown: each comes back with all that are known."""


class Known(serializers.Serializer[Any]):
    """A name that is none of its fields is refused: with a slip in it, a limit would not be there.

    Fields that are only read are ignored, so that a program can send back what it was given.
    """

    given_elsewhere: ClassVar[frozenset[str]] = frozenset()
    """Names that other answers have about the same object."""

    def to_internal_value(self, data: Any) -> Any:
        """Raise ValidationError."""
        if isinstance(data, Mapping) and (unknown := sorted({*data} - {*self.fields} - self.given_elsewhere)):
            known = ", ".join(sorted(name for name, field in self.fields.items() if not field.read_only))
            words = gettext("There is no such field. Known: %(choices)s.") % {"choices": known}
            raise serializers.ValidationError({name[:LONGEST]: [words] for name in unknown[:MOST]})
        return super().to_internal_value(data)


class Checked(Known, serializers.ModelSerializer[Any]):
    """`full_clean` refuses what a form would, by the names of fields."""

    Meta: Any

    def create(self, validated_data: dict[str, Any]) -> Any:
        members = validated_data.pop("members", None)
        row = self.Meta.model(**validated_data)
        self.insert(row)
        if members is not None:
            # Links to others need the row's id. A request is one transaction where it creates (`Idempotent`).
            row.members.set(members)
        return row

    def insert(self, row: Any) -> None:
        self.check(row)
        row.save(force_insert=True)

    def check(self, row: Any) -> None:
        """Raise ValidationError for values that the row may not have."""
        row.full_clean()

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        """Checked as forms of the console are. Only what was sent is written: the rest may have changed meanwhile."""
        members = validated_data.pop("members", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        self.check(instance)
        if validated_data:
            instance.save(update_fields=list(validated_data))
        if members is not None:
            instance.members.set(members)
        return instance
