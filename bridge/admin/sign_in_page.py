"""What operators say of the login page, in the admin console: one row, empty where all is as shipped."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from accounts.audit.history import AuditHistory
from bridge.admin.one_row import OneRow
from bridge.models import SignInPage
from bridge.signin.page_rules import PageRules

SHIPPED: Final = PageRules()


@admin.register(SignInPage)
class SignInPageAdmin(OneRow, AuditHistory, ModelAdmin):
    fieldsets: ClassVar = [
        (
            _("What is where"),
            {
                "fields": ["user_fields", "password_fields", "buttons", "links", "errors", "captchas", "codes"],
                "description": _(
                    "CSS selectors, one a line; the first that is visible counts. Automatic log-ins go by them, "
                    "and a picture of a page that nobody knows shows what has changed."
                ),
            },
        ),
        (
            _("Where it may lead"),
            {
                "fields": ["hosts"],
                "description": _("Hosts, one a line, with all that ends in them. The browser reaches no other."),
            },
        ),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Where a stored password may go is for superusers, as is the endpoint of a login."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if request.user.is_superuser else (*fixed, "hosts")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """With what is shipped below it."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        shipped = getattr(SHIPPED, db_field.name, ())
        if field is not None and shipped:
            listed = format_html_join(" ", "<code>{}</code>", ((each,) for each in shipped))
            field.help_text = format_html("{} {}", gettext("Left empty:"), listed)
            field.widget.attrs["rows"] = 3
        return field
