"""The page "History" of an object in the console."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode

from accounts.audit.words import action_name, changes_of, time_of
from accounts.models import AuditEntry
from gateway_project.lib.pages.deleted_rows import StaysDeleted

MOST: Final = 100
"""Rows on the page; the audit log has them all."""


def address_of(object_type: str, object_id: str) -> str:
    """Where the audit log shows one object."""
    about = urlencode({"object_type__exact": object_type, "object_id__exact": object_id})
    return f"{reverse('admin:accounts_auditentry_changelist')}?{about}"


class AuditHistory(StaysDeleted):
    """A mixin for a page of a watched model: its history is that of the audit log, by whatever way it was changed.

    Whoever may see the object may see it.
    """

    object_history_template: Any = "admin/audit_history.html"

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        page: Any = self
        label, key = page.model._meta.label_lower, unquote(object_id)
        # Read when the template is: Django has checked by then who is asking.
        found = AuditEntry.objects.filter(object_type=label, object_id=key)[:MOST]
        context = {
            "rows": lambda: [(row, time_of(row), action_name(row.action), changes_of(row)) for row in found],
            "audit_log": address_of(label, key) if request.user.has_perm("accounts.view_auditentry") else "",
        }
        context |= extra_context or {}
        answer: HttpResponse = super().history_view(request, object_id, context)  # type: ignore[misc]  # a ModelAdmin's
        return answer
