"""
Log-in by the identity provider that `OIDC_ISSUER` names.

A user logs in who was linked to the provider's subject before, or whose e-mail address is the verified one that the
provider names; the link is made then. Nobody gets an account by it, and nobody becomes staff: users are made in the
console. A second factor that a user has here is asked for here, whatever the provider has asked for.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext
from requests import RequestException

logger = logging.getLogger(__name__)

CONFIGURATION_SEC: Final = 300
ENDPOINTS: Final = ("issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")

_configurations: dict[str, tuple[float, dict[str, Any]]] = {}
"""The provider's own description by its address, and when it was read."""


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Any:
        """One that reads the provider's description as our views do."""
        found = super().get_provider(request, provider, client_id)
        found.oauth2_adapter_class = ProviderViews
        return found

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Link the user whose address it is; refuse everybody else."""
        data = sociallogin.account.extra_data
        # Both are to be about the same person (OpenID Connect Core 5.3.2), and each must say about whom.
        subjects = {data[part].get("sub") for part in ("userinfo", "id_token") if part in data}
        if len(subjects) != 1:
            raise ImmediateHttpResponse(not_confirmed(request))
        if sociallogin.is_existing:
            return
        user = by_address(sociallogin.email_addresses)
        if user is None:
            words = gettext("Nobody here has this e-mail address, or the identity provider has not verified it.")
            raise ImmediateHttpResponse(refusal(request, words))
        sociallogin.connect(request, user)

    def on_authentication_error(self, request: HttpRequest, provider: Any, **error: Any) -> None:
        logger.warning("the identity provider did not confirm a user", extra={"fields": {"why": _why(error)}})
        raise ImmediateHttpResponse(not_confirmed(request))


class ProviderViews(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    @property
    def openid_config(self) -> dict[str, Any]:
        """Read at most every five minutes: strangers may begin log-ins as often as they like."""
        address, now = self.get_provider().server_url, time.monotonic()
        found = _configurations.get(address)
        if found is None or now - found[0] > CONFIGURATION_SEC:
            read = super().openid_config
            if missing := [name for name in ENDPOINTS if not isinstance(read.get(name), str)]:
                raise OAuth2Error(f"{address} names no {missing[0]}")
            found = _configurations[address] = (now, read)
        return found[1]


def by_address(addresses: Any) -> User | None:
    """The one user with an address that the provider has verified; None where two have it."""
    for each in addresses:
        if not each.verified or not each.email:
            continue
        # Two are enough to know that it is not one. Django does not make addresses unique.
        users = list(User.objects.filter(email__iexact=each.email)[:2])
        # PostgreSQL compares in capitals, where the dotless i of another domain is an i.
        if len(users) == 1 and users[0].email.casefold() == each.email.casefold():
            return users[0]
    return None


def begin(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Send the browser to the provider."""
    # allauth takes more from the address: scopes, parameters for the provider, and whether an account is to be linked
    # to the user who is logged in. Any page may hold a link that says so.
    asked = QueryDict(mutable=True)
    if "next" in request.GET:
        asked["next"] = request.GET["next"]
    request.GET = request.POST = asked  # type: ignore[assignment]  # a copy, which may be changed
    return _guarded(OAuth2LoginView, request, provider_id)


def finish(request: HttpRequest, provider_id: str) -> HttpResponse:
    """The browser is back from there."""
    return _guarded(OAuth2CallbackView, request, provider_id)


def _guarded(view: Any, request: HttpRequest, provider_id: str) -> HttpResponse:
    try:
        answer: HttpResponse = view.adapter_view(ProviderViews(request, provider_id))(request)
    except (RequestException, OAuth2Error, ValueError) as exc:
        logger.warning("the identity provider did not answer", extra={"fields": {"why": str(exc)[:200]}})
        return not_confirmed(request)
    return answer


def not_confirmed(request: HttpRequest) -> HttpResponse:
    words = gettext("The identity provider did not confirm who you are. Try again, or log in with a password.")
    return refusal(request, words)


def refusal(request: HttpRequest, words: str) -> HttpResponse:
    return render(request, "pages/notice.html", {"heading": gettext("Not logged in"), "words": words}, status=403)


def _why(error: dict[str, Any]) -> str:
    return str(error.get("exception") or error.get("error") or "")[:200]
