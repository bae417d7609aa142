"""Maintenance windows in the admin console: planned in their own time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from accounts.audit.history import AuditHistory
from bridge.fleet import logins, maintenance
from bridge.models import MaintenanceWindow
from bridge.status.wanted import Maintenance
from gateway_project.lib.pages.cells import cut
from gateway_project.lib.pages.clock_times import is_skipped
from gateway_project.lib.pages.lookups import ClosedLookups

TIMES = ("starts_at", "ends_at")


class MaintenanceWindowForm(forms.ModelForm):
    """Times are those of the window's zone, whatever the zone of the console is."""

    instances = forms.MultipleChoiceField(
        label=_("Instances"), required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_("None: all of them, also those that are added later."),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "instances" not in self.fields:
            return  # who may only look has no fields
        there = {each.name for each in logins.instances_there(settings.REDIS_URL)}
        names: Any = self.fields["instances"]
        names.choices = [(name, name) for name in sorted(there.union(self.instance.instances))]
        names.initial = self.instance.instances
        for name in TIMES:
            if (moment := getattr(self.instance, name)) is not None:
                self.initial[name] = _as_if(moment.astimezone(ZoneInfo(self.instance.time_zone)))
        if self.instance.pk is None:
            self.initial.setdefault("time_zone", settings.TIME_ZONE)

    def full_clean(self) -> None:
        # Days and times are read as those of UTC, and are of the window's zone only then: the zone of the console may
        # have no such time, or have it twice.
        with timezone.override(UTC):
            super().full_clean()

    def clean(self) -> dict[str, Any]:
        """The model refuses a zone that there is not."""
        found: dict[str, Any] = super().clean() or {}
        try:
            zone = ZoneInfo(found.get("time_zone") or "UTC")
        except (KeyError, OSError, ValueError):
            return found
        for name in TIMES:
            if (moment := found.get(name)) is not None:
                found[name] = timezone.localtime(moment).replace(tzinfo=zone)
                if is_skipped(found[name]):
                    words = gettext("The clock of %(zone)s skips this time.")
                    self.add_error(name, words % {"zone": zone.key})
        return found


def clock(window: Maintenance) -> str:
    """When it ends, in the zone of the console."""
    end = timezone.localtime(datetime.fromtimestamp(window.until, UTC))
    today = end.date() == timezone.localdate()
    return f"{end:%H:%M %Z}" if today else f"{end:%Y-%m-%d %H:%M %Z}"


def _as_if(moment: datetime) -> datetime:
    """The same time of day in the zone of the console, which the fields show."""
    return moment.replace(tzinfo=timezone.get_current_timezone())


@admin.register(MaintenanceWindow)
class MaintenanceWindowAdmin(AuditHistory, ClosedLookups, ModelAdmin):
    form = MaintenanceWindowForm
    list_display = ("header", "state", "next_time", "repeats", "mode", "about", "enabled")
    list_filter = ("enabled", "weekly", "mode")
    search_fields = ("name",)
    list_per_page = 100
    fieldsets: ClassVar = [
        (None, {"fields": ["name", "enabled", "instances", "mode"]}),
        (
            _("Time"),
            {
                "fields": ["time_zone", *TIMES, "weekly"],
                "description": _("Times of day in that zone. At the end instances take turns again by themselves."),
            },
        ),
    ]
    empty_icon = "event_busy"
    empty_title = _("No maintenance is planned")
    empty_hint = _(
        "A window has instances take no turns for a while, once or each week. When all of them are in one, clients are "
        "told when it ends."
    )

    def get_fieldsets(self, request: HttpRequest, obj: MaintenanceWindow | None = None) -> Any:
        """Who may only look sees its times in its zone, too."""
        sets: Any = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return sets
        shown = dict(zip(TIMES, ("begins", "ends"), strict=True))
        return [(title, part | {"fields": [shown.get(each, each) for each in part["fields"]]}) for title, part in sets]

    @display(description=_("begins"))
    def begins(self, obj: MaintenanceWindow) -> str:
        return date_format(obj.starts_at.astimezone(ZoneInfo(obj.time_zone)), "DATETIME_FORMAT")

    @display(description=_("ends"))
    def ends(self, obj: MaintenanceWindow) -> str:
        return date_format(obj.ends_at.astimezone(ZoneInfo(obj.time_zone)), "DATETIME_FORMAT")

    @display(description=_("Name"), header=True, ordering="name")
    def header(self, obj: MaintenanceWindow) -> tuple[str, str]:
        return cut(obj.name), obj.time_zone

    @display(description=_("State"), label={"open": "warning", "planned": "info", "over": "", "off": ""})
    def state(self, obj: MaintenanceWindow) -> tuple[str, str]:
        if not obj.enabled:
            return "off", gettext("off")
        if maintenance.is_open(obj, timezone.now()):
            return "open", gettext("open now")
        times = maintenance.next_of(obj, timezone.now())
        return ("planned", gettext("planned")) if times else ("over", gettext("over"))

    @display(description=_("Next time"), ordering="starts_at")
    def next_time(self, obj: MaintenanceWindow) -> str | None:
        """In its own zone."""
        times = maintenance.next_of(obj, timezone.now())
        if times is None:
            return None
        begins, ends = (each.astimezone(ZoneInfo(obj.time_zone)) for each in times)
        same_day = begins.date() == ends.date()
        end = f"{ends:%H:%M}" if same_day else date_format(ends, "SHORT_DATETIME_FORMAT")
        return f"{date_format(begins, 'SHORT_DATETIME_FORMAT')} – {end}"

    @display(description=_("Repeats"), ordering="weekly")
    def repeats(self, obj: MaintenanceWindow) -> str:
        return gettext("every week") if obj.weekly else gettext("once")

    @display(description=_("Instances"))
    def about(self, obj: MaintenanceWindow) -> str:
        return ", ".join(obj.instances) if obj.instances else gettext("all")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        found: dict[str, Any] = super().get_changeform_initial_data(request)
        return {"time_zone": settings.TIME_ZONE} | found
