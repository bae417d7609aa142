"""The audit log in the admin console, to be read only."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from accounts.models import AuditEntry
from gateway_project.lib.lookups import ClosedLookups


@admin.register(AuditEntry)
class AuditEntryAdmin(ClosedLookups, ModelAdmin):
    list_display = ("at", "actor", "source", "action", "object_type", "object_text")
    list_filter: ClassVar = [("source", ChoicesDropdownFilter), "at"]
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("actor", "object_text")
    empty_icon = "history"
    empty_title = _("No changes yet")
    empty_hint = _("Every change of keys, teams and users appears here, whoever made it.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
