"""`/api/usage/`, the rows, and `/api/usage/summary/`, what they add up to; with the filters of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.api.lists import PAGING, Ordering, refuse_unknown
from accounts.api.permissions import SeesUsage, WithinScopes
from accounts.api.summary import PARAMETERS, SummarySerializer, ordered, rows_of
from accounts.explain.ids import request_id_of
from accounts.ledger import shared_rows
from accounts.models import Usage
from accounts.reports.filters import COLUMNS, NAMES, OUTCOMES, WEEKLY, Filters, parse
from accounts.reports.period import RANGES
from accounts.reports.summary import rows, summarize, total
from accounts.reports.visibility import visible_to

CHOICES: Final[Mapping[str, list[str]]] = {
    "status": list(Usage.Status.values), "range": list(RANGES), "outcome": list(OUTCOMES),
}  # fmt: skip
REPEATED: Final = frozenset(COLUMNS)
HELP: Final = {
    **dict.fromkeys(("from", "to"), "A date or a time of ISO 8601."),
    **dict.fromkeys(COLUMNS, "With ! in front: all rows but those that have it."),
    WEEKLY: "Such as mon-14: this hour of each week since `from`.",
}


def filters_of(request: Request, *others: str) -> Filters:
    """Raise ValidationError for a filter that makes no sense, and for a parameter that is none."""
    refuse_unknown(request, (*NAMES, *others))
    return parse(dict(request.query_params.lists()), timezone.now(), timezone.get_current_timezone())


class UsageFilters(BaseFilterBackend):
    """The one spelling of filters, for rows; a single row needs none."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if view.detail:
            return queryset
        return rows(filters_of(request, *PAGING), visible_to(request.user)).select_related("team", "api_key")

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [_parameter(name) for name in NAMES]


def _parameter(name: str) -> dict[str, Any]:
    value = {"type": "string"} | ({"enum": CHOICES[name]} if name in CHOICES else {})
    repeated = name in REPEATED
    schema = {"type": "array", "items": value} if repeated else value
    return {"name": name, "in": "query", "required": False, "description": HELP.get(name, ""), "schema": schema}


class UsageSerializer(serializers.ModelSerializer[Usage]):
    key = serializers.SerializerMethodField(help_text="Name of the key.")
    key_id = serializers.IntegerField(source="api_key_id", allow_null=True)
    team = serializers.SerializerMethodField(help_text="Name of the team that the key had then.")
    team_id = serializers.IntegerField(allow_null=True)
    client_app = serializers.CharField(source="agent", help_text="The client program, by its User-Agent.")

    prompt_tokens = serializers.SerializerMethodField(help_text="Null where nobody knows.")
    completion_tokens = serializers.SerializerMethodField(help_text="Null where nobody knows.")

    class Meta:
        model = Usage
        exclude: ClassVar = ["id"]  # `api_key` and `agent` are earlier names of `key_id` and `client_app`

    def get_key(self, row: Usage) -> str | None:
        return row.api_key.name if row.api_key else None

    def get_team(self, row: Usage) -> str | None:
        return row.team.name if row.team else None

    def get_prompt_tokens(self, row: Usage) -> int | None:
        return row.prompt_tokens if row.tokens_known else None

    def get_completion_tokens(self, row: Usage) -> int | None:
        return row.completion_tokens if row.tokens_known else None


_DOCUMENTED: Final = [
    OpenApiParameter(name, many=name in REPEATED, enum=CHOICES.get(name), description=HELP.get(name, ""))
    for name in NAMES
]


class UsageViewSet(ReadOnlyModelViewSet[Usage]):
    """Usage, a turn or a bundle of refusals a row, by request id or filtered."""

    resource = "usage"
    permission_classes = (SeesUsage, WithinScopes)
    queryset = Usage.objects.all()
    lookup_field = "request_id"
    serializer_class = UsageSerializer
    filter_backends = (UsageFilters, Ordering)
    ordering = ("-started_at", "-id")
    ordering_fields = ("started_at",)

    def get_queryset(self) -> QuerySet[Usage]:
        visible = super().get_queryset().filter(visible_to(self.request.user).condition)
        return visible.select_related("team", "api_key")

    def get_object(self) -> Usage:
        """By any of the ids under which people know a request: `req_`, `chatcmpl-`, `msg_`, `resp_`, or its digits.

        Of a refusal that shares a row, that row; it has the id of the first.
        """
        # Into kwargs, as that is where DRF's `get_object` looks.
        self.kwargs["request_id"] = asked = request_id_of(self.kwargs["request_id"])
        try:
            return super().get_object()
        except Http404:
            if not (first := shared_rows.row_of(settings.REDIS_URL, asked)):
                raise
            self.kwargs["request_id"] = first
            return super().get_object()

    @extend_schema(parameters=[*_DOCUMENTED, *PARAMETERS], responses=SummarySerializer)
    @action(detail=False, filter_backends=[UsageFilters], pagination_class=None)
    def summary(self, request: Request) -> Response:
        """The sums of all that the filters leave, a group a row; without `group_by` one row."""
        filters, visibility = filters_of(request, "group_by", "ordering", "format"), visible_to(request.user)
        given = ",".join(request.query_params.getlist("group_by"))
        group_by = list(dict.fromkeys(name for part in given.split(",") if (name := part.strip())))
        groups = summarize(filters, visibility, group_by) if group_by else {(): total(filters, visibility)}
        asked = request.query_params.get("ordering", "")
        return Response(
            {"next": None, "previous": None, "results": ordered(rows_of(group_by, groups), group_by, asked)}
        )
