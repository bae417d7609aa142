"""What is done to keys as a whole: made, rotated, stopped, resumed, revoked. Console, REST and commands come here."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from accounts.apps import accounts_config
from accounts.models import ApiKey

MOST_GRACE: Final = timedelta(days=30)
LONGEST_REASON: Final = 200
# The same names for columns and values: `update_fields` in `resume`, and the console's actions on many keys.
RESUMED: Final = {"paused_at": None, "pause_reason": "", "quarantined_at": None, "quarantine_reason": ""}
"""The columns of a key that nothing stops."""


class KeyRevoked(Exception):
    """A revoked key stays revoked: it takes no new secret, and no pause."""


class KeyRotated(Exception):
    """The secret that was to be replaced has been replaced already."""


class InQuarantine(Exception):
    """Operators alone let a key out of quarantine, whoever may resume it after a pause."""


def create(key: ApiKey) -> str:
    """Check and save a new key with a secret of its own; return the secret, which cannot be read again.

    Raise ValidationError, as `full_clean` does.
    """
    secret = key.renew_secret(accounts_config().pepper)
    key.full_clean()
    # A new row or an error: a key that was saved before would be given a second secret without the grace of `rotate`.
    key.save(force_insert=True)
    return secret


def rotate(key: ApiKey, grace: timedelta, hint: str = "") -> str:
    """Give the key a new secret and return it; the old one works for `grace` longer, zero: no longer.

    A still older secret that had its grace stops at once. `hint`: of the one secret that is to be replaced. Raise
    KeyRevoked, KeyRotated, or ValueError for a grace that is negative or above MOST_GRACE.
    """
    if not timedelta(0) <= grace <= MOST_GRACE:
        raise ValueError(f"a grace is between nothing and {MOST_GRACE.days} days")
    with transaction.atomic():
        row = _live(key)
        if hint and row.hint != hint:
            raise KeyRotated(str(row))
        # Also without a grace: the older secret is then refused as `rotated`, which says more than that it is unknown.
        row.previous_digest, row.previous_until = row.digest, timezone.now() + grace
        secret = row.renew_secret(accounts_config().pepper)
        row.save(update_fields=["previous_digest", "previous_until", "digest", "hint"])
    # The caller's object may be stale, so it is never saved, only brought up to date; so in all functions below.
    key.refresh_from_db()
    return secret


def pause(key: ApiKey, reason: str = "") -> bool:
    """Refuse the key until it is resumed; False when it was paused already. Raise KeyRevoked."""
    with transaction.atomic():
        row = _live(key)
        changed = row.paused_at is None
        if changed:
            row.paused_at, row.pause_reason = timezone.now(), reason.strip()[:LONGEST_REASON]
            row.save(update_fields=["paused_at", "pause_reason"])
    key.refresh_from_db()
    return changed


def quarantine(key: ApiKey, reason: str = "") -> bool:
    """Refuse the key until an operator resumes it; False when it was in quarantine already. Raise KeyRevoked."""
    with transaction.atomic():
        row = _live(key)
        changed = row.quarantined_at is None
        if changed:
            row.quarantined_at, row.quarantine_reason = timezone.now(), reason.strip()[:LONGEST_REASON]
            row.save(update_fields=["quarantined_at", "quarantine_reason"])
    key.refresh_from_db()
    return changed


def resume(key: ApiKey, *, quarantined: bool = True) -> bool:
    """End a pause and a quarantine; False when there was none. Raise KeyRevoked.

    Without `quarantined` a key in quarantine stays as it is: raise InQuarantine.
    """
    with transaction.atomic():
        row = _live(key)
        if row.quarantined_at is not None and not quarantined:
            raise InQuarantine(str(row))
        changed = row.paused_at is not None or row.quarantined_at is not None
        if changed:
            for name, value in RESUMED.items():
                setattr(row, name, value)
            row.save(update_fields=list(RESUMED))
    key.refresh_from_db()
    return changed


def revoke(key: ApiKey) -> bool:
    """Close the key for good; False when it was revoked already."""
    with transaction.atomic():
        row = _locked(key)
        changed = row.revoked_at is None
        if changed:
            row.revoked_at = timezone.now()
            row.save(update_fields=["revoked_at"])
    key.refresh_from_db()
    return changed


def _locked(key: ApiKey) -> ApiKey:
    # Locked: of two at once the second sees what the first has done. Without its team, which may be NULL and then
    # cannot be locked.
    return ApiKey.objects.select_for_update().get(pk=key.pk)


def _live(key: ApiKey) -> ApiKey:
    row = _locked(key)
    if row.revoked_at is not None:
        raise KeyRevoked(str(row))
    return row
