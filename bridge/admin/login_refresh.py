"""When logins are made again that do not say so themselves, in the admin console: empty where the settings count."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from accounts.audit.history import AuditHistory
from bridge.admin.one_row import OneRow
from bridge.models import LoginRefresh


@admin.register(LoginRefresh)
class LoginRefreshAdmin(OneRow, AuditHistory, ModelAdmin):
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": ["lead_days", "period_days", "jitter_hours"],
                "description": _(
                    "Of all logins that have no such times of their own. A change holds from the schedule's next look "
                    "on; nothing has to be started again."
                ),
            },
        )
    ]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """With what holds where it is left empty."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None and db_field.name in settings.LOGIN_REFRESH:
            field.widget.attrs["placeholder"] = f"{settings.LOGIN_REFRESH[db_field.name]:g}"
        return field
