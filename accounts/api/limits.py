"""`limits/` below a key and a team: how each of their limits stands now."""

from __future__ import annotations

from typing import Any

import redis
from django.conf import settings
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.problems import Unavailable
from accounts.limits.standing import Standing, limits_for, standing_of
from accounts.models import LIMITS
from gateway_project.lib.redis.redis_client import connect


class ShadowedSerializer(serializers.Serializer[Any]):
    today = serializers.IntegerField()
    yesterday = serializers.IntegerField()


class LimitSerializer(serializers.Serializer[Any]):
    """The fields of `GET /v1/usage`, and what a limit in shadow mode would have refused."""

    name = serializers.ChoiceField(LIMITS)
    scope = serializers.ChoiceField(("key", "team"), help_text="Whose limit it is.")
    limit = serializers.IntegerField()
    used = serializers.IntegerField()
    remaining = serializers.IntegerField()
    resets_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When all of it is free again if nothing else comes; null for turns at once, free when they end.",
    )
    shadow = serializers.BooleanField(help_text="It is counted and refuses nobody.")
    would_have_refused = ShadowedSerializer(
        allow_null=True, help_text="Requests of the gateway's days; null for a limit that is enforced."
    )


class LimitsSerializer(serializers.Serializer[Any]):
    limits = LimitSerializer(many=True)


class WithLimits:
    """A mixin for view sets of keys and teams. Whoever may see one may see how its limits stand."""

    @extend_schema(responses=LimitsSerializer)
    @action(detail=True)
    def limits(self, request: Request, pk: str = "") -> Response:
        """How each limit stands now: of a key those of its team, too. 503 while Redis, which counts, is away."""
        owner = self.get_object()  # type: ignore[attr-defined]  # a view's
        try:
            with connect(settings.ENV.redis_or_embedded_url) as client:
                found = standing_of(owner, limits_for(owner), client)
        except redis.RedisError:
            raise Unavailable(gettext("The limits cannot be read while Redis is away.")) from None
        return Response({"limits": [_shown(each) for each in found]})


def _shown(standing: Standing) -> dict[str, Any]:
    would_have = standing.would_have_refused
    return standing.state.shown() | {"would_have_refused": would_have and would_have._asdict()}
