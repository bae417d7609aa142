"""Tables of one row, which is there since the table was made: its page stands in place of a list."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse


class OneRow:
    """A mixin for the page of such a model, whose `ONLY` is the primary key of the row."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """A list of one would be a detour."""
        page: Any = self
        page.model.objects.get_or_create(pk=page.model.ONLY)
        address = f"admin:{page.opts.app_label}_{page.opts.model_name}_change"
        return HttpResponseRedirect(reverse(address, args=[page.model.ONLY]))
