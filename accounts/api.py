"""Keys and usage for operators' programs, to be read only."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.pagination import CursorPagination
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.models import ApiKey, Usage


class StaffWhoMayView(BasePermission):
    """Whoever may see the same in the console."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Staff with Django's view permission for the model."""
        model = getattr(view, "queryset").model._meta  # noqa: B009 - APIView itself has none
        return bool(request.user.is_staff and request.user.has_perm(f"{model.app_label}.view_{model.model_name}"))


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key, without anything of its secret but the hint."""

    team = serializers.StringRelatedField[ApiKey]()
    state = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        exclude: ClassVar = ["digest"]

    def get_state(self, key: ApiKey) -> str:
        """As `ApiKey.state`."""
        return key.state(timezone.now())


class UsageSerializer(serializers.ModelSerializer[Usage]):
    """A turn."""

    class Meta:
        model = Usage
        exclude: ClassVar = ["id"]


class ByTime(CursorPagination):
    """Pages without counting; `next` and `previous` are addresses."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000


class KeysByTime(ByTime):
    """The newest key first."""

    ordering = ("-created_at", "-id")


class UsageByTime(ByTime):
    """The latest turn first."""

    ordering = ("-started_at", "-id")


class KeyViewSet(ReadOnlyModelViewSet[ApiKey]):
    """`/api/keys/`."""

    queryset = ApiKey.objects.select_related("team")
    serializer_class = KeySerializer
    pagination_class = KeysByTime
    authentication_classes = (SessionAuthentication,)
    permission_classes = (StaffWhoMayView,)
    renderer_classes = (JSONRenderer,)


class UsageViewSet(ReadOnlyModelViewSet[Usage]):
    """`/api/usage/`, by request id or filtered by `api_key`, `status` and `agent`."""

    queryset = Usage.objects.all()
    lookup_field = "request_id"
    serializer_class = UsageSerializer
    pagination_class = UsageByTime
    authentication_classes = (SessionAuthentication,)
    permission_classes = (StaffWhoMayView,)
    renderer_classes = (JSONRenderer,)

    def get_queryset(self) -> QuerySet[Usage]:
        """The turns asked for; a filter that makes no sense is refused."""
        asked: dict[str, Any] = {}
        if key := self.request.query_params.get("api_key"):
            if not key.isdecimal() or len(key) > 18:
                raise serializers.ValidationError({"api_key": "Must be the id of a key."})
            asked["api_key_id"] = int(key)
        for name, choices in (("status", Usage.Status), ("agent", Usage.Agent)):
            if value := self.request.query_params.get(name):
                if value not in choices.values:
                    raise serializers.ValidationError({name: f"Must be one of {', '.join(choices.values)}."})
                asked[name] = value
        return super().get_queryset().filter(**asked)
