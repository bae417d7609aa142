"""Tokens of users for `/api/`: made, and recognised in requests."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from accounts.apps import accounts_config
from accounts.models import ApiToken, names_in
from gateway_project.lib.secrets.key_secret import digest_of

PREFIX: Final = "lgw_api_"
"""As keys begin, so that logs are cleaned of both by one rule."""
HINT: Final = len(PREFIX) + 4
LONGEST: Final = 128
READ: Final = "read"
RESOURCES: Final = (
    "teams", "keys", "usage", "sessions", "instances", "aliases", "prompts", "audit", "alerts", "alert-channels",
    "versions", "logins", "maintenance-windows",
)  # fmt: skip
"""Words for scopes. "versions" is reserved for what is to come, so that a token can be made for it."""
SCOPES: Final = (READ, *RESOURCES)
USED_EVERY: Final = timedelta(minutes=1)
"""How exact `last_used_at` is: a write for each request would be a lock for each request."""


def issue(user: User, expires_at: datetime | None, scopes: Sequence[str]) -> str:
    """Make a token for this user and return it; only its digest is stored. Raise ValidationError."""
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        refusal = gettext("There is no scope %(scope)s. Known: %(scopes)s.")
        raise ValidationError({"scopes": refusal % {"scope": unknown[0], "scopes": ", ".join(SCOPES)}})
    text = PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(
        user=user, hint=text[:HINT], digest=_digest(text), scopes=",".join(scopes), expires_at=expires_at
    )
    return text


def refusal_of(token: ApiToken, resource: str, reads: bool) -> str:
    """Why the token's scopes do not open this resource, to read or to change; "" where they do.

    They add nothing to its user's rights.
    """
    scopes = names_in(token.scopes)
    words = {"scope": resource, "scopes": ", ".join(scopes)}
    named = {*scopes} - {READ}
    if named and resource and resource not in named:
        return gettext("The token's scopes do not allow this: it takes %(scope)s, and they are %(scopes)s.") % words
    if READ in scopes and not reads:
        return (
            gettext("The token's scopes do not allow this: with read it changes nothing. They are %(scopes)s.") % words
        )
    return ""


def how_to_ask() -> str:
    """What a request lacks that comes from nobody."""
    return gettext("This takes Authorization: Token …, of manage.py create_api_token, or the log-in of a browser.")


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Token …`. What is wrong with a token is not said: 401 for all.

    Other schemes but Bearer are left to the session: a proxy in front may ask for a password of its own.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The user and the token; None leaves it to the session. Raise AuthenticationFailed, or NotAuthenticated."""
        scheme, _, text = get_authorization_header(request).partition(b" ")
        if scheme.lower() == b"bearer":
            # A session beside it might see more than the program that sends this is meant to.
            raise NotAuthenticated(how_to_ask())
        if scheme.lower() != b"token":
            return None
        now = timezone.now()
        token = _find(text.strip())
        if token is None or not token.is_live(now) or not token.user.is_active:
            raise AuthenticationFailed(gettext("There is no such token, or it has expired."))
        if token.last_used_at is None or now - token.last_used_at >= USED_EVERY:
            # An UPDATE of one column, and not `save`: the token may have been changed meanwhile.
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        return token.user, token

    REALM: Final = 'Token realm="api"'

    def authenticate_header(self, request: Request) -> str:
        return self.REALM


def _find(text: bytes) -> ApiToken | None:
    # No digest of what cannot be a token: a header may have 64 KiB.
    if not text.isascii() or len(text) > LONGEST:
        return None
    return ApiToken.objects.select_related("user").filter(digest=_digest(text.decode())).first()


def _digest(text: str) -> str:
    pepper: Any = accounts_config().pepper
    return digest_of(text, pepper)
