"""`/api/aliases/` and `/api/prompts/`: what model names mean, and how tools are described."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext
from rest_framework import serializers
from rest_framework.viewsets import ModelViewSet

from accounts.api.checked import Checked
from accounts.api.held_rows import HeldRows
from accounts.api.idempotency import Idempotent
from accounts.api.lists import is_equal
from bridge.models import ModelAlias, PromptTemplate


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


class RoutingViewSet(Idempotent, HeldRows, ModelViewSet[Any]):
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
