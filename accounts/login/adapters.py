"""What allauth asks the project: where to go, whom to let in, how secrets are stored."""

from __future__ import annotations

import time
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.app_settings import REAUTHENTICATION_TIMEOUT
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows
from allauth.mfa.adapter import DefaultMFAAdapter
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.login import at_rest
from accounts.login.waits import address_of

SILENT = ("account/messages/logged_in.txt", "account/messages/logged_out.txt")


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Users are made in the console, by people."""
        return False

    def get_login_stages(self) -> list[str]:
        """What follows a password: only the second factor."""
        # allauth's own stages would also have people confirm their e-mail address, which operators enter here.
        return ["allauth.mfa.stages.AuthenticateStage"]

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return home_of(request.user)

    def get_client_ip(self, request: HttpRequest) -> str:
        """The server has believed trusted proxies already."""
        return address_of(request)

    def is_safe_url(self, url: str) -> bool:
        """The very host of the request and no other: another port of it may be somebody else's."""
        request = self.request
        return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())

    def is_reauthentication_required(self, *, app: str, **more: Any) -> bool:
        """Of who has nothing to show once more, as people of the identity provider, the log-in itself must be fresh."""
        user = self.request.user
        if get_reauthentication_flows(user):
            return bool(super().is_reauthentication_required(app=app, **more))
        records = get_authentication_records(self.request, user)
        return not records or time.time() - records[-1]["at"] >= REAUTHENTICATION_TIMEOUT

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *args: Any, **more: Any
    ) -> None:
        """All but what the next page says by itself."""
        if message_template not in SILENT:
            super().add_message(request, level, message_template, *args, **more)

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> Any:
        """As for a wrong password: strangers learn nothing of users."""
        return HttpResponseRedirect(reverse("login"))


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def get_totp_issuer(self) -> str:
        """As the authenticator app lists it; several gateways differ by their hosts."""
        return f"Lingma Gateway {self._get_site_name()}"

    def encrypt(self, text: str) -> str:
        return at_rest.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return at_rest.decrypt(encrypted_text)


def home_of(user: Any) -> str:
    """The first page of somebody who has logged in."""
    return reverse("admin:index") if user.is_staff else reverse("usage")
