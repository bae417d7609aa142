"""What a new installation needs before anybody can come in. Every step does nothing when it has been done."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from accounts.keys import services
from accounts.models import ApiKey
from gateway_project.lib.secrets.key_secret import digest_of


def import_keys(texts: Iterable[str], pepper: bytes) -> int:
    """Save the digests of these secrets; return how many were new. One that was revoked here stays revoked."""
    return sum(_import(text, pepper) for text in texts)


def _import(text: str, pepper: bytes) -> bool:
    # Revoked and expired keys count too: an import at the next start must not open them again.
    digest = digest_of(text, pepper)
    if ApiKey.objects.filter(digest=digest).exists():
        return False
    key = ApiKey(name=f"imported {digest[:8]}")
    key.adopt(text, pepper)
    try:
        # A savepoint: on PostgreSQL a failed insert would spoil the transaction of the caller.
        with transaction.atomic():
            key.save()
    except IntegrityError:  # another process was faster
        return False
    return True


def first_superuser(username: str, password: str) -> str | None:
    """Make a superuser when there is none. Return its password if it was made up here, else None."""
    users = get_user_model().objects
    # Nobody's rights are raised: a user of this name who is no superuser stays what he is.
    if users.filter(is_superuser=True).exists() or users.filter(username=username).exists():
        return None
    made_up = "" if password else secrets.token_urlsafe(15)
    users.create_superuser(username, password=password or made_up)
    return made_up or None


def first_key() -> str | None:
    """Make a key when there is none at all. Return its secret, or None."""
    # Revoked ones count: an operator who closed all keys does not get an open one at the next start.
    if ApiKey.objects.exists():
        return None
    return services.create(ApiKey(name="first"))
