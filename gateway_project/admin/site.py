"""The site of the admin console, made of what the apps contribute."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.module_loading import module_has_submodule
from django.utils.translation import gettext_lazy as _
from unfold.sites import UnfoldAdminSite

from gateway_project.lib.panels import Page, Panel


class GatewayAdminSite(UnfoldAdminSite):
    """unfold's, whose first page and further pages come from the apps (`gateway_project.lib.panels`)."""

    index_title = _("Overview")

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The panels, in their order."""
        context = {"panels": panels(request), "simulated": settings.ENV.upstream == "simulator"}
        page: HttpResponse = super().index(request, context | (extra_context or {}))
        return page

    def extra_urls(self) -> list[URLPattern]:
        """Unfold asks for them."""
        return [path(page.route, self.admin_view(page.view), name=page.name) for page in pages()]


def panels(request: HttpRequest) -> list[Panel]:
    """What each app says to this reader."""
    found = (module.panel(request) for module in contributions() if hasattr(module, "panel"))
    return sorted(filter(None, found), key=lambda panel: panel.position)


def pages() -> list[Page]:
    """What the apps have besides lists of their models."""
    return [page for module in contributions() for page in getattr(module, "PAGES", ())]


def contributions() -> Iterator[ModuleType]:
    """The `admin.panels` of every app that has one."""
    for app in apps.get_app_configs():
        if app.module is None or not module_has_submodule(app.module, "admin"):
            continue
        if module_has_submodule(import_module(f"{app.name}.admin"), "panels"):
            yield import_module(f"{app.name}.admin.panels")
