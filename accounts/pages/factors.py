"""The pages of second factors and of the own password: allauth's views, in the frame of our pages."""

from __future__ import annotations

from functools import wraps
from typing import Any

from allauth.account.utils import get_next_redirect_url
from allauth.account.views import ReauthenticateView
from allauth.mfa.base.views import AuthenticateView, IndexView
from allauth.mfa.base.views import ReauthenticateView as CodeAgainView
from allauth.mfa.recovery_codes.views import (
    DownloadRecoveryCodesView,
    GenerateRecoveryCodesView,
    ViewRecoveryCodesView,
)
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView, ReauthenticateWebAuthnView, RemoveWebAuthnView
from django.contrib import messages
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import path, reverse_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView

from accounts.login.adapters import home_of
from accounts.login.forms import ChangePasswordForm
from accounts.login.required import is_missing
from accounts.pages.layout import View, page
from gateway_project.lib.secrets.secrets_at_rest import SecretUnreadableError


class Account(IndexView):  # type: ignore[misc]  # allauth has no types
    """What somebody logs in with."""

    template_name = "pages/account.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        context: dict[str, object] = super().get_context_data(**kwargs)
        return context | {
            "missing": is_missing(self.request),
            "following": get_next_redirect_url(self.request) or home_of(self.request.user),
        }


CHANGE_PASSWORD = {"heading": _("Change the password"), "label": _("Change"), "hint": _("Your other sessions end.")}
NO_APP = {
    "heading": _("Remove the authenticator app"),
    "label": _("Remove"),
    "hint": _("Log-ins no longer ask for its codes."),
}
NO_KEY = {"heading": _("Remove the security key"), "label": _("Remove"), "hint": _("It no longer logs you in.")}
NEW_CODES = {
    "heading": _("New recovery codes"),
    "label": _("Make new codes"),
    "hint": _("The codes that you have now are worth nothing afterwards."),
}
AGAIN = {
    "heading": _("Is it you?"),
    "label": _("Go on"),
    "hint": _("Before this is changed, show once more who you are."),
}


def of_codes(view: View) -> View:
    """A page that reads recovery codes. One that lacks their key says so, on the page before it."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return page(view)(request, *args, **kwargs)
        except SecretUnreadableError:
            messages.error(request, gettext("The codes cannot be read now: SECRET_KEYS lacks their key."))
            return redirect("mfa_index")

    return shown


FORM, SECURITY_KEY = "pages/account_form.html", "pages/security_key.html"

# Each by itself, where `include("allauth.urls")` would open pages that nobody here needs, such as that of sign-up.
urlpatterns = [
    path("login/code/", page(AuthenticateView.as_view(template_name="pages/login_code.html")), name="mfa_authenticate"),
    path("account/", page(Account.as_view()), name="mfa_index"),
    path(
        "account/password/",
        page(
            PasswordChangeView.as_view(
                template_name=FORM,
                form_class=ChangePasswordForm,
                extra_context=CHANGE_PASSWORD,
                success_url=reverse_lazy("mfa_index"),
            )
        ),
        name="account_change_password",
    ),
    path(
        "account/again/password/",
        page(ReauthenticateView.as_view(template_name=FORM, extra_context=AGAIN)),
        name="account_reauthenticate",
    ),
    path(
        "account/again/code/",
        page(CodeAgainView.as_view(template_name=FORM, extra_context=AGAIN)),
        name="mfa_reauthenticate",
    ),
    path(
        "account/again/key/",
        page(ReauthenticateWebAuthnView.as_view(template_name=SECURITY_KEY, extra_context=AGAIN)),
        name="mfa_reauthenticate_webauthn",
    ),
    path(
        "account/app/add/",
        page(never_cache(ActivateTOTPView.as_view(template_name="pages/app_add.html"))),  # it shows a secret
        name="mfa_activate_totp",
    ),
    path(
        "account/app/remove/",
        page(DeactivateTOTPView.as_view(template_name=FORM, extra_context=NO_APP)),
        name="mfa_deactivate_totp",
    ),
    path("account/keys/", RedirectView.as_view(pattern_name="mfa_index"), name="mfa_list_webauthn"),
    path("account/keys/add/", page(AddWebAuthnView.as_view(template_name=SECURITY_KEY)), name="mfa_add_webauthn"),
    path(
        "account/keys/<int:pk>/remove/",
        page(RemoveWebAuthnView.as_view(template_name=FORM, extra_context=NO_KEY)),
        name="mfa_remove_webauthn",
    ),
    path(
        "account/recovery/",
        of_codes(ViewRecoveryCodesView.as_view(template_name="pages/recovery_codes.html")),
        name="mfa_view_recovery_codes",
    ),
    path(
        "account/recovery/new/",
        of_codes(GenerateRecoveryCodesView.as_view(template_name=FORM, extra_context=NEW_CODES)),
        name="mfa_generate_recovery_codes",
    ),
    path(
        "account/recovery/codes.txt", of_codes(DownloadRecoveryCodesView.as_view()), name="mfa_download_recovery_codes"
    ),
]
"""By the names that allauth knows them by."""
