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


PROVIDER = {"provider_id": "oidc"}
"""There is one; by this name the settings have it."""

urlpatterns = [
    path("login/cancelled/", cancelled, name="socialaccount_login_cancelled"),
    path("login/oidc/", page(oidc.begin), PROVIDER, name="openid_connect_login"),
    path("login/oidc/callback/", page(oidc.finish), PROVIDER, name="openid_connect_callback"),
]
