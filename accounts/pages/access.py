"""Logging in and out, for those who have no place in the admin console as well."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import reverse


class LogIn(LoginView):
    """Takes every active user; the console's own takes staff alone."""

    template_name = "pages/login.html"
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        user: Any = self.request.user
        return reverse("admin:index") if user.is_staff else reverse("usage")


class LogOut(LogoutView):
    def get_default_redirect_url(self) -> str:
        return reverse("login")
