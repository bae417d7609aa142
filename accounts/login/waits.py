"""How often passwords and codes may be tried. Waits grow, and end: nobody is locked out for good."""

from __future__ import annotations

import hashlib
import hmac
import math
from contextlib import suppress
from typing import Any, Final

import redis
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from gateway_project.lib.address_share import share_of
from gateway_project.lib.attempts import Attempts
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect

NAMES: Final = Attempts(f"{redis_keys.LOG_INS}name:", free=5, longest_sec=900, memory_sec=3600)
"""Of one name from one address: others who try this name do not make its owner wait."""
ADDRESSES: Final = Attempts(f"{redis_keys.LOG_INS}address:", free=30, longest_sec=300, memory_sec=3600)
"""Of one address under any names. More, as a whole company may come from one."""
CODES: Final = Attempts(f"{redis_keys.LOG_INS}code:", free=5, longest_sec=300, memory_sec=3600)
"""Of one user, from anywhere: whoever gets here has the password."""
USED_SEC: Final = 120
"""Longer than a code is valid."""
WAITING: Final = "waiting"
"""Code of the error that says how long."""


class Waiting(ValidationError):
    """Too many tries were wrong; the next one may be made in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = math.ceil(seconds)
        super().__init__(self._words(), code=WAITING)

    def _words(self) -> str:
        if self.seconds < 120:
            return gettext("Too many wrong tries. Try again in %(count)d s.") % {"count": self.seconds}
        return gettext("Too many wrong tries. Try again in %(count)d min.") % {"count": math.ceil(self.seconds / 60)}


def begin_password(request: Any, name: str) -> None:
    """Before a password is checked, which costs much. Raise Waiting."""
    address, pair = share_of(address_of(request)), _pair(name, share_of(address_of(request)))
    # The address first: while it waits, names that are made up take no room in Redis.
    if wait := ADDRESSES.begin(settings.REDIS_URL, address):
        raise Waiting(wait)
    if wait := NAMES.begin(settings.REDIS_URL, pair):
        # Nothing was tried, so it does not count for the address either.
        ADDRESSES.take_back(settings.REDIS_URL, address)
        raise Waiting(wait)


def password_was_right(request: Any, name: str) -> None:
    address = share_of(address_of(request))
    NAMES.forget(settings.REDIS_URL, _pair(name, address))
    # Otherwise somebody with a good password of their own could try those of others without an end.
    ADDRESSES.take_back(settings.REDIS_URL, address)


def begin_code(user: Any) -> None:
    """Before a code is checked. Raise Waiting."""
    if wait := CODES.begin(settings.REDIS_URL, str(user.pk)):
        raise Waiting(wait)


def code_was_right(user: Any) -> None:
    CODES.forget(settings.REDIS_URL, str(user.pk))


def is_first_use(user: Any, code: str) -> bool:
    """Whether the code was not taken before, by any process; a code that somebody saw is worth nothing afterwards."""
    with suppress(redis.RedisError), connect(settings.REDIS_URL) as client:
        name = f"{redis_keys.LOG_INS}used:{_digest(f'{user.pk} {code}')}"
        return bool(client.set(name, 1, ex=USED_SEC, nx=True))
    # Without Redis a code may be taken twice while it is valid; else nobody with a second factor could log in then.
    return True


def address_of(request: Any) -> str:
    return str(request.META.get("REMOTE_ADDR") or "") if request is not None else ""


def _pair(name: str, address: str) -> str:
    # By digest: people type passwords into the field of the name.
    return f"{_digest(name.strip().casefold())}:{address}"


def _digest(text: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]
