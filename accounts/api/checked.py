"""Serializers whose rows pass the model's own checks, as they do in forms of the console."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class Checked(serializers.ModelSerializer[Any]):
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
