"""Instances in the admin console: read-only, as their heartbeats tell them when the list is opened."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import Any, ClassVar

import redis
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from accounts.pages.layout import UPSTREAMS
from bridge.admin.instance_actions import InstanceActions
from bridge.admin.maintenance import clock
from bridge.admin.troubles import advice_of
from bridge.fleet import mirror, timelines
from bridge.models import Instance, InstanceOrder
from bridge.status.states import InstanceState
from gateway_project.lib.pages.cells import VisibleText, ago, lasting, seconds_ago
from gateway_project.lib.pages.live_rows import LiveRows
from gateway_project.lib.pages.lookups import ClosedLookups
from gateway_project.lib.texts import gettext_noop
from gateway_project.lib.visible import visible

PAUSES = {
    "": gettext_noop("by order for %(seconds)s s"),
    "limited": gettext_noop("rate limited, tried again in %(seconds)s s"),
    "no_plan": gettext_noop("plan used up, tried again in %(seconds)s s"),
    "failed": gettext_noop("most turns failed, tried again in %(seconds)s s"),
}


def paused(why: str, seconds: int) -> str:
    """Why and for how long it takes no turns; a newer build may have written another word."""
    return gettext(PAUSES.get(why, PAUSES[""])) % {"seconds": seconds}


BADGES = {each.value: each.badge for each in InstanceState}


@admin.register(Instance)
class InstanceAdmin(InstanceActions, ClosedLookups, VisibleText, LiveRows, ModelAdmin):
    """Facts only: nothing here can be edited."""

    list_display = (
        "header", "state_label", "logged_in", "load", "restarts", "memory", "version", "up_for", "heartbeat", "error",
    )  # fmt: skip
    list_filter = ("state", "upstream", "login", "account")
    list_per_page = 100
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": [
                    ("name", "state"),
                    ("logged_in", "load"),
                    ("account", "login_expires_at"),
                    "advice",
                    ("started_at", "seen_at"),
                    "last_error",
                ]
            },
        ),
        (_("Process"), {"fields": [("process", "pid"), ("restarts", "generation"), ("memory", "disk"), "stuck"]}),
        (_("Service"), {"fields": [("answers", "version"), ("models_offered", "smoke_chat")]}),
        (_("Timeline"), {"fields": ["timeline"]}),
    ]
    search_fields = ("name", "last_error")
    ordering = ("process", "name")
    empty_icon = "dns"
    empty_title = _("No instance has been seen yet")
    empty_hint = _(
        "Each web process starts its own instances and tells about them every two seconds. If this list stays empty, "
        "no web process is running, or it does not reach the same Redis."
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The pool starts instances."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Instance | None = None) -> bool:
        """The pool knows its instances."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Instance | None = None) -> bool:
        """What is gone leaves the list by itself after a day."""
        return False

    def current_rows(self) -> list[Instance]:
        """As the heartbeats of this moment have it."""
        return mirror.current(settings.REDIS_URL)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        return self._with_more(request, super().get_object(request, object_id, from_field))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        for row in changes.result_list:
            self._with_more(request, row)
        return changes

    def _with_more(self, request: HttpRequest, row: Instance | None) -> Instance | None:
        """With what is in no table."""
        if row is not None:
            rows: Any = self._rows(request) or ()
            beat = next((each for each in rows if each.name == row.name), row)
            row.smoke, row.maintenance = beat.smoke, beat.maintenance
            row.memory, row.disk, row.stuck = beat.memory, beat.disk, beat.stuck
            # An account's state is told in our own words, and what a program printed in its own.
            row.last_error = row.last_error and gettext(row.last_error)
            row.replacing, row.cool_until, row.cools_for = beat.replacing, beat.cool_until, beat.cools_for
        return row

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Without a button to a history: instances are not changed here."""
        page: HttpResponse = super().change_view(
            request, object_id, form_url, (extra_context or {}) | {"show_history": False}
        )
        return page

    @display(description=_("Instance"), header=True, ordering="name")
    def header(self, obj: Instance) -> tuple[str, str]:
        if obj.replacing:
            return obj.name, gettext("a successor is starting")
        if obj.maintenance is not None:
            return obj.name, gettext("maintenance until %(time)s") % {"time": clock(obj.maintenance)}
        if obj.cool_until is not None and (left := ceil((obj.cool_until - timezone.now()).total_seconds())) > 0:
            return obj.name, paused(obj.cools_for, left)
        return obj.name, gettext("pid %(pid)s") % {"pid": obj.pid} if obj.pid else ""

    @display(description=_("State"), ordering="state", label=BADGES)
    def state_label(self, obj: Instance) -> tuple[str, str]:
        return obj.state, obj.get_state_display()

    @display(description=_("Login"), boolean=True, ordering="login")
    def logged_in(self, obj: Instance) -> bool:
        return obj.login

    @display(description=_("Timeline"))
    def timeline(self, obj: Instance) -> str:
        try:
            found = timelines.read(settings.REDIS_URL, obj.name)
        except redis.RedisError:
            return "–"
        steps = [
            {
                "at": datetime.fromtimestamp(each.at, UTC),
                "state": gettext(each.state.label),
                "why": gettext(each.why.label),
                "detail": visible(gettext(each.detail)) if each.detail else "",
            }
            for each in found
        ]
        return render_to_string("admin/bridge/instance/timeline.html", {"steps": steps}) if steps else "–"

    @display(description=_("upstream"))
    def answers(self, obj: Instance) -> str:
        # A newer build may have written another word.
        return str(UPSTREAMS[obj.upstream]) if obj.upstream in UPSTREAMS else obj.upstream or "–"

    @display(description=_("Last short chat"))
    def smoke_chat(self, obj: Instance) -> str:
        if obj.smoke is None:
            return "–"
        when = ago(datetime.fromtimestamp(obj.smoke.at, UTC))
        if obj.smoke.ok:
            return gettext("answered in %(ms)d ms, %(ago)s") % {"ms": obj.smoke.total_ms or 0, "ago": when}
        return gettext("failed %(ago)s: %(error)s") % {"error": visible(obj.smoke.error), "ago": when}

    @display(description=_("What to do"))
    def advice(self, obj: Instance) -> str:
        if obj.maintenance is not None:
            words = gettext("The maintenance window %(name)s holds it until %(time)s; then it takes turns by itself.")
            return words % {"name": obj.maintenance.name, "time": clock(obj.maintenance)}
        if InstanceOrder.held([obj.name]):
            return gettext("It is held by order, as the audit log has it. Start it when it is to take turns again.")
        return gettext(advice) if (advice := advice_of(obj)) else ""

    @display(description=_("In flight"), ordering="in_flight")
    def load(self, obj: Instance) -> str:
        return f"{obj.in_flight} / {obj.limit}"

    @display(description=_("Memory"))
    def memory(self, obj: Instance) -> str | None:
        # One that does not run has none: nothing was measured.
        return filesizeformat(obj.memory) if obj.memory else None

    @display(description=_("Work directory"))
    def disk(self, obj: Instance) -> str | None:
        return filesizeformat(obj.disk) if obj.disk is not None else None

    @display(description=_("Turns that stand still"))
    def stuck(self, obj: Instance) -> str:
        return str(obj.stuck)

    @display(description=_("Up for"), ordering="started_at")
    def up_for(self, obj: Instance) -> str | None:
        if obj.started_at is None or not InstanceState(obj.state).is_up:
            return None
        return lasting(obj.started_at, timezone.now())

    @display(description=_("Heartbeat"), ordering="seen_at")
    def heartbeat(self, obj: Instance) -> str:
        return seconds_ago(obj.seen_at)

    @display(description=_("Last error"))
    def error(self, obj: Instance) -> str | None:
        """What went wrong last, on one line; the whole text is on its page."""
        if not obj.last_error:
            return None
        line = '<span class="block truncate" style="max-width: min(16rem, 55vw)" title="{}">{}</span>'
        return format_html(line, obj.last_error, Truncator(obj.last_error).chars(120))
