"""Secrets of second factors: encrypted like all secrets at rest, within the JSON that allauth stores."""

from __future__ import annotations

from typing import Final

from allauth.mfa.models import Authenticator
from django.db import transaction

from gateway_project.lib.secrets.secret_rotation import BATCH, Rotated
from gateway_project.lib.secrets.secrets_at_rest import SecretUnreadableError, box

SECRETS: Final = {"totp": "secret", "recovery_codes": "seed"}
"""By the type of factor. What a security key has given us is public."""


def encrypt(text: str) -> str:
    return box().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Raise SecretUnreadableError."""
    return box().decrypt(token.encode()).decode()


def rotate() -> Rotated:
    """Encrypt all of them again with the first key."""
    rotated, last = Rotated(), 0
    factors = Authenticator.objects.filter(type__in=SECRETS).order_by("pk")
    # Batch by batch in transactions of their own: it may be broken off, and locks nobody out for long.
    while batch := list(factors.filter(pk__gt=last).values_list("pk", flat=True)[:BATCH]):
        last = batch[-1]
        with transaction.atomic():
            for factor in factors.filter(pk__in=batch).select_for_update():
                _rotate(factor, rotated)
    return rotated


def _rotate(factor: Authenticator, rotated: Rotated) -> None:
    name = SECRETS[factor.type]
    try:
        token = box().renewed(factor.data[name].encode())
    except SecretUnreadableError:
        rotated.unreadable.append(factor.pk)
        return
    if token is None:
        rotated.current += 1
    else:
        factor.data[name] = token.decode()
        factor.save(update_fields=["data"])
        rotated.renewed += 1
