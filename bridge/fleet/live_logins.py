"""Logins as the live page lists them."""

from __future__ import annotations

from typing import Final

from bridge.models import Login, LoginAttempt
from bridge.status.live import MOST_SHOWN, LiveLogin
from gateway_project.lib.visible import visible

LONGEST: Final = 64


def read_logins() -> list[LiveLogin]:
    """In the order of their names. Raise django.db.Error."""
    rows = Login.objects.defer("bundle", "credentials")[:MOST_SHOWN]
    running = dict(LoginAttempt.objects.filter(ended_at=None).values_list("login", "state"))
    return [
        LiveLogin(
            row.pk, visible(row.label)[:LONGEST], row.account, row.expires_at.timestamp() if row.expires_at else 0.0,
            row.generation, row.problem, running.get(row.pk, ""),
        )
        for row in rows
    ]  # fmt: skip
