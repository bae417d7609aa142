"""`/api/maintenance-windows/`: planned times in which instances take no turns."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.utils import timezone
from rest_framework import serializers
from rest_framework.viewsets import ModelViewSet

from accounts.api.checked import Checked
from accounts.api.held_rows import HeldRows
from accounts.api.idempotency import Idempotent
from accounts.api.lists import is_equal
from bridge.fleet import maintenance
from bridge.models import MaintenanceWindow


class MaintenanceWindowSerializer(Checked):
    instances = serializers.ListField(
        child=serializers.CharField(max_length=100), max_length=200, required=False,
        help_text="Names such as w1-i1; none: all of them.",
    )  # fmt: skip
    is_open = serializers.SerializerMethodField(help_text="Now.")
    opens_at = serializers.SerializerMethodField(help_text="Since when it is open, else the next time; null: never.")
    closes_at = serializers.SerializerMethodField(help_text="When that ends.")

    class Meta:
        model = MaintenanceWindow
        exclude = ("opened_at",)

    def get_is_open(self, row: MaintenanceWindow) -> bool:
        return maintenance.is_open(row, timezone.now())

    def get_opens_at(self, row: MaintenanceWindow) -> datetime | None:
        times = _times(row)
        return times[0] if times else None

    def get_closes_at(self, row: MaintenanceWindow) -> datetime | None:
        times = _times(row)
        return times[1] if times else None


def _times(row: MaintenanceWindow) -> tuple[datetime, datetime] | None:
    """One that is switched off never opens."""
    return maintenance.next_of(row, timezone.now()) if row.enabled else None


class MaintenanceWindowViewSet(Idempotent, HeldRows, ModelViewSet[MaintenanceWindow]):
    """Planned times in which instances take no turns, once or each week; every process keeps them by its own clock."""

    resource = "maintenance-windows"
    queryset = MaintenanceWindow.objects.all()
    serializer_class = MaintenanceWindowSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("starts_at", "id")
    ordering_fields = ("starts_at", "name", "id")
    filters: ClassVar = {"name": is_equal("name")}
