"""`/api/alerts/`: what somebody should look at, until they say that they have."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import permissions, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.alerts import raising
from accounts.alerts.words import SEVERITIES, Severity, matters, sentence, severity
from accounts.api.lists import Filter, is_equal
from accounts.api.permissions import WithinScopes, what_lacks
from accounts.models import Alert
from accounts.roles.reach import CHANGE_KEYS, SEE_KEYS, teams_of


class HandlesKeys(permissions.IsAuthenticated):
    """Who may see keys sees the alerts about them; who may change them acknowledges."""

    def has_permission(self, request: Request, view: Any) -> bool:
        self.message = what_lacks(
            request.user, [SEE_KEYS if request.method in permissions.SAFE_METHODS else CHANGE_KEYS]
        )
        return not self.message and super().has_permission(request, view)


class AlertSerializer(serializers.ModelSerializer[Alert]):
    key = serializers.CharField(source="key.name", allow_null=True, default=None, help_text="Name of the key.")
    key_id = serializers.IntegerField(allow_null=True)
    facts = serializers.ListField(child=serializers.CharField())
    text = serializers.SerializerMethodField(help_text="What happened, as a sentence.")
    severity = serializers.SerializerMethodField(help_text="info, warning or critical.")

    class Meta:
        model = Alert
        fields: ClassVar = [
            "id", "kind", "severity", "key", "key_id", "subject", "facts", "count", "text", "began_at", "latest_at",
            "lasts", "ended_at", "acknowledged_at", "acknowledged_by",
        ]  # fmt: skip

    def get_text(self, alert: Alert) -> str:
        return sentence(alert)

    def get_severity(self, alert: Alert) -> str:
        return severity(alert.kind).name.lower()


def _in_state(alerts: QuerySet[Alert], state: str) -> QuerySet[Alert]:
    match state:
        case "open":
            return alerts.filter(acknowledged_at=None, ended_at=None)
        case "ended":
            return alerts.exclude(ended_at=None)
        case _:
            return alerts.exclude(acknowledged_at=None)


def _of_severity(alerts: QuerySet[Alert], name: str) -> QuerySet[Alert]:
    return alerts.filter(matters(Severity[name.upper()]))


class AlertViewSet(ReadOnlyModelViewSet[Alert]):
    """Alerts. They are kept as long as usage."""

    resource = "alerts"
    permission_classes = (HandlesKeys, WithinScopes)
    queryset = Alert.objects.select_related("key")
    serializer_class = AlertSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("-began_at", "-id")
    ordering_fields = ("began_at", "id")
    filters: ClassVar = {
        "state": Filter(_in_state, "open: not acknowledged, nor ended.", choices=["open", "ended", "acknowledged"]),
        "kind": is_equal("kind"),
        "severity": Filter(_of_severity, "At least.", choices=[each.name.lower() for each in SEVERITIES]),
    }

    def get_queryset(self) -> QuerySet[Alert]:
        needed = SEE_KEYS if self.request.method in permissions.SAFE_METHODS else CHANGE_KEYS
        teams, found = teams_of(self.request.user, needed), super().get_queryset()
        # Alerts about no key are for who sees the keys of all teams.
        return found if teams is None else found.filter(key__team__in=teams)

    @extend_schema(request=None, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str = "") -> Response:
        """Take the alert off the pages, for everybody."""
        raising.acknowledge(self.get_object(), request.user.get_username())
        # Read again: where somebody was faster, it is their name that stands there.
        return Response(self.get_serializer(self.get_object()).data)
