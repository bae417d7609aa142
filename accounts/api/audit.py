"""`/api/audit/`, to be read only."""

from __future__ import annotations

from typing import ClassVar

from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.api.lists import is_equal
from accounts.models import AuditEntry


class AuditSerializer(serializers.ModelSerializer[AuditEntry]):
    changes = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField(allow_null=True)),
        help_text="Field to [before, after], both as text; secrets are masked.",
    )

    class Meta:
        model = AuditEntry
        fields: ClassVar = [
            "id", "at", "actor", "source", "address", "action", "object_type", "object_id", "object_text", "changes",
        ]  # fmt: skip


class AuditViewSet(ReadOnlyModelViewSet[AuditEntry]):
    """Every change, by whatever way it was made."""

    resource = "audit"
    queryset = AuditEntry.objects.all()
    serializer_class = AuditSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("-at", "-id")
    ordering_fields = ("at", "id")
    filters: ClassVar = {
        "actor": is_equal("actor"),
        "source": is_equal("source", choices=AuditEntry.Source.values),
        "action": is_equal("action"),
        "object_type": is_equal("object_type"),
        "object_id": is_equal("object_id"),
    }
