"""Which key a browser has shown us: a signed cookie, good for that secret of that key and for one path."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import ApiKey

NAME: Final = "lgw_key"
PATH: Final = "/me/"
SALT: Final = "accounts.pages.me"
AGE: Final = 30 * 86_400
# Longer than any of ours: what is longer is not worth the computing of a signature.
LONGEST: Final = 512


def set_cookie(response: HttpResponse, key: ApiKey, digest: str) -> None:
    """Remember the key on this browser. `digest`: of the secret that was pasted."""
    # No digest in the cookie, but something made of it: a cookie that leaks is no help to find the secret.
    value = signing.dumps([key.pk, _mark(digest)], salt=SALT)
    response.set_cookie(
        NAME, value, max_age=AGE, path=PATH, httponly=True, samesite="Strict", secure=settings.SESSION_COOKIE_SECURE
    )


def forget(response: HttpResponse) -> None:
    response.delete_cookie(NAME, path=PATH, samesite="Strict")


def key_of(request: HttpRequest, now: datetime) -> tuple[ApiKey, str] | None:
    """The key that this browser may see, read anew, and the digest of the secret that was pasted.

    The key may be closed. None: no cookie that counts.
    """
    text = request.COOKIES.get(NAME, "")
    if not text or len(text) > LONGEST:
        return None
    try:
        pk, mark = signing.loads(text, salt=SALT, max_age=AGE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    key = ApiKey.objects.select_related("team").filter(pk=pk).first()
    # The very secret that was pasted must still be one of the key's: after a rotation the old one ends here, too.
    digests = [] if key is None else [digest for digest in _digests(key, now) if _same(mark, digest)]
    return (key, digests[0]) if key is not None and digests else None


def _digests(key: ApiKey, now: datetime) -> list[str]:
    digests = [key.digest]
    if key.previous_digest and key.previous_until and key.previous_until > now:
        digests.append(key.previous_digest)
    return digests


def by_secret(digest: str, now: datetime) -> ApiKey | None:
    """The key of a secret, closed or not. An old secret whose grace is over finds none."""
    keys = ApiKey.objects.select_related("team").order_by()
    key = keys.filter(digest=digest).first()
    return key or keys.filter(previous_digest=digest, previous_until__gt=now).first()


def _mark(digest: str) -> str:
    return salted_hmac(SALT, digest, algorithm="sha256").hexdigest()[:32]


def _same(mark: object, digest: str) -> bool:
    return constant_time_compare(str(mark), _mark(digest))
