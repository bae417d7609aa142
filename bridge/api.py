"""`/api/aliases/`, `/api/prompts/`, `/api/instances/`, `/api/logins/` and `/api/versions/` of the operators' API."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
import redis
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import GenericViewSet, ModelViewSet, ReadOnlyModelViewSet

from accounts.api.checked import Checked
from accounts.api.idempotency import Idempotent
from accounts.api.lists import is_equal
from accounts.api.problems import Conflict
from bridge.fleet import attempts, logins, maintenance, mirror, orders, sizes, timelines, versions
from bridge.fleet.orders import LONGEST_SEC, Action, NoLogin, UnknownInstance
from bridge.fleet.sizes import BadSize
from bridge.fleet.versions import NotInstalled, UnknownVersion, VersionInUse
from bridge.logins.callback import LONGEST
from bridge.models import Instance, Login, LoginAttempt, MaintenanceWindow, ModelAlias, PromptTemplate, Version
from bridge.models.attempt import KEPT
from bridge.status.accounts import AccountState
from bridge.status.attempts import WAYS, AttemptReason, AttemptResult
from bridge.status.logins import LoginKind
from bridge.status.states import InstanceState
from bridge.status.transitions import Why
from gateway_project.lib.live_rows import query_set_of
from gateway_project.lib.translated import translated
from gateway_project.lib.uploads import NotUploaded, is_asked, upload_of


class RoutingSerializer(Checked):
    def validate_pattern(self, pattern: str) -> str:
        """Whatever its case, as names have none."""
        others = self.Meta.model._default_manager.filter(pattern__iexact=pattern)
        if others.exclude(pk=self.instance.pk if self.instance else 0).exists():
            raise serializers.ValidationError(gettext("There is this pattern already."))
        return pattern


class AliasSerializer(RoutingSerializer):
    class Meta:
        model = ModelAlias
        fields = "__all__"
        validators: ClassVar[list[Any]] = []  # of the constraint on patterns, which `validate_pattern` is about


class PromptSerializer(RoutingSerializer):
    class Meta:
        model = PromptTemplate
        fields = "__all__"
        validators: ClassVar[list[Any]] = []


class SmokeSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    ok = serializers.BooleanField()
    total_ms = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_blank=True)
    failed = serializers.IntegerField(help_text="Failures in a row.")


class InstanceSerializer(serializers.ModelSerializer[Instance]):
    replacing = serializers.SerializerMethodField(help_text="A successor is started beside it.")
    cool_until = serializers.SerializerMethodField(help_text="Until then it takes no turns; null: it has no pause.")
    smoke = serializers.SerializerMethodField(help_text="The last short chat that was asked for; null: none was.")
    maintenance_until = serializers.SerializerMethodField(help_text="A window holds it; null: none is open.")
    cools_for = serializers.SerializerMethodField(
        help_text="Why the gateway has made the pause: `limited` or `failed`; empty: it has not."
    )
    memory_bytes = serializers.SerializerMethodField(help_text="Of its processes; null: not known.")
    disk_bytes = serializers.SerializerMethodField(help_text="Of its work directory; null: not known.")
    stuck_turns = serializers.SerializerMethodField(help_text="Turns of which nothing has come for STUCK_TURN_SEC.")

    class Meta:
        model = Instance
        fields = "__all__"

    def get_replacing(self, row: Instance) -> bool:
        return self._beat(row).replacing

    @extend_schema_field(SmokeSerializer(allow_null=True))
    def get_smoke(self, row: Instance) -> Any:
        smoke = self._beat(row).smoke
        if smoke is None:
            return None
        return SmokeSerializer(msgspec.structs.asdict(smoke) | {"at": datetime.fromtimestamp(smoke.at, UTC)}).data

    def get_cool_until(self, row: Instance) -> datetime | None:
        return self._beat(row).cool_until

    def get_memory_bytes(self, row: Instance) -> int | None:
        return self._beat(row).memory

    def get_disk_bytes(self, row: Instance) -> int | None:
        return self._beat(row).disk

    def get_stuck_turns(self, row: Instance) -> int:
        return self._beat(row).stuck

    def get_maintenance_until(self, row: Instance) -> datetime | None:
        window = self._beat(row).maintenance
        return datetime.fromtimestamp(window.until, UTC) if window is not None else None

    def get_cools_for(self, row: Instance) -> str:
        return self._beat(row).cools_for

    def _beat(self, row: Instance) -> Instance:
        """As its heartbeat has it, which alone knows these."""
        beats: dict[str, Instance] = self.context["view"].beats
        return beats.get(row.name, row)


class TransitionSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=[each.value for each in InstanceState])
    why = serializers.ChoiceField(choices=[each.value for each in Why])
    detail = serializers.CharField(allow_blank=True)
    generation = serializers.IntegerField()


class InstanceDetailSerializer(InstanceSerializer):
    transitions = serializers.SerializerMethodField(
        help_text="Its last 200 changes of state and replacements, the latest first, for a week."
    )

    @extend_schema_field(TransitionSerializer(many=True))
    def get_transitions(self, row: Instance) -> Any:
        """None while Redis is away."""
        try:
            found = timelines.read(settings.REDIS_URL, row.name)
        except redis.RedisError:
            return []
        steps = [msgspec.structs.asdict(each) | {"at": datetime.fromtimestamp(each.at, UTC)} for each in found]
        return TransitionSerializer(steps, many=True).data


class ActionSerializer(serializers.Serializer[Any]):
    action = serializers.ChoiceField(choices=[each.value for each in Action])
    seconds = serializers.IntegerField(
        min_value=1, max_value=LONGEST_SEC, default=300, help_text="How long cool lasts."
    )
    version = serializers.CharField(
        max_length=64, default="",
        help_text="For move: one that was installed; `none`: the default again, or for all what the settings say.",
    )  # fmt: skip
    size = serializers.IntegerField(
        min_value=1, max_value=64, default=1, help_text="For size, which is for `all`: instances of a web process."
    )
    process = serializers.IntegerField(
        min_value=0, max_value=64, default=0, help_text="For size: a web process; 0: all of them."
    )
    instances = serializers.ListField(child=serializers.CharField(), read_only=True)


class LoginSerializer(Checked):
    """Nothing of what a login consists of: files come by the console or by `manage.py lingma_login`."""

    instances = serializers.ListField(
        child=serializers.CharField(max_length=100), max_length=1000, required=False,
        help_text="The instances that shall have it, and no others.",
    )  # fmt: skip

    problem = serializers.CharField(read_only=True, help_text="What keeps it from its instances; empty: nothing.")

    class Meta:
        model = Login
        exclude = ("bundle", "credentials")

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


class ReloginSerializer(serializers.Serializer[Any]):
    way = serializers.ChoiceField(
        choices=[each.value for each in WAYS], required=False, help_text="Left out: that of the login's kind."
    )
    tokens = serializers.JSONField(
        required=False, help_text="Of a device: token, refreshToken, expireTime, userId and username."
    )


class CallbackSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(max_length=LONGEST, help_text="The address at which the browser has ended.")


class LoginViewSet(Idempotent, ModelViewSet[Login]):
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


class RoutingViewSet(Idempotent, ModelViewSet[Any]):
    lookup_value_regex = "[0-9]+"
    ordering = ("position", "id")
    ordering_fields = ("position", "pattern", "id")
    filters: ClassVar = {"pattern": is_equal("pattern__iexact")}


class AliasViewSet(RoutingViewSet):
    """Names of models, and what they mean here; the first that fits counts."""

    resource = "aliases"
    queryset = ModelAlias.objects.all()
    serializer_class = AliasSerializer


class PromptViewSet(RoutingViewSet):
    """How prompts that offer tools are put to Lingma models of a pattern."""

    resource = "prompts"
    queryset = PromptTemplate.objects.all()
    serializer_class = PromptSerializer


class InstanceViewSet(ReadOnlyModelViewSet[Instance]):
    """Instances as their heartbeats of this moment have them; while Redis is away, the last copy."""

    resource = "instances"
    queryset = Instance.objects.all()
    serializer_class = InstanceSerializer
    lookup_value_regex = "[^/]+"
    ordering = ("name",)
    ordering_fields = ("name",)
    filters: ClassVar = {"state": is_equal("state", choices=[each.value for each in InstanceState])}
    beats: dict[str, Instance] = {}  # noqa: RUF012 - never changed, only replaced by another

    def get_serializer_class(self) -> type[InstanceSerializer]:
        """One alone comes with its timeline."""
        return InstanceDetailSerializer if self.action == "retrieve" else InstanceSerializer

    def get_queryset(self) -> QuerySet[Instance]:
        try:
            rows = mirror.current(settings.REDIS_URL)
        except redis.RedisError:
            return super().get_queryset()
        self.beats = {each.name: each for each in rows}
        return query_set_of(Instance, rows)

    @extend_schema(request=ActionSerializer, responses={202: ActionSerializer})
    @action(detail=True, methods=["post"])
    def actions(self, request: Request, pk: str = "") -> Response:
        """Have the instance, or with `all` every one, do something; it begins within two seconds."""
        asked = ActionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            names = _ordered(pk, **asked.validated_data)
        except UnknownInstance as exc:
            raise NotFound(str(exc)) from None
        except UnknownVersion as exc:
            raise serializers.ValidationError({"version": str(exc)}) from None
        except BadSize as exc:
            raise serializers.ValidationError({"size": str(exc)}) from None
        except NoLogin as exc:
            raise Conflict(str(exc)) from None
        return Response({**asked.data, "instances": names}, status=HTTPStatus.ACCEPTED)


def _ordered(name: str, action: str, seconds: int, version: str, size: int, process: int) -> list[str]:
    """The instances that were ordered to do it. Raise UnknownInstance, UnknownVersion, NoLogin, BadSize."""
    if action == Action.SIZE:
        if name != orders.ALL:
            raise BadSize(gettext("A size is for all instances: /api/instances/all/actions/."))
        sizes.order(size, process, settings.ENV)
        return []
    if action == Action.MOVE:
        return orders.move(name, versions.wanted_by(version), settings.REDIS_URL)
    names = orders.names_of(name, settings.REDIS_URL)
    orders.give(Action(action), names, seconds=seconds)
    return names


class VersionSerializer(serializers.ModelSerializer[Version]):
    instances = serializers.SerializerMethodField(help_text="Those that are ordered to run it, and no default.")

    class Meta:
        model = Version
        exclude = ("position",)

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_instances(self, row: Version) -> list[str]:
        return sorted(order.name for order in row.orders.all())


class UnusableFile(APIException):
    """The VSIX that was sent is of no use, or could not be kept."""

    default_code = "unusable_file"

    def __init__(self, detail: str, status: HTTPStatus) -> None:
        super().__init__(detail)
        self.status_code = status


class VersionUploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="A VSIX; as application/octet-stream it may also be the body alone.")
    sha256 = serializers.CharField(required=False, help_text="The digest that it must have.")
    default = serializers.BooleanField(required=False, help_text="Make it the default.")


UPLOADED = {"multipart/form-data": VersionUploadSerializer, "application/octet-stream": OpenApiTypes.BINARY}


class VersionViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.DestroyModelMixin, GenericViewSet[Version]
):
    """Versions of Lingma that were installed; instances are moved with `move`."""

    resource = "versions"
    queryset = Version.objects.prefetch_related("orders")
    serializer_class = VersionSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("-position", "id")
    ordering_fields = ("installed_at", "id")
    filters: ClassVar = {"version": is_equal("version")}

    @extend_schema(request=UPLOADED, responses={HTTPStatus.CREATED: VersionSerializer})
    def create(self, request: Request) -> Response:
        """Unpack a VSIX on the machine that answers, beside the others; for superusers. `sha256` and `default` come
        before the file, or in the query.
        """
        if not request.user.is_superuser:
            raise PermissionDenied
        if is_asked(request):
            return Response(status=HTTPStatus.NO_CONTENT)
        try:
            upload = upload_of(request)
            fields = request.query_params.dict() | upload.fields
            is_default = fields.get("default", "").lower() in serializers.BooleanField.TRUE_VALUES
            row = versions.install_upload(upload, settings.DATA_DIR, fields.get("sha256", ""), default=is_default)
        except (NotUploaded, NotInstalled) as exc:
            raise UnusableFile(translated(exc.text), exc.status) from None
        return Response(VersionSerializer(row, context=self.get_serializer_context()).data, status=HTTPStatus.CREATED)

    @extend_schema(request=None, responses=VersionSerializer)
    @action(detail=True, methods=["post"])
    def default(self, request: Request, pk: str = "") -> Response:
        """Have every instance run it that is not ordered to run another."""
        versions.make_default(self.get_object())
        return Response(VersionSerializer(self.get_object(), context=self.get_serializer_context()).data)

    @extend_schema(request=None, responses=VersionSerializer)
    @default.mapping.delete
    def no_default(self, request: Request, pk: str = "") -> Response:
        """If it is the default: have no default, so that what has no order runs what the settings say."""
        if self.get_object().is_default:
            versions.make_default(None)
        return Response(VersionSerializer(self.get_object(), context=self.get_serializer_context()).data)

    def perform_destroy(self, instance: Version) -> None:
        """With the files of the machine that answers; 409 while it is the default, or ordered for an instance."""
        try:
            versions.delete(instance, settings.DATA_DIR)
        except VersionInUse as exc:
            raise Conflict(str(exc)) from None


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
        times = maintenance.next_of(row, timezone.now())
        return times[0] if times else None

    def get_closes_at(self, row: MaintenanceWindow) -> datetime | None:
        times = maintenance.next_of(row, timezone.now())
        return times[1] if times else None


class MaintenanceWindowViewSet(Idempotent, ModelViewSet[MaintenanceWindow]):
    """Planned times in which instances take no turns, once or each week; every process keeps them by its own clock."""

    resource = "maintenance-windows"
    queryset = MaintenanceWindow.objects.all()
    serializer_class = MaintenanceWindowSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("starts_at", "id")
    ordering_fields = ("starts_at", "name", "id")
    filters: ClassVar = {"name": is_equal("name")}


router = SimpleRouter()
router.register("maintenance-windows", MaintenanceWindowViewSet)
router.register("instances", InstanceViewSet)
router.register("logins", LoginViewSet)
router.register("versions", VersionViewSet)
router.register("aliases", AliasViewSet)
router.register("prompts", PromptViewSet)
urlpatterns = router.urls
