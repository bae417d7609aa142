"""What all of our own pages have in common: the content policy, the reader's time zone, and the frame around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial, wraps
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.pages.zones import chosen_zone, zone_of, zone_of_usage
from accounts.reports.visibility import Visibility, visible_to
from gateway_project.lib.upstream import shown

View = Callable[..., HttpResponseBase]

CONTENT_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
UPSTREAMS: Final = {"simulator": _("Simulator"), "attached": _("Lingma, attached"), "lingma": "Lingma"}
"""What answers the chats, as a label on each page."""


class Layout:
    """The frame of a page, worked out as far as a template asks for it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @property
    def upstream(self) -> str:
        return shown(settings.ENV.upstream)

    @property
    def environment(self) -> str:
        return str(UPSTREAMS[self.upstream])

    @property
    def zone(self) -> str:
        return timezone.get_current_timezone_name()

    @property
    def zone_why(self) -> str:
        """Where the zone comes from."""
        if chosen_zone(self._request):
            return gettext("the one that you chose")
        if self.zone == settings.TIME_ZONE:
            return gettext("the gateway's")
        return gettext("the team's")

    @property
    def here(self) -> str:
        """The address to come back to from a choice of language or zone."""
        return self._request.get_full_path()

    @cached_property
    def visible(self) -> Visibility:
        return visible_to(self._request.user)


def layout(request: HttpRequest) -> dict[str, Any]:
    """A context processor, so that pages of libraries have the frame too."""
    return {"layout": Layout(request)}


def page(view: View, zone: Callable[[HttpRequest], ZoneInfo] = zone_of) -> View:
    """Times in the reader's zone, a strict policy, and nothing of it is kept: "back" after a log-out shows none."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with timezone.override(zone(request)):
            response = view(request, *args, **kwargs)
            if isinstance(response, TemplateResponse):
                response.render()  # Django would do it later, in the zone of the gateway
        response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return shown


usage_page = partial(page, zone=zone_of_usage)
