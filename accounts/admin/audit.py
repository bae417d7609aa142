"""The audit log in the admin console, to be read only."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import path
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.timezone import is_aware, make_aware
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter, TextFilter
from unfold.decorators import display

from accounts.admin.usage import InfinitePaginator
from accounts.audit.export import exported
from accounts.audit.history import address_of
from accounts.audit.words import ACTIONS, COLOURS, action_name, changes_of, kind_name, kinds, time_of
from accounts.models import AuditEntry
from gateway_project.lib.pages.cells import cut
from gateway_project.lib.pages.lookups import ClosedLookups

MOST_CHANGES, LONGEST = 3, 40  # in a cell of the list; characters of a value


class ActorFilter(TextFilter):
    title = _("who")
    parameter_name = "actor"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(actor__iexact=self.value().strip()) if self.value() else queryset


class SourceFilter(ChoicesDropdownFilter):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The column is called "by", which says little above a filter.
        self.title = gettext("source")


class ActionFilter(DropdownFilter):
    """By a list of our own: asking the table which there are would read all of it."""

    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(action, str(name)) for action, name in ACTIONS.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(action=self.value()) if self.value() else queryset


class KindFilter(DropdownFilter):
    title = _("kind")
    parameter_name = "object_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return kinds()

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(object_type=self.value()) if self.value() else queryset


class TimeFilter(RangeDateTimeFilter):
    """In the zone of the page; unfold's own compares with times of no zone. A day without a time is its beginning."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        for end, lookup in (("from", "at__gte"), ("to", "at__lte")):
            day, time = (str(self.used_parameters.get(f"at_{end}_{part}") or "") for part in (0, 1))
            try:
                moment = parse_datetime(f"{day} {time or '00:00'}") if day else None
            except ValueError:  # such as the 31st of June
                moment = None
            if moment is not None:
                queryset = queryset.filter(**{lookup: moment if is_aware(moment) else make_aware(moment)})
        return queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ClosedLookups, ModelAdmin):
    """Nothing counts the table, so it may grow."""

    list_display = ("time", "who", "action_label", "object_header", "changes_line")
    list_filter: ClassVar = [
        ActorFilter, ("source", SourceFilter), ActionFilter, KindFilter, ("at", TimeFilter),
    ]  # fmt: skip
    # Those of the filter of times are names of their own.
    linked_by = ("object_type", "object_id", *(f"at_{end}_{part}" for end in ("from", "to") for part in (0, 1)))
    list_filter_submit = True
    list_per_page = 50
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("actor", "object_text")
    ordering = ("-at", "-id")
    actions: ClassVar[list[str]] = []
    list_before_template = "admin/accounts/auditentry/export.html"
    fieldsets: ClassVar = [
        (None, {"fields": [("time", "who_in_full"), ("action_in_words", "object_in_full"), "all_changes"]}),
    ]
    readonly_fields = ("time", "who_in_full", "action_in_words", "object_in_full", "all_changes")
    empty_icon = "history"
    empty_title = _("No changes yet")
    empty_hint = _("Every change of keys, teams and users appears here, whoever made it.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        return super().change_view(request, object_id, form_url, (extra_context or {}) | {"show_history": False})

    def get_urls(self) -> list[Any]:
        """Also the export of what the list's filters leave."""
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name="accounts_auditentry_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            # By way of the list itself, so that the file has what its filters and its search leave.
            entries = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters as exc:
            raise BadRequest from exc  # a filter, or a page, that the list does not have
        return exported(entries)

    @display(description=_("Time"), ordering="at")
    def time(self, obj: AuditEntry) -> str:
        return time_of(obj)

    @display(description=_("Who"), header=True)
    def who(self, obj: AuditEntry) -> tuple[str, str]:
        return cut(obj.actor), cut(" ".join(filter(None, [str(obj.get_source_display()), obj.address])))

    @display(description=_("Who"))
    def who_in_full(self, obj: AuditEntry) -> str:
        return " · ".join(filter(None, [obj.actor, str(obj.get_source_display()), obj.address]))

    @display(description=_("Action"), label=COLOURS)
    def action_label(self, obj: AuditEntry) -> tuple[str, str]:
        return obj.action, action_name(obj.action)

    @display(description=_("Action"))
    def action_in_words(self, obj: AuditEntry) -> str:
        return action_name(obj.action)

    @display(description=_("Object"), header=True)
    def object_header(self, obj: AuditEntry) -> tuple[str, str]:
        return cut(obj.object_text or obj.object_id), kind_name(obj.object_type)

    @display(description=_("Object"))
    def object_in_full(self, obj: AuditEntry) -> str:
        """With a way to everything that happened to it."""
        text = f"{kind_name(obj.object_type)} {obj.object_text}"
        if not obj.object_id:
            return text
        address = address_of(obj.object_type, obj.object_id)
        return format_html('<a class="gw-link" href="{}">{}</a>', address, text)

    @display(description=_("Changes"))
    def changes_line(self, obj: AuditEntry) -> str:
        """The first changes, each on a line; of a new object what it has got."""
        changes = changes_of(obj)
        lines = [each.shortened(LONGEST) for each in changes[:MOST_CHANGES]]
        if (more := len(changes) - MOST_CHANGES) > 0:
            lines.append(gettext("%(count)d more") % {"count": more})
        return format_html_join("", '<span class="gw-change">{}</span>', ([line] for line in lines)) or "–"

    @display(description=_("Changes"))
    def all_changes(self, obj: AuditEntry) -> str:
        return render_to_string("admin/accounts/auditentry/changes.html", {"changes": changes_of(obj)}) or "–"
