"""`/api/sessions/` of the operators' API, to be read only."""

from __future__ import annotations

from typing import ClassVar

import redis
from django.conf import settings
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.api.lists import is_equal
from gateway_project.lib.pages.live_rows import query_set_of
from sessions_store import services
from sessions_store.models import Entry


class SessionSerializer(serializers.ModelSerializer[Entry]):
    key = serializers.CharField(source="api_key.name", default=None, read_only=True)
    key_id = serializers.IntegerField(source="api_key_id", allow_null=True, read_only=True)

    class Meta:
        model = Entry
        fields: ClassVar = [
            "session_id", "key", "key_id", "instance", "generation", "length", "hits", "state", "created_at", "used_at",
        ]  # fmt: skip


class SessionViewSet(ReadOnlyModelViewSet[Entry]):
    """Conversations that Lingma remembers, as Redis has them now; while Redis is away, the last copy."""

    resource = "sessions"
    queryset = Entry.objects.all()
    serializer_class = SessionSerializer
    lookup_value_regex = r"[^/\x00]+"  # PostgreSQL takes no NUL in text, and raises
    ordering = ("-used_at", "-session_id")
    ordering_fields = ("used_at", "created_at")
    filters: ClassVar = {
        "instance": is_equal("instance"),
        "state": is_equal("state", choices=Entry.State.values),
        "key": is_equal("api_key__name"),
    }

    def get_queryset(self) -> QuerySet[Entry]:
        try:
            rows = query_set_of(Entry, services.current(settings.REDIS_URL, settings.SESSIONS_STORE_MAX))
        except redis.RedisError:
            rows = super().get_queryset()
        return rows.select_related("api_key")


router = SimpleRouter()
router.register("sessions", SessionViewSet)
urlpatterns = router.urls
