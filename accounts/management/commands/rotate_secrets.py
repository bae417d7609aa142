"""`rotate_secrets` encrypts all secrets of the database again, with the first of SECRET_KEYS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import CommandError

from accounts.audit.commands import RecordedCommand
from accounts.audit.context import unrecorded
from accounts.audit.entries import record
from accounts.audit.watched import ROTATED
from accounts.login import at_rest
from gateway_project.lib.counted import counted
from gateway_project.lib.secrets import secret_rotation
from gateway_project.lib.secrets.secret_rotation import Rotated

SHOWN = 5


class Command(RecordedCommand):
    """Encrypt secrets at rest again with the first of SECRET_KEYS; run it again when it was broken off."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        renewed, current, unreadable = 0, 0, []
        rotations: list[tuple[Any, Callable[[], Rotated]]] = [
            (model, partial(secret_rotation.rotate, model, name)) for model, name in secret_rotation.columns()
        ]
        # The factors are columns of allauth's, which the search for SecretFields does not find.
        for model, rotate in [*rotations, (Authenticator, at_rest.rotate)]:
            rotated = _rotate(model, rotate)
            renewed += rotated.renewed
            current += rotated.current
            unreadable += [f"{model._meta.label} {key}" for key in rotated.unreadable]
        were = "was" if current == 1 else "were"
        done = f"Encrypted {counted(renewed, 'secret')} with the first of SECRET_KEYS; {current} {were} so already."
        if unreadable:
            names = ", ".join(unreadable[:SHOWN]) + (" …" if len(unreadable) > SHOWN else "")
            raise CommandError(
                f"{done} {len(unreadable)} cannot be read with any key: {names}. "
                "Add the key that they were encrypted with to SECRET_KEYS, behind the others, and run this again."
            )
        self.stdout.write(done)


def _rotate(model: Any, rotate: Callable[[], Rotated]) -> Rotated:
    # A row for the table, not one for each of its rows: nothing has changed for anybody.
    with unrecorded():
        rotated = rotate()
    if rotated.renewed:
        record(ROTATED, model._meta.label_lower, "", f"{rotated.renewed} × {model._meta.verbose_name_plural}")
    return rotated
