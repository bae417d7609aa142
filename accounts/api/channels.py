"""`/api/alert-channels/`: where alerts are told besides the console."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from accounts.alerts import receivers
from accounts.alerts.notices import notice_options, send_test
from accounts.alerts.words import SEVERITIES, Severity, kind_names
from accounts.api.checked import Checked
from accounts.api.held_rows import HeldRows
from accounts.api.idempotency import Idempotent
from accounts.api.lists import is_equal
from accounts.models import AlertChannel

LEAST: Final = [each.name.lower() for each in SEVERITIES]


@extend_schema_field({"type": "string", "enum": LEAST})
class Least(serializers.Field[Any, Any, Any, Any]):
    """A severity by its name."""

    def to_representation(self, value: int) -> str:
        return Severity(value).name.lower()

    def to_internal_value(self, data: Any) -> int:
        if data not in LEAST:
            words = {"value": data, "choices": ", ".join(LEAST)}
            raise serializers.ValidationError(gettext("%(value)s is not one of %(choices)s.") % words)
        return int(Severity[data.upper()])


class ChannelSerializer(Checked):
    """Address and secret are written, and never read."""

    address = serializers.CharField(
        max_length=2000, required=False, write_only=True,
        help_text="The URL of the webhook or of the robot; addresses for e-mail, with commas between them.",
    )  # fmt: skip
    secret = serializers.CharField(
        max_length=500, required=False, write_only=True, allow_blank=True, help_text="Empty: none."
    )
    has_secret = serializers.SerializerMethodField()
    least = Least(required=False, help_text="The least severity that is told.")
    alert_kinds = serializers.ListField(
        child=serializers.CharField(max_length=100), max_length=100, required=False, help_text="None: all of them."
    )

    class Meta:
        model = AlertChannel
        fields: ClassVar = [
            "id", "name", "kind", "enabled", "least", "alert_kinds", "language", "address", "secret", "has_secret",
            "failures", "retry_at", "last_tried_at", "last_result",
        ]  # fmt: skip
        read_only_fields: ClassVar = ["failures", "retry_at", "last_tried_at", "last_result"]

    def get_has_secret(self, channel: AlertChannel) -> bool:
        return channel.secret is not None

    def validate_alert_kinds(self, kinds: list[str]) -> list[str]:
        known = dict(kind_names())
        if unknown := [kind for kind in kinds if kind not in known]:
            words = {"value": unknown[0], "choices": ", ".join(known)}
            raise serializers.ValidationError(gettext("%(value)s is not one of %(choices)s.") % words)
        return kinds

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        default = self.instance.kind if self.instance else AlertChannel.Kind.WEBHOOK
        kind, address = attrs.get("kind", default), attrs.get("address", "")
        _checked("kind", receivers.check_kind, kind, settings.ALERT_OPTIONS["mail_from"])
        if address:
            _checked("address", receivers.check_address, kind, address)
        elif receivers.needs_address(self.instance, kind):
            raise serializers.ValidationError({"address": [gettext("An address is needed.")]})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> AlertChannel:
        address, secret = validated_data.pop("address"), validated_data.pop("secret", None)
        channel = AlertChannel(**validated_data)
        receivers.renew(channel, address, secret)
        self.insert(channel)
        return channel

    def update(self, instance: AlertChannel, validated_data: dict[str, Any]) -> AlertChannel:
        address, secret = validated_data.pop("address", ""), validated_data.pop("secret", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        receivers.renew(instance, address, secret)
        self.check(instance)
        given = [*(["address"] if address else []), *(["secret"] if secret is not None else [])]
        # Only what was sent, and what a new address resets: the worker writes the other columns.
        instance.save(update_fields=[*validated_data, *given, "failures", "retry_at"])
        return instance


def _checked(field: str, check: Callable[..., None], *values: Any) -> None:
    try:
        check(*values)
    except ValidationError as exc:
        raise serializers.ValidationError({field: exc.messages}) from None


class TestSerializer(serializers.Serializer[Any]):
    ok = serializers.BooleanField(help_text="The receiver has taken it.")
    error = serializers.CharField(allow_blank=True, help_text="Why it did not arrive.")


class ChannelViewSet(Idempotent, HeldRows, ModelViewSet[AlertChannel]):
    """Receivers of alerts. What alerts there are is `alerts`."""

    resource = "alert-channels"
    queryset = AlertChannel.objects.all()
    serializer_class = ChannelSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("name", "id")
    ordering_fields = ("name", "id")
    filters: ClassVar = {"name": is_equal("name"), "kind": is_equal("kind", choices=AlertChannel.Kind.values)}

    @extend_schema(request=None, responses=TestSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str = "") -> Response:
        """Send a test message now; it waits for the receiver, ten seconds at most."""
        # Within the request: whoever asks wants to know whether it arrived.
        found = send_test(self.get_object(), notice_options(settings.ALERT_OPTIONS), timezone.now())
        return Response({"ok": not found, "error": found})
