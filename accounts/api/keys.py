"""`/api/keys/`: made with a secret that is shown once, changed, rotated, stopped, resumed and revoked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.api.checked import Known
from accounts.api.fields import POLICY, Duration, Moment, PolicyFields, TeamName
from accounts.api.held_rows import HeldUpdates
from accounts.api.idempotency import Idempotent
from accounts.api.limits import WithLimits
from accounts.api.lists import Filter, is_equal
from accounts.api.problems import Conflict
from accounts.content.retention import delete_of
from accounts.keys import services
from accounts.models import NAME_TAKEN, ApiKey
from accounts.models.end import LONGEST_LIFE
from accounts.roles import leads
from accounts.roles.reach import CHANGE_KEYS, SEE_KEYS, keys_of


class KeySerializer(PolicyFields):
    """A key, without anything of its secret but the hint: a digest can be tried against guesses by whoever has the
    pepper, so it leaves the database nowhere.
    """

    given_elsewhere: ClassVar = frozenset({"secret"})

    team = TeamName(required=False, allow_null=True)
    state = serializers.SerializerMethodField()
    expires_at = Moment(required=False, allow_null=True, help_text="A time, or one from now such as 30d.")
    expires_after_days = serializers.IntegerField(min_value=1, max_value=LONGEST_LIFE, required=False, allow_null=True)

    class Meta:
        model = ApiKey
        read_only_fields: ClassVar = [
            "hint", "created_at", "first_used_at", "paused_at", "pause_reason", "quarantined_at", "quarantine_reason",
            "previous_until", "revoked_at", "last_used_at", "last_used_from",
        ]  # fmt: skip
        fields: ClassVar = [
            "id", "name", "team", "team_id", "state", "expires_at", "expires_after_days", *POLICY,
            "content_logging",
            *read_only_fields,
        ]  # fmt: skip
        validators: ClassVar[list[Any]] = []  # of the constraints on names, which `check` is about

    def get_state(self, key: ApiKey) -> ApiKey.State:
        return key.state(timezone.now())

    def check(self, row: Any) -> None:
        leads.check(self.context["request"].user, row)
        # The name apart from the other constraints: the message of a
        # constraint names no field, and this is about `name`.
        row.full_clean(validate_constraints=False)
        if ApiKey.objects.namesakes(row).exists():
            raise serializers.ValidationError({"name": [NAME_TAKEN]})
        row.validate_constraints()


class NewKeySerializer(KeySerializer):
    """The answer to a creation and to a rotation: the only places where the secret stands."""

    secret = serializers.CharField(read_only=True)

    class Meta(KeySerializer.Meta):
        fields: ClassVar = [*KeySerializer.Meta.fields, "secret"]

    def insert(self, row: Any) -> None:
        self.check(row)
        row.secret = services.create(row)


class RotationSerializer(Known):
    grace = Duration(required=False, default=timedelta(0), help_text="How much longer the old secret works.")

    def validate_grace(self, grace: timedelta) -> timedelta:
        if grace > services.MOST_GRACE:
            days = {"days": services.MOST_GRACE.days}
            raise serializers.ValidationError(gettext("At most %(days)d days.") % days)
        return grace


class PauseSerializer(Known):
    reason = serializers.CharField(max_length=services.LONGEST_REASON, required=False, allow_blank=True, default="")


class DeletedContentsSerializer(serializers.Serializer[Any]):
    deleted = serializers.IntegerField(help_text="How many contents there were.")


def _of_team(keys: QuerySet[ApiKey], team: str) -> QuerySet[ApiKey]:
    if team == "none":
        return keys.filter(team=None)
    # 18 digits fit into the column's 64 bits.
    by_id = Q(team_id=int(team)) if team.isdecimal() and len(team) <= 18 else Q()
    return keys.filter(Q(team__name=team) | by_id)


def _in_state(keys: QuerySet[ApiKey], state: str) -> QuerySet[ApiKey]:
    return keys.filter(pk__in=ApiKey.objects.all().in_state(state, timezone.now()).values("pk"))


class KeyViewSet(
    WithLimits, Idempotent, HeldUpdates, mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin,
    GenericViewSet[ApiKey],
):  # fmt: skip
    """API keys. None is ever deleted, for its usage stays: revoke it."""

    resource = "keys"
    # Django has it as a variable of each view.
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]  # noqa: RUF012
    queryset = ApiKey.objects.select_related("team")
    serializer_class = KeySerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("-created_at", "-id")
    ordering_fields = ("created_at", "name", "id")
    filters: ClassVar = {
        "name": is_equal("name"),
        "team": Filter(_of_team, "Name or id of a team, or none."),
        "state": Filter(_in_state, choices=ApiKey.State.values),
    }

    def get_queryset(self) -> QuerySet[ApiKey]:
        needed = SEE_KEYS if self.request.method in SAFE_METHODS else CHANGE_KEYS
        return keys_of(self.request.user, needed, super().get_queryset())

    def get_serializer_class(self) -> Any:
        return NewKeySerializer if self.action == "create" else KeySerializer

    def perform_update(self, serializer: Any) -> None:
        # Its usage rows point at it: an edit would change what they seem to say.
        if serializer.instance.revoked_at is not None:
            raise Conflict(gettext("The key is revoked."), code="revoked")
        serializer.save()

    @extend_schema(request=RotationSerializer, responses=NewKeySerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str = "") -> Response:
        """Give the key a new secret; the old one works for `grace` longer."""
        asked = RotationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        key: Any = self.get_object()
        try:
            key.secret = services.rotate(key, asked.validated_data["grace"])
        except services.KeyRevoked:
            raise Conflict(gettext("The key is revoked."), code="revoked") from None
        return Response(NewKeySerializer(key, context=self.get_serializer_context()).data)

    @extend_schema(request=PauseSerializer, responses=KeySerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str = "") -> Response:
        """Refuse the key until it is resumed."""
        asked = PauseSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return self._done(lambda key: services.pause(key, asked.validated_data["reason"]))

    @extend_schema(request=PauseSerializer, responses=KeySerializer)
    @action(detail=True, methods=["post"])
    def quarantine(self, request: Request, pk: str = "") -> Response:
        """Refuse the key until an operator resumes it. For operators alone."""
        if not leads.is_operator(request.user):
            raise PermissionDenied(gettext("Only operators put keys in quarantine."), code="operators_only")
        asked = PauseSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return self._done(lambda key: services.quarantine(key, asked.validated_data["reason"]))

    @extend_schema(request=None, responses=KeySerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str = "") -> Response:
        """End a pause, and a quarantine, which only operators can."""
        return self._done(lambda key: services.resume(key, quarantined=leads.is_operator(request.user)))

    @extend_schema(request=None, responses=KeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str = "") -> Response:
        """Close the key for good."""
        return self._done(services.revoke)

    @extend_schema(request=None, responses={200: DeletedContentsSerializer})
    @action(detail=True, methods=["delete"], url_path="contents")
    def contents(self, request: Request, pk: str = "") -> Response:
        """Delete what content logging has kept of the key. For operators alone; revoked keys have contents too."""
        if not leads.is_operator(request.user):
            raise PermissionDenied(gettext("Only operators delete logged contents."), code="operators_only")
        return Response({"deleted": delete_of(self.get_object())})

    def _done(self, act: Any) -> Response:
        key = self.get_object()
        try:
            # The services lock the row and bring this object up to date: the answer shows what is there now.
            act(key)
        except services.KeyRevoked:
            raise Conflict(gettext("The key is revoked."), code="revoked") from None
        except services.InQuarantine:
            text = gettext("The key is in quarantine, which only an operator can lift.")
            raise PermissionDenied(text, code="quarantined") from None
        return Response(self.get_serializer(key).data)
