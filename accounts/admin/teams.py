"""Teams in the admin console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from accounts.admin.leads import OwnTeams
from accounts.admin.limits import LimitsNow
from accounts.audit.history import AuditHistory
from accounts.models import Team
from gateway_project.lib.lookups import ClosedLookups


@admin.register(Team)
class TeamAdmin(LimitsNow, OwnTeams, AuditHistory, ClosedLookups, ModelAdmin):
    list_display = ("name", "created_at")
    search_fields = ("name",)
    list_per_page = 50
    empty_icon = "groups"
    empty_title = _("No teams yet")
    empty_hint = _("A team groups keys, so that their usage can be seen together.")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        """A team with keys is kept because of them, not for want of a permission nobody has."""
        listed, counts, missing, protected = super().get_deleted_objects(objs, request)
        return listed, counts, set() if protected else missing, protected
