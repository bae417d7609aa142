"""`/api/teams/`."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import User
from django.db.models import ProtectedError, QuerySet
from django.utils.translation import gettext
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.viewsets import ModelViewSet

from accounts.api.fields import POLICY, PolicyFields
from accounts.api.held_rows import HeldRows
from accounts.api.idempotency import Idempotent
from accounts.api.limits import WithLimits
from accounts.api.lists import is_equal
from accounts.api.problems import Conflict
from accounts.models import Team
from accounts.roles.ranks import check_members
from accounts.roles.reach import CHANGE_TEAMS, SEE_TEAMS, own_teams


class TeamSerializer(PolicyFields):
    members = serializers.SlugRelatedField[User](
        slug_field="username", queryset=User.objects.all(), many=True, required=False
    )

    class Meta:
        model = Team
        fields: ClassVar = ["id", "name", "members", "time_zone", "created_at", *POLICY]
        read_only_fields: ClassVar = ["created_at"]

    def validate_members(self, members: list[User]) -> list[User]:
        before = self.instance.members.all() if isinstance(self.instance, Team) else ()
        check_members(self.context["request"].user, before, members)
        return members


class TeamViewSet(WithLimits, Idempotent, HeldRows, ModelViewSet[Team]):
    """Teams. One with keys or usage cannot be deleted: 409."""

    resource = "teams"
    queryset = Team.objects.prefetch_related("members")
    serializer_class = TeamSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at", "id")
    filters: ClassVar = {"name": is_equal("name")}

    def get_queryset(self) -> QuerySet[Team]:
        needed = SEE_TEAMS if self.request.method in SAFE_METHODS else CHANGE_TEAMS
        return own_teams(self.request.user, needed, super().get_queryset())

    def perform_destroy(self, instance: Team) -> None:
        try:
            instance.delete()
        except ProtectedError:
            raise Conflict(gettext("The team has keys or usage.")) from None
