"""Logging in and out: one way for the console and for our own pages."""

from __future__ import annotations

from typing import Any, cast

from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from django.conf import settings
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext

from accounts.login.adapters import home_of
from accounts.login.forms import LogInForm
from accounts.login.waits import Waiting
from accounts.pages.layout import page


class LogIn(LoginView):
    """Takes every active user, and asks for the second factor of those who have one."""

    template_name = "pages/login.html"
    form_class = LogInForm
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        return home_of(self.request.user)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        provider = reverse("openid_connect_login", kwargs={"provider_id": "oidc"}) if settings.ENV.oidc_issuer else ""
        following = urlencode({"next": self.get_redirect_url()}) if self.get_redirect_url() else ""
        return super().get_context_data(**kwargs) | {"provider": f"{provider}?{following}" if provider else ""}

    def form_valid(self, form: Any) -> HttpResponse:
        user = form.get_user()
        # As fresh as a password that is asked for again: who has just logged in may change second factors.
        record_authentication(self.request, user, method="password", reauthenticated=True)
        following = self.get_redirect_url()
        # The console would send who is no staff back to the log-in.
        if not following or (following.startswith(reverse("admin:index")) and not user.is_staff):
            following = home_of(user)
        answer: HttpResponse = perform_login(self.request, Login(user=user, redirect_url=following))
        return answer

    def form_invalid(self, form: Any) -> HttpResponse:
        response = super().form_invalid(form)
        for error in form.non_field_errors().as_data():
            if isinstance(error, Waiting):
                response.status_code, response.headers["Retry-After"] = 429, str(error.seconds)
        return response


class LogOut(LogoutView):
    def get_default_redirect_url(self) -> str:
        return reverse("login")


log_in: Any = page(LogIn.as_view())
log_out: Any = page(LogOut.as_view())


def console_log_in(request: HttpRequest) -> HttpResponse:
    """The console's address of the log-in: takes forms as well, for programs that send them there."""
    query = request.GET.copy()
    query.setdefault("next", reverse("admin:index"))
    if request.user.is_authenticated and not request.user.is_staff:
        words = gettext("You are logged in as %(user)s, who has no place in the console.")
        context = {
            "heading": gettext("No place in the console"),
            "words": words % {"user": request.user.get_username()},
        }
        # `page` around this answer alone: `log_in` has it already, and the redirect needs none.
        return cast("HttpResponse", page(TemplateResponse)(request, "pages/notice.html", context, status=403))
    if request.method == "POST" or request.user.is_authenticated:
        request.GET = query  # type: ignore[assignment]  # a copy, which may be changed
        answer: HttpResponse = log_in(request)
        return answer
    return HttpResponseRedirect(f"{reverse('login')}?{query.urlencode(safe='/')}")
