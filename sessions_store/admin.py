"""Sessions in the admin console: looked up in Redis when the list is opened, and deleted there at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import redis
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from accounts.audit.entries import record
from gateway_project.lib.pages.cells import VisibleText, lasting
from gateway_project.lib.pages.live_rows import LiveRows, redis_away
from gateway_project.lib.pages.lookups import ClosedLookups
from sessions_store import services
from sessions_store.models import Entry


def since(moment: datetime) -> str:
    return lasting(moment, timezone.now())


@admin.register(Entry)
class EntryAdmin(ClosedLookups, VisibleText, LiveRows, ModelAdmin):
    """Nothing can be added or changed here, only deleted."""

    list_display = ("key", "instance", "length", "hits", "age", "idle_for", "state_label")
    list_filter = ("state", "instance", "api_key")
    list_select_related: ClassVar = ["api_key"]
    list_per_page = 50
    search_fields = ("session_id", "instance", "api_key__name", "api_key__hint")
    ordering = ("-used_at",)
    empty_title = _("No sessions yet")
    empty_hint = _(
        "A session appears when a conversation has had its first answer. The next message of that conversation "
        "continues it, and only the new text is sent upstream."
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        return False

    def current_rows(self) -> list[Entry]:
        return services.current(settings.REDIS_URL, settings.SESSIONS_STORE_MAX)

    def delete_model(self, request: HttpRequest, obj: Entry) -> None:
        self._delete(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        self._delete(request, list(queryset))

    def message_user(
        self, request: HttpRequest, message: Any, level: int | str = messages.INFO, *args: Any, **kwargs: Any
    ) -> None:
        """Instead of Django's word that it was done: what follows from it, or nothing where it was not done."""
        if level == messages.SUCCESS:
            return
        super().message_user(request, message, level, *args, **kwargs)

    def _delete(self, request: HttpRequest, entries: list[Entry]) -> None:
        try:
            services.forget(settings.REDIS_URL, [each.pk for each in entries], settings.SESSIONS_STORE_TTL)
        # The rows stay: the sessions are still in Redis and may be used.
        except redis.RedisError as exc:
            messages.error(request, " ".join([redis_away(exc), gettext("Nothing was deleted.")]))
            return
        for entry in entries:
            key = [entry.api_key.short_name if entry.api_key else None, None]
            record("deleted", Entry._meta.label_lower, entry.pk, entry.session_id, {"api_key": key})
        done = ngettext(
            "Deleted %(count)d session. Its conversation starts anew upstream.",
            "Deleted %(count)d sessions. Their conversations start anew upstream.",
            len(entries),
        )
        messages.success(request, done % {"count": len(entries)})

    @display(description=_("Key"), header=True, ordering="api_key__name")
    def key(self, obj: Entry) -> tuple[str, str]:
        return (obj.api_key.short_name, obj.api_key.hint) if obj.api_key else (gettext("deleted key"), "")

    @display(description=_("Age"), ordering="created_at")
    def age(self, obj: Entry) -> str:
        return since(obj.created_at)

    @display(description=_("Idle for"), ordering="used_at")
    def idle_for(self, obj: Entry) -> str:
        return since(obj.used_at)

    @display(description=_("State"), ordering="state", label={"idle": "success", "in_use": "info", "gone": "warning"})
    def state_label(self, obj: Entry) -> tuple[str, str]:
        return obj.state, obj.get_state_display()
