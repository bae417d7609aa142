"""All alerts in the console, those that are over too."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from accounts.admin.alerts import linked, may_acknowledge
from accounts.admin.usage import InfinitePaginator
from accounts.alerts import raising
from accounts.alerts.words import SEVERITIES, Severity, about, clock, kind_names, matters, severity
from accounts.models import Alert
from accounts.roles.reach import CHANGE_KEYS, SEE_KEYS, teams_of
from gateway_project.lib.pages.cells import cut
from gateway_project.lib.pages.lookups import ClosedLookups

COLOURS: Final = {"info": "info", "warning": "warning", "critical": "danger"}


class KindFilter(DropdownFilter):
    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return kind_names()

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class SeverityFilter(DropdownFilter):
    title = _("severity")
    parameter_name = "severity"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(each.name, str(name)) for each, name in SEVERITIES.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() not in Severity.__members__:
            return queryset
        return queryset.filter(matters(Severity[self.value()]))


class StateFilter(DropdownFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", gettext("open")), ("acknowledged", gettext("acknowledged")), ("ended", gettext("ended"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "open":
                return queryset.filter(acknowledged_at=None, ended_at=None)
            case "acknowledged":
                return queryset.exclude(acknowledged_at=None)
            case "ended":
                return queryset.exclude(ended_at=None)
        return queryset


@admin.register(Alert)
class AlertAdmin(ClosedLookups, ModelAdmin):
    """To be read; those that are chosen can be acknowledged."""

    list_display = ("severity_label", "name", "text", "since", "until", "state_label")
    # An alert has no page: what there is to say stands in its row, and what it is about has one.
    list_display_links = None
    list_filter: ClassVar = [StateFilter, KindFilter, SeverityFilter]
    list_filter_submit = True
    list_per_page = 50
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-began_at", "-id")
    actions: ClassVar = ["acknowledge_selected"]
    empty_icon = "notifications"
    empty_title = _("No alerts yet")
    empty_hint = _("What somebody should look at appears here.")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        # Django has no permissions for alerts (see the model), so all of these are answered here.
        teams = teams_of(request.user, SEE_KEYS)
        return teams is None or bool(teams)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        teams = teams_of(request.user, SEE_KEYS)
        found: QuerySet[Alert] = super().get_queryset(request).select_related("key")
        return found if teams is None else found.filter(key__team__in=teams)

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        """Of any alert: who may only look is offered nothing that would do nothing."""
        teams = teams_of(request.user, CHANGE_KEYS)
        return teams is None or bool(teams)

    @admin.action(description=_("Acknowledge"), permissions=["acknowledge"])
    def acknowledge_selected(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        for alert in queryset:
            # Some rows may be those of teams whose keys the user may only see; these stay open.
            if may_acknowledge(request.user, alert):
                raising.acknowledge(alert, request.user.get_username())

    @display(description=_("Severity"), label=COLOURS)
    def severity_label(self, obj: Alert) -> tuple[str, str]:
        found = severity(obj.kind)
        return found.name.lower(), str(SEVERITIES[found])

    @display(description=_("About"))
    def name(self, obj: Alert) -> str:
        return cut(about(obj))

    @display(description=_("What"))
    def text(self, obj: Alert) -> str:
        # In one piece: on a phone each child of a cell has a line of its own.
        return format_html("<span>{}</span>", linked(obj))

    @display(description=_("Since"), ordering="began_at")
    def since(self, obj: Alert) -> str:
        return clock(obj.began_at)

    @display(description=_("Until"))
    def until(self, obj: Alert) -> str:
        return clock(obj.ended_at) if obj.ended_at else "–"

    @display(description=_("State"))
    def state_label(self, obj: Alert) -> str:
        if obj.acknowledged_at:
            return gettext("acknowledged by %(who)s") % {"who": cut(obj.acknowledged_by)}
        return gettext("ended") if obj.ended_at else gettext("open")
