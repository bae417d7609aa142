"""`/api/instances/`: as their heartbeats have them, and what is ordered."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
import redis
from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.api.checked import Known
from accounts.api.lists import is_equal
from accounts.api.problems import Conflict
from bridge.fleet import mirror, orders, sizes, timelines, versions
from bridge.fleet.orders import LONGEST_SEC, Action, NoLogin, UnknownInstance
from bridge.fleet.sizes import BadSize
from bridge.fleet.versions import UnknownVersion
from bridge.models import Instance, Login
from bridge.status.smoke import Behaviour
from bridge.status.states import InstanceState
from bridge.status.transitions import Transition, TransitionReason
from gateway_project.lib.pages.live_rows import query_set_of


class SmokeSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    ok = serializers.BooleanField()
    total_ms = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_blank=True)
    failed = serializers.IntegerField(help_text="Failures in a row.")
    version = serializers.CharField(allow_blank=True, help_text="Of the service that was asked.")
    behaviour = serializers.ChoiceField(
        choices=[each.value for each in Behaviour], help_text="What it did; empty: it was too busy, or not there."
    )


class TransitionSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=[each.value for each in InstanceState])
    why = serializers.ChoiceField(choices=[each.value for each in TransitionReason])
    detail = serializers.CharField(allow_blank=True)
    generation = serializers.IntegerField()


class InstanceSerializer(serializers.ModelSerializer[Instance]):
    replacing = serializers.SerializerMethodField(help_text="A successor is started beside it.")
    cool_until = serializers.SerializerMethodField(help_text="Until then it takes no turns; null: it has no pause.")
    smoke = serializers.SerializerMethodField(help_text="The last short chat that was asked for; null: none was.")
    maintenance_until = serializers.SerializerMethodField(help_text="A window holds it; null: none is open.")
    cools_for = serializers.SerializerMethodField(
        help_text="Why the gateway has made the pause: `limited`, `no_plan` or `failed`; empty: it has not."
    )
    last_step = serializers.SerializerMethodField(
        help_text="What has brought it to where it is: the latest of its `transitions`; null: not known."
    )
    login_label = serializers.SerializerMethodField(help_text="Of the login it was given; null: none, or not known.")
    login_generation = serializers.SerializerMethodField(help_text="Of that login's files; null: the same.")
    memory_bytes = serializers.SerializerMethodField(help_text="Of its processes; null: not known.")
    disk_bytes = serializers.SerializerMethodField(help_text="Of its work directory; null: not known.")
    stuck_turns = serializers.SerializerMethodField(help_text="Turns of which nothing has come for STUCK_TURN_SEC.")

    class Meta:
        model = Instance
        exclude = ("behaviour", "behaves_in")  # of the copy alone; `smoke` has what was seen last

    def get_replacing(self, row: Instance) -> bool:
        return self._beat(row).replacing

    @extend_schema_field(SmokeSerializer(allow_null=True))
    def get_smoke(self, row: Instance) -> Any:
        smoke = self._beat(row).smoke
        if smoke is None:
            return None
        return SmokeSerializer(msgspec.structs.asdict(smoke) | {"at": datetime.fromtimestamp(smoke.at, UTC)}).data

    @extend_schema_field(TransitionSerializer(allow_null=True))
    def get_last_step(self, row: Instance) -> Any:
        step = self.context["view"].steps.get(row.name)
        return _shown(step) if step is not None else None

    def get_login_label(self, row: Instance) -> str | None:
        held = self._beat(row).held_login
        return self.context["view"].labels.get(held) if held else None

    def get_login_generation(self, row: Instance) -> int | None:
        beat = self._beat(row)
        return beat.login_generation if beat.held_login else None

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


class InstanceDetailSerializer(InstanceSerializer):
    transitions = serializers.SerializerMethodField(
        help_text="Its last 200 changes of state and replacements, the latest first, for a week; "
        "beside them its last 50 changes between ready and busy, of those that lasted."
    )

    @extend_schema_field(TransitionSerializer(many=True))
    def get_transitions(self, row: Instance) -> Any:
        """None while Redis is away."""
        try:
            found = timelines.read(settings.REDIS_URL, row.name)
        except redis.RedisError:
            return []
        return [_shown(each) for each in found]


def _shown(step: Transition) -> Any:
    return TransitionSerializer(msgspec.structs.asdict(step) | {"at": datetime.fromtimestamp(step.at, UTC)}).data


class ActionSerializer(Known):
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


class InstanceViewSet(ReadOnlyModelViewSet[Instance]):
    """Instances as their heartbeats of this moment have them; while Redis is away, the last copy."""

    resource = "instances"
    queryset = Instance.objects.all()
    serializer_class = InstanceSerializer
    lookup_value_regex = r"[^/\x00]+"  # PostgreSQL takes no NUL in text, and raises
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

    @cached_property
    def steps(self) -> dict[str, Transition]:
        """The last one of each instance; none while Redis is away."""
        try:
            return timelines.latest(settings.REDIS_URL, self.beats)
        except redis.RedisError:
            return {}

    @cached_property
    def labels(self) -> dict[int, str]:
        """Of the logins that instances have."""
        held = {each.held_login for each in self.beats.values()}
        return dict(Login.objects.filter(pk__in=held).values_list("pk", "label"))

    @extend_schema(request=ActionSerializer, responses={202: ActionSerializer})
    @action(detail=True, methods=["post"])
    def actions(self, request: Request, pk: str = "") -> Response:
        """Have the instance, or with `all` every one, do something; it begins within two seconds.

        With `all`, `drain`, `stop` and `start` are one order, which also holds for instances that are added later.
        """
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
    return orders.order(Action(action), name, settings.REDIS_URL, seconds=seconds)
