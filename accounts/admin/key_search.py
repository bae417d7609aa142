"""Whose key is this: what somebody found in a repository or a log, looked up by its digest."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.keys.leaks import LeakFinder
from accounts.keys.standing import standing

LONGEST = 100_000


class SearchForm(forms.Form):
    text = forms.CharField(
        label=_("A key, or a text with keys in it"), max_length=LONGEST, strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6, "autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip


class KeySearch:
    """A mixin for the page of keys. What is looked for comes by POST alone, and no page shows it again."""

    actions_list: ClassVar = ["whose_key"]

    def get_urls(self) -> list[Any]:
        page: Any = self
        view = page.admin_site.admin_view(self.search_view)
        return [path("whose/", view, name="accounts_apikey_whose"), *super().get_urls()]  # type: ignore[misc]

    @action(description=_("Whose key is this?"), permissions=["view"], url_path="whose-key", icon="person_search")
    def whose_key(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:accounts_apikey_whose"))

    def search_view(self, request: HttpRequest) -> HttpResponse:
        """The keys that stand in the text, as far as the reader may see them."""
        page: Any = self
        if not page.has_view_permission(request):
            raise PermissionDenied
        form = SearchForm(request.POST or None)
        found = self._found(request, form.cleaned_data["text"]) if form.is_valid() else None
        context = page.admin_site.each_context(request) | {
            "title": gettext("Whose key is this?"), "opts": page.opts, "form": SearchForm(), "found": found,
            "errors": form.errors.get("text", ()) if form.is_bound else (),
        }  # fmt: skip
        answer = TemplateResponse(request, "admin/accounts/apikey/whose.html", context)
        answer["Cache-Control"] = "no-store"
        return answer

    def _found(self, request: HttpRequest, text: str) -> list[dict[str, Any]]:
        page: Any = self
        now = timezone.now()
        older: dict[int, bool] = {}
        for leak in LeakFinder().find([text.encode(errors="surrogateescape")]):
            # A key of which both secrets stand there: the newer one is what matters.
            older[leak.key_id] = older.get(leak.key_id, True) and leak.is_previous
        keys = page.get_queryset(request).select_related("team").filter(pk__in=older)
        return [{"key": key, "is_older": older[key.pk], "standing": standing(key, now)} for key in keys]
