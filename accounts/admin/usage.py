"""Usage in the admin console: one row per turn, to be read only."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold import paginator as unfold_paginator
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from accounts.explain.ids import request_id_of
from accounts.ledger import shared_rows
from accounts.ledger.filing import ORPHANED
from accounts.models import OUTCOME_COLOURS, Usage
from accounts.reports.words import UNKNOWN, source_of, tokens_of
from gateway_project.lib.pages.cells import VisibleText, cut
from gateway_project.lib.pages.lookups import ClosedLookups
from gateway_project.lib.public_formats import PROTOCOLS

SAME_FILTERS: Final = {
    "from": "started_at__gte", "to": "started_at__lt", "key": "api_key__id__exact", "status": "status__exact",
    "protocol": "protocol", "client_app": "agent__exact", "outcome": "outcome",
}  # fmt: skip


class ProtocolFilter(DropdownFilter):
    """By a list of our own: asking the table which there are would read all of it."""

    title = _("protocol")
    parameter_name = "protocol"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(PROTOCOLS)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(protocol=self.value()) if self.value() else queryset


class OutcomeFilter(DropdownFilter):
    """By whose fault a turn ended, over all the words for it."""

    title = _("fault")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("failed", gettext("failed here")),
            ("turned_away", gettext("turned away by a limit or a mistake")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "failed":
                return queryset.failed()
            case "turned_away":
                return queryset.turned_away()
            case _:
                return queryset


class InfinitePaginator(unfold_paginator.InfinitePaginator):  # unfold's templates know it by this name
    """Looks only at ids until it knows those of its page: a deep page joins fifty rows, not all before them."""

    def page(self, number: Any) -> Any:
        """The page of that number. It may be empty, for nothing was counted."""
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        # Two queries: the first walks an index over the rows that are skipped, the second reads fifty whole ones.
        ids = list(self.object_list.values_list("pk", flat=True)[start : start + self.per_page])
        return self._get_page(self.object_list.filter(pk__in=ids), number, self)


def names_of(line: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names of the fields in one line of a section."""
    return (line,) if isinstance(line, str) else line


SAID_ELSEWHERE: Final = {"id", "usage_source"}
"""Columns that the page shows in other words, or not at all."""


def filters_of(given: QueryDict) -> dict[str, list[str]]:
    """The filters of this list as the usage pages call them."""
    return {name: given.getlist(parameter) for name, parameter in SAME_FILTERS.items() if given.get(parameter)}


@admin.register(Usage)
class UsageAdmin(ClosedLookups, VisibleText, ModelAdmin):
    """Turns, to be read only. Nothing here counts the table, so it may grow."""

    list_display = ("turn", "key", "model_name", "outcome", "calls", "speed", "tokens")
    list_filter: ClassVar = [
        OutcomeFilter, ("status", ChoicesDropdownFilter), ProtocolFilter, ("agent", ChoicesDropdownFilter),
        ("api_key", AutocompleteSelectFilter), "started_at",
    ]  # fmt: skip
    list_filter_submit = True
    list_select_related: ClassVar = ["api_key"]
    list_per_page = 50
    paginator = InfinitePaginator
    # Each of these would count the whole table for a page of fifty rows.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # Exact: any other search would read the table from end to end.
    search_fields = ("request_id__exact",)
    search_help_text = _("A whole id of the request: req_, chatcmpl-, msg_, resp_, or its digits")
    ordering = ("-started_at", "-id")
    actions: ClassVar[list[str]] = []
    sections: ClassVar[list[tuple[Any, dict[str, Any]]]] = [
        (None, {"fields": [("request_id", "api_key"), ("started_at", "client", "agent")]}),
        (
            _("Turn"),
            {"fields": [("protocol", "endpoint"), ("model", "lingma_model"), ("stream", "session", "instance")]},
        ),
        (
            _("Outcome"),
            {"fields": [("status", "reason"), ("queue_ms", "first_token_ms", "total_ms"), "tools", "trace_id"]},
        ),
        (_("Refusal"), {"fields": [("count", "limit_scope"), ("allowed", "value", "retry_after")]}),
        (_("Tokens"), {"fields": [("prompt_tokens", "completion_tokens", "tokens_from")]}),
    ]
    # By time to the second, team, endpoint, instance, reason and session the pages at `/usage/` filter: they add up by
    # the hour, while this list would walk the table for a value that few rows have.
    list_before_template = "admin/accounts/usage/more_filters.html"
    empty_icon = "receipt_long"
    empty_title = _("No turns yet")
    empty_hint = _("Every turn appears here within seconds of its end, however it ended.")

    def get_fieldsets(self, request: HttpRequest, obj: Usage | None = None) -> Any:
        """The sections, and a last one for columns that none of them names: a new column needs no work here."""
        named = {name for _, section in self.sections for line in section["fields"] for name in names_of(line)}
        # Computed, so that no column is forgotten here.
        rest = [field.name for field in Usage._meta.concrete_fields if field.name not in named | SAID_ELSEWHERE]
        return [*self.sections, *([(gettext("More"), {"fields": rest})] if rest else [])]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Usage | None:
        """The page shows a dash in the place of None, and saves nothing."""
        obj: Usage | None = super().get_object(request, object_id, from_field)
        if obj is not None and not obj.tokens_known:
            obj.prompt_tokens = obj.completion_tokens = None  # type: ignore[assignment]
        if obj is not None and obj.reason == ORPHANED:
            obj.total_ms = None  # type: ignore[assignment]
        return obj

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        page: HttpResponse = super().change_view(
            request, object_id, form_url, (extra_context or {}) | {"show_history": False, "show_view_on_site": True}
        )
        return page

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        filters = filters_of(request.GET)
        # Without a time this list shows all there is, and the first of the pages a day.
        timed = filters if {"from", "to"} & filters.keys() else filters | {"range": ["30d"]}
        more = {
            "filters": f"{reverse('usage')}?{urlencode(timed, doseq=True)}",
            "rows": f"{reverse('usage_rows')}?{urlencode(filters, doseq=True)}",
        }
        page: HttpResponse = super().changelist_view(request, (extra_context or {}) | {"same_filters": more})
        return page

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """By any id that a client shows of the request."""
        asked = request_id_of(search_term) if search_term else ""
        # Mostly it has a row of its own, so Redis is asked only then.
        if asked and not Usage.objects.filter(request_id=asked).exists():
            # Of refusals that share a row, the row.
            asked = shared_rows.row_of(settings.REDIS_URL, asked) or asked
        return super().get_search_results(request, queryset, asked)

    def view_on_site(self, obj: Usage) -> str:
        """The page that explains the request."""
        return reverse("usage_request", args=[obj.request_id])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Usage | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Usage | None = None) -> bool:
        return False

    @display(description=_("Turn"), header=True, ordering="started_at")
    def turn(self, obj: Usage) -> tuple[str, str]:
        """Its start to the second, and as much of its request id as tells it from others."""
        return timezone.localtime(obj.started_at).strftime("%Y-%m-%d %H:%M:%S %Z"), Truncator(obj.request_id).chars(20)

    @display(description=_("Key"), header=True)
    def key(self, obj: Usage) -> tuple[str, str]:
        return (cut(obj.api_key.name), obj.api_key.hint) if obj.api_key else (gettext("deleted key"), "")

    @display(description=_("Model"), header=True)
    def model_name(self, obj: Usage) -> tuple[str, str]:
        # Shown only where an alias was used: else it repeats the model.
        means = obj.lingma_model if obj.lingma_model != obj.model else ""
        how = [obj.get_agent_display(), obj.protocol, gettext("streamed") if obj.stream else gettext("plain"), means]
        return cut(obj.model) or "–", cut(", ".join(filter(None, how)))

    @display(description=_("Outcome"), label=OUTCOME_COLOURS)
    def outcome(self, obj: Usage) -> tuple[str, str]:
        return obj.status, obj.outcome

    @display(description=_("Tools"))
    def calls(self, obj: Usage) -> str:
        """What became of calls, and what was decided on those of the service."""
        return cut(obj.tools) if obj.tools else "–"

    @display(description=_("First / total"))
    def speed(self, obj: Usage) -> str:
        first = "–" if obj.first_token_ms is None else f"{obj.first_token_ms:,}"
        # Nobody knows how long it ran.
        return f"{first} / –" if obj.reason == ORPHANED else f"{first} / {obj.total_ms:,} ms"

    @display(description=_("Tokens in / out"), header=True)
    def tokens(self, obj: Usage) -> tuple[str, str]:
        return tokens_of(obj), source_of(obj)

    @display(description=_("tokens from"))
    def tokens_from(self, obj: Usage) -> str:
        return source_of(obj) or UNKNOWN
