"""The addresses of the identity provider's log-in; imported where there is one only, for what it needs is large."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from accounts.login import oidc
from accounts.pages.layout import page


@page
def cancelled(request: HttpRequest) -> HttpResponse:
    """Somebody has said no there."""
    return oidc.not_confirmed(request)


urlpatterns = [
    path("login/cancelled/", cancelled, name="socialaccount_login_cancelled"),
    path("login/<slug:provider_id>/", page(oidc.begin), name="openid_connect_login"),
    path("login/<slug:provider_id>/callback/", page(oidc.finish), name="openid_connect_callback"),
]
