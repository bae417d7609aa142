"""On the page of a key: that its contents are kept, and their deletion."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext, ngettext

from accounts.content.retention import delete_of
from accounts.keys.standing import content_notice
from accounts.models import ApiKey, UsageContent
from accounts.roles import leads


class KeyContents:
    """A mixin for the page of keys. Revoked keys have contents too."""

    def get_urls(self) -> list[Any]:
        page: Any = self
        view = page.admin_site.admin_view(self.delete_contents)
        own = path("<int:object_id>/delete-contents/", view, name="accounts_apikey_delete_contents")
        return [own, *super().get_urls()]  # type: ignore[misc]  # a ModelAdmin's

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        page: Any = self
        key = page.get_object(request, object_id)
        shown = {}
        if key is not None:
            shown["content_notice"] = content_notice(key)
            if leads.is_operator(request.user) and UsageContent.objects.filter(api_key=key).exists():
                shown["delete_contents"] = reverse("admin:accounts_apikey_delete_contents", args=[key.pk])
        answer: HttpResponse = super().change_view(  # type: ignore[misc]  # a ModelAdmin's
            request, object_id, form_url, (extra_context or {}) | shown
        )
        return answer

    def delete_contents(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Ask, and at a POST delete."""
        page: Any = self
        if not leads.is_operator(request.user):
            raise PermissionDenied
        key: ApiKey | None = page.get_object(request, str(object_id))
        if key is None:
            raise Http404
        if request.method == "POST":
            count = delete_of(key)
            text = ngettext("Deleted %(count)d logged content.", "Deleted %(count)d logged contents.", count)
            messages.success(request, text % {"count": count})
            return HttpResponseRedirect(reverse("admin:accounts_apikey_change", args=[key.pk]))
        context = page.admin_site.each_context(request) | {
            "title": gettext("Delete logged contents"), "opts": page.opts, "key": key,
            "count": UsageContent.objects.filter(api_key=key).count(),
        }  # fmt: skip
        return TemplateResponse(request, "admin/accounts/apikey/delete_contents.html", context)
