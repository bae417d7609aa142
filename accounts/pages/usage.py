"""`/usage/`: what was used, by whom, and how well it went."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from accounts.pages.layout import page
from accounts.reports.visibility import visible_to


@page
@login_required(login_url="login")
def usage(request: HttpRequest) -> HttpResponse:
    if visible_to(request.user).nothing:
        words = gettext("You are in no team, and have no right to see the usage of all. Ask an operator for either.")
        context = {"heading": gettext("You may not see usage"), "words": words}
        return TemplateResponse(request, "pages/notice.html", context, status=403)
    return TemplateResponse(request, "pages/notice.html", {"heading": gettext("Usage"), "words": ""})
