"""The site of the admin console, made of what the apps contribute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import BadRequest
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import module_has_submodule
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.i18n import JavaScriptCatalog
from unfold.sites import UnfoldAdminSite

from gateway_project.lib import upstream
from gateway_project.lib.pages.panels import Level, Page, Panel

View = Callable[..., HttpResponse]


class ScriptTexts(JavaScriptCatalog):
    """Texts of the page's scripts: Django's catalogue, and ours for what it lacks."""

    def get_paths(self, packages: list[str]) -> list[str]:
        return [*super().get_paths(packages), *map(str, settings.LOCALE_PATHS)]


class GatewayAdminSite(UnfoldAdminSite):
    """unfold's, whose first page and further pages come from the apps (`gateway_project.lib.pages.panels`)."""

    index_title = _("Overview")
    # The sign of our own pages for what nobody knows; Django's is a hyphen.
    empty_value_display = "–"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        shown = panels(request)
        context = {
            "panels": shown,
            "verdict": verdict(shown),
            "simulated": upstream.shown(settings.ENV.upstream) == "simulator",
        }
        page: HttpResponse = super().index(request, context | (extra_context or {}))
        return page

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Made when it is asked for. Every page is given it, though the sidebar has a list of its own."""
        return SimpleLazyObject(partial(super().get_app_list, request, app_label))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """There is one log-in for all pages."""
        from accounts.pages.access import console_log_in  # forms, which only web processes need

        page: HttpResponse = console_log_in(request)
        return page

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from accounts.pages.access import log_out

        page: HttpResponse = log_out(request)
        return page

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("account_change_password"))

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """A value in the address that no column can have is the reader's mistake, and no failure of the page."""
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                page: HttpResponse = inner(request, *args, **kwargs)
                if isinstance(page, TemplateResponse):
                    # Rendered here, inside of the try: Django would do it after this function.
                    page.render()  # filters ask the database only now
            except (OverflowError, DataError) as exc:
                raise BadRequest("a value out of range in the address") from exc
            return page

        return checked

    def i18n_javascript(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The texts of scripts, in the language of the page."""
        return ScriptTexts(request=request).get(request, packages="django.contrib.admin")

    def extra_urls(self) -> list[URLPattern]:
        return [path(page.route, self.admin_view(page.view), name=page.name) for page in pages()]


def panels(request: HttpRequest) -> list[Panel]:
    """The panels that this reader may see, in their order."""
    found = (module.panel(request) for module in contributions() if hasattr(module, "panel"))
    return sorted(filter(None, found), key=lambda panel: panel.position)


def verdict(shown: Iterable[Panel]) -> tuple[str, str] | None:
    """How well it goes in one sentence, and the name of its level; None where this reader sees nothing of it."""
    known = [panel for panel in shown if panel.level is not None]
    if not known:
        return None
    worst = max(panel.level for panel in known if panel.level is not None)
    began = [panel.since for panel in known if panel.level == worst and panel.since]
    since = f"{timezone.localtime(min(began)):%Y-%m-%d %H:%M %Z}" if began else ""
    match worst:
        case Level.WELL if since:
            words = gettext("Well since %(time)s: every instance is ready, and nothing needs attention.")
            sentence = words % {"time": since}
        case Level.WELL:
            sentence = gettext("Well: every instance is ready, and nothing needs attention.")
        case Level.DEGRADED if since:
            sentence = gettext("Degraded since %(time)s: it works, but not all of it.") % {"time": since}
        case Level.DEGRADED:
            sentence = gettext("Degraded: it works, but not all of it.")
        case _ if since:
            sentence = gettext("Down since %(time)s: no instance can take a turn.") % {"time": since}
        case _:
            sentence = gettext("Down: no instance can take a turn.")
    return sentence, worst.name.lower()


def pages() -> list[Page]:
    """The pages of the apps besides lists of their models."""
    return [page for module in contributions() for page in getattr(module, "PAGES", ())]


def contributions() -> Iterator[ModuleType]:
    for app in apps.get_app_configs():
        # Asked and not tried: an ImportError inside of a panel must be seen.
        if app.module is None or not module_has_submodule(app.module, "admin"):
            continue
        if module_has_submodule(import_module(f"{app.name}.admin"), "panels"):
            yield import_module(f"{app.name}.admin.panels")
