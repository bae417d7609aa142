"""Tokens of the operators' API in the admin console: who has which, and an end to each."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from accounts.audit.history import AuditHistory
from accounts.models import ApiToken
from gateway_project.lib.pages.lookups import ClosedLookups


@admin.register(ApiToken)
class ApiTokenAdmin(AuditHistory, ClosedLookups, ModelAdmin):
    """A token is made by a command, which shows it to nobody else; here it is deleted, and then refused at once."""

    list_display = ("hint", "user", "scopes", "expires_at", "last_used_at", "created_at")
    list_select_related: ClassVar = ["user"]
    list_per_page = 50
    search_fields = ("hint", "user__username")
    fields: ClassVar = [("user", "hint"), "scopes", ("created_at", "expires_at"), "last_used_at"]
    empty_icon = "key_vertical"
    empty_title = _("No API tokens yet")
    empty_hint = _("manage.py create_api_token USER makes one. Programs of that user then work with /api/.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
