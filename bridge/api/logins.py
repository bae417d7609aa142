"""`/api/logins/`: what is known of logins, and their attempts to log in anew."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from accounts.api.checked import Checked, Known
from accounts.api.held_rows import HeldRows
from accounts.api.idempotency import Idempotent
from accounts.api.lists import is_equal
from accounts.api.problems import Conflict
from bridge.fleet import attempts, logins
from bridge.logins.callback import LONGEST
from bridge.models import TIMES, Login, LoginAttempt, LoginRefresh
from bridge.models.attempt import KEPT
from bridge.status.accounts import AccountState
from bridge.status.attempts import WAYS, AttemptReason, AttemptResult
from bridge.status.logins import LoginKind


class LoginSerializer(Checked):
    """Nothing of what a login consists of: files come by the console or by `manage.py lingma_login`."""

    instances = serializers.ListField(
        child=serializers.CharField(max_length=100), max_length=1000, required=False,
        help_text="Names of the instances that use it; all others are taken off it.",
    )  # fmt: skip

    problem = serializers.CharField(read_only=True, help_text="What keeps it from its instances; empty: nothing.")

    class Meta:
        model = Login
        exclude = ("bundle", "credentials")

    def validate_kind(self, kind: str) -> str:
        if self.instance:
            logins.check_kind(self.instance, LoginKind(kind))
        return kind

    def validate_endpoint(self, endpoint: str) -> str:
        """Whoever sets it gets the login, and what is asked with it."""
        before = self.instance.endpoint if self.instance else ""
        if endpoint != before and not self.context["request"].user.is_superuser:
            raise serializers.ValidationError(gettext("Only superusers set the endpoint of a login."))
        return endpoint

    def create(self, validated_data: dict[str, Any]) -> Login:
        names = validated_data.pop("instances", [])
        with transaction.atomic():
            login: Login = super().create(validated_data)
            logins.assign(login, names, settings.REDIS_URL)
        return login

    def update(self, instance: Login, validated_data: dict[str, Any]) -> Login:
        names = validated_data.pop("instances", None)
        with transaction.atomic():
            login: Login = super().update(instance, validated_data)
            if names is not None:
                logins.assign(login, names, settings.REDIS_URL)
        return login


class AttemptSerializer(serializers.ModelSerializer[LoginAttempt]):
    result_text = serializers.SerializerMethodField(help_text="The result in words.")
    seconds = serializers.SerializerMethodField(help_text="How long it has taken so far.")

    class Meta:
        model = LoginAttempt
        exclude = ("pasted", "screenshot")

    def get_result_text(self, attempt: LoginAttempt) -> str:
        return gettext(AttemptResult(attempt.result).label) if attempt.result else ""

    def get_seconds(self, attempt: LoginAttempt) -> float:
        return round(attempt.took.total_seconds(), 1)

    def to_representation(self, instance: LoginAttempt) -> dict[str, Any]:
        """The address to log in at is for those who may log in."""
        found: dict[str, Any] = super().to_representation(instance)
        if not self.context["request"].user.has_perm("bridge.change_login"):
            found["url"] = ""
        return found


class ReloginSerializer(Known):
    way = serializers.ChoiceField(
        choices=[each.value for each in WAYS], required=False, help_text="Left out: that of the login's kind."
    )
    tokens = serializers.JSONField(
        required=False, help_text="Of a device: token, refreshToken, expireTime, userId and username."
    )


class RefreshSerializer(Checked):
    """Null: as in the settings."""

    in_force = serializers.SerializerMethodField(help_text="What holds for logins that say nothing else.")

    class Meta:
        model = LoginRefresh
        fields = (*TIMES, "in_force")

    def get_in_force(self, row: LoginRefresh) -> dict[str, float]:
        return LoginRefresh.times(settings.LOGIN_REFRESH)


class CallbackSerializer(Known):
    url = serializers.CharField(max_length=LONGEST, help_text="The address at which the browser has ended.")


class LoginViewSet(Idempotent, HeldRows, ModelViewSet[Login]):
    """Logins of Lingma: what is known of them, and which instances have them."""

    resource = "logins"
    queryset = Login.objects.defer("bundle", "credentials").prefetch_related("orders")
    serializer_class = LoginSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("label", "id")
    ordering_fields = ("label", "expires_at", "id")
    filters: ClassVar = {
        "label": is_equal("label"),
        "account": is_equal("account", choices=[each.value for each in AccountState]),
    }

    def get_queryset(self) -> QuerySet[Any]:
        """Rights are those of its model: those of all logins have one of their own, as in the console."""
        return LoginRefresh.objects.all() if self.action in ("refresh", "change_refresh") else super().get_queryset()

    @extend_schema(request=ReloginSerializer, responses={200: AttemptSerializer, 202: AttemptSerializer})
    @action(detail=True, methods=["post"])
    def relogin(self, request: Request, pk: str = "") -> Response:
        """Log in anew, beside the instances; 202: it has begun, 200: an attempt runs already, and is the answer."""
        asked = ReloginSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        login = self.get_object()
        way = LoginKind(asked.validated_data.get("way") or attempts.way_of(login))
        tokens = asked.validated_data.get("tokens")
        pasted = json.dumps(tokens).encode() if tokens is not None else b""
        attempt, is_new = attempts.begin(login, way, AttemptReason.OPERATOR, pasted)
        if attempt is None:
            raise Conflict(gettext("Another attempt has just ended; see how, and try again."))
        return self._answer(attempt, HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK)

    @extend_schema(responses=RefreshSerializer)
    @action(detail=False, methods=["get"], pagination_class=None, filter_backends=[])
    def refresh(self, request: Request) -> Response:
        """When logins are made again by themselves that do not say so themselves."""
        row, _ = LoginRefresh.objects.get_or_create(pk=LoginRefresh.ONLY)
        return Response(RefreshSerializer(row).data)

    @extend_schema(request=RefreshSerializer, responses=RefreshSerializer)
    @refresh.mapping.patch
    def change_refresh(self, request: Request) -> Response:
        """It holds from the schedule's next look on."""
        row, _ = LoginRefresh.objects.get_or_create(pk=LoginRefresh.ONLY)
        asked = RefreshSerializer(row, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        asked.save()
        return Response(asked.data)

    @extend_schema(responses=AttemptSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def attempts(self, request: Request, pk: str = "") -> Response:
        """The last 50 attempts to log in, the latest first."""
        rows = self.get_object().attempts.defer("pasted", "screenshot")[:KEPT]
        return Response(AttemptSerializer(rows, many=True, context=self.get_serializer_context()).data)

    @extend_schema(request=CallbackSerializer, responses={202: AttemptSerializer})
    @action(detail=True, methods=["post"])
    def callback(self, request: Request, pk: str = "") -> Response:
        """Pass the address on at which a browser has ended that does not reach the gateway's machine."""
        asked = CallbackSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        attempt = self._running()
        attempts.paste(attempt, asked.validated_data["url"])
        return self._answer(attempt, HTTPStatus.ACCEPTED)

    @extend_schema(request=None, responses={202: AttemptSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str = "") -> Response:
        """End the attempt that runs."""
        attempt = self._running()
        attempts.cancel(attempt)
        attempt.refresh_from_db()
        return self._answer(attempt, HTTPStatus.ACCEPTED)

    def _running(self) -> LoginAttempt:
        found: LoginAttempt | None = self.get_object().attempts.filter(ended_at=None).first()
        if found is None:
            raise Conflict(gettext("No attempt to log in runs."))
        return found

    def _answer(self, attempt: LoginAttempt, status: HTTPStatus) -> Response:
        return Response(AttemptSerializer(attempt, context=self.get_serializer_context()).data, status=status)
