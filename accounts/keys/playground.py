"""Keys of the playground: each is of one person, for an hour, and that person's only one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.signals import post_save, pre_delete
from django.utils import timezone

from accounts.keys import services
from accounts.models import ApiKey, Team

# The secret lies in an open page of the browser: what is taken from there is soon worth nothing.
LIFE: Final = timedelta(hours=1)
LIMITS: Final = {"rpm": 20, "tpm": 100_000, "concurrency": 2}
"""For trying things by hand. Limits of the team count besides."""
LONGEST_NAME: Final = 100


def begin(user: Any, team: Team | None) -> tuple[ApiKey, str]:
    """Make a key for this user, which ends the one before. Return it, and its secret, which cannot be read again.

    Raise ValidationError when there can be no such key.
    """
    with transaction.atomic():
        # Locked: of two at once the second ends what the first has made.
        User.objects.select_for_update().get(pk=user.pk)
        end(user)
        key = ApiKey(name=_free_name(user), team=team, playground_user=user, expires_at=timezone.now() + LIFE, **LIMITS)
        return key, services.create(key)


def end(user: Any) -> bool:
    """Revoke the user's key; False when there was none."""
    key = ApiKey.objects.filter(playground_user=user, revoked_at=None).first()  # the table has no more
    return key is not None and services.revoke(key)


def connect() -> None:
    """Called once all apps are loaded, and does nothing the second time."""
    post_save.connect(_saved, sender=User, dispatch_uid="accounts.playground_saved")
    # Before and not after: deleting the user sets `playground_user` to NULL, and nobody would find the key any more.
    pre_delete.connect(_deleted, sender=User, dispatch_uid="accounts.playground_deleted")


def _saved(instance: User, **_: Any) -> None:
    """Who may not log in any more has no use of a key, and a session that was stolen has none either."""
    if not instance.is_active:
        end(instance)


def _deleted(instance: User, **_: Any) -> None:
    end(instance)


def current(user: Any, now: datetime) -> ApiKey | None:
    """The user's key, if it is still good for something."""
    return ApiKey.objects.usable(now).filter(playground_user=user).first()


def _free_name(user: Any) -> str:
    """Names of live keys are unique, and somebody may have given this one to a key by hand."""
    name, number = f"playground: {user.get_username()}", f" ({user.pk})"
    if len(name) <= LONGEST_NAME and not ApiKey.objects.filter(name=name, revoked_at=None).exists():
        return name
    # The name of the user may be cut or taken; the id makes it unique among users.
    return name[: LONGEST_NAME - len(number)] + number
