"""The reader's own choices: language and time zone."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods

from accounts.models import Team
from accounts.models.team import zone_names
from accounts.pages import zones
from accounts.pages.layout import page
from accounts.reports.visibility import visible_to


@page
@require_http_methods(["GET", "HEAD", "POST"])
def display(request: HttpRequest) -> HttpResponse:
    """Needs no login: the log-in page itself can be read in another language."""
    back = came_from(request)
    if request.method == "POST":
        answer = HttpResponseRedirect(back)
        # Chosen in a list that we sent, so what is not in it changes nothing.
        if (zone := request.POST.get("zone", "")) in zone_names():
            answer.set_cookie(
                zones.COOKIE, zone, max_age=zones.COOKIE_AGE, httponly=True, samesite="Lax",
                secure=settings.SESSION_COOKIE_SECURE,
            )  # fmt: skip
        elif zone == zones.NO_CHOICE:
            answer.delete_cookie(zones.COOKIE, samesite="Lax")
        return answer
    near = [settings.TIME_ZONE, "UTC", *zones_of_teams(request)]
    context = {
        "near": dict.fromkeys(near), "zones": sorted(zone_names()), "zone": zones.chosen_zone(request),
        "no_choice": zones.NO_CHOICE, "back": back,
    }  # fmt: skip
    return TemplateResponse(request, "pages/display.html", context)


def zones_of_teams(request: HttpRequest) -> list[str]:
    visible = visible_to(request.user)
    teams = Team.objects.exclude(time_zone="")
    if not visible.everything:
        teams = teams.filter(pk__in=visible.teams)
    return sorted(set(teams.values_list("time_zone", flat=True)[:50]))


def came_from(request: HttpRequest) -> str:
    """Where to go back to; never to another site."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        return target
    return reverse("usage")
