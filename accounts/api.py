"""Keys and usage for operators' programs, to be read only."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.models import ApiKey, Usage


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key, without anything of its secret but the hint."""

    team = serializers.StringRelatedField[ApiKey]()
    state = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        # A digest can be tried against guesses by whoever has the pepper, so it leaves the database nowhere.
        exclude: ClassVar = ["digest", "previous_digest"]

    def get_state(self, key: ApiKey) -> str:
        return key.state(timezone.now()).value


class UsageSerializer(serializers.ModelSerializer[Usage]):
    class Meta:
        model = Usage
        exclude: ClassVar = ["id"]


class KeyViewSet(ReadOnlyModelViewSet[ApiKey]):
    """`/api/keys/`."""

    queryset = ApiKey.objects.select_related("team")
    serializer_class = KeySerializer
    ordering = ("-created_at", "-id")


class UsageViewSet(ReadOnlyModelViewSet[Usage]):
    """`/api/usage/`, by request id or filtered by `api_key`, `status` and `agent`."""

    queryset = Usage.objects.all()
    lookup_field = "request_id"
    serializer_class = UsageSerializer
    ordering = ("-started_at", "-id")

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The turns asked for; a filter that makes no sense is refused."""
        conditions: dict[str, Any] = {}
        if key := self.request.query_params.get("api_key"):
            # 18 digits fit into the column's 64 bits; more would be an error of the database.
            if not key.isdecimal() or len(key) > 18:
                raise serializers.ValidationError({"api_key": "Must be the id of a key."})
            conditions["api_key_id"] = int(key)
        # Refused, not ignored: a filter with a typing error would else answer with all rows.
        for name, choices in (("status", Usage.Status), ("agent", Usage.Agent)):
            if value := self.request.query_params.get(name):
                if value not in choices.values:
                    raise serializers.ValidationError({name: f"Must be one of {', '.join(choices.values)}."})
                conditions[name] = value
        return super().filter_queryset(queryset).filter(**conditions)
