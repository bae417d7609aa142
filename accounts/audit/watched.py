"""The models whose changes are recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Values = Mapping[str, Any]
"""Names of columns to their values."""

SECRETS: Final = frozenset({"password", "digest", "previous_digest", "data", "secret", "token"})
"""Columns whose values appear nowhere, also not as digests."""

CREATED, CHANGED, DELETED = "created", "changed", "deleted"
ROTATED, PAUSED, RESUMED, REVOKED = "rotated", "paused", "resumed", "revoked"
QUARANTINED, RESTORED = "quarantined", "restored"


def _changed(before: Values, after: Values) -> str:
    return CHANGED


def _of_key(before: Values, after: Values) -> str:
    """What was done to a key, whoever did it and by whatever query."""
    if before.get("revoked_at") is None and after.get("revoked_at") is not None:
        return REVOKED
    if before.get("digest") != after.get("digest"):
        return ROTATED
    if (was := before.get("quarantined_at")) != (held := after.get("quarantined_at")) and None in (was, held):
        return QUARANTINED if was is None else RESUMED
    if (was := before.get("paused_at")) != (paused := after.get("paused_at")) and None in (was, paused):
        return PAUSED if was is None else RESUMED
    return CHANGED


@dataclass(frozen=True, slots=True)
class Watched:
    """What of a model counts as a change, and what a change is called."""

    ignored: frozenset[str] = frozenset()
    """Columns that are kept up by the gateway itself, at each use."""
    action: Callable[[Values, Values], str] = _changed
    """Of the columns that were written, before and after."""


MODELS: Final = {
    "accounts.ApiKey": Watched(frozenset({"last_used_at", "last_used_from", "first_used_at", "content_from"}), _of_key),
    "accounts.Team": Watched(),
    "accounts.AlertChannel": Watched(
        frozenset({"failures", "retry_at", "claimed_until", "last_tried_at", "last_result"})
    ),
    "accounts.ApiToken": Watched(frozenset({"last_used_at"})),
    "auth.User": Watched(frozenset({"last_login"})),
    "auth.Group": Watched(),
    "bridge.ModelAlias": Watched(),
    "bridge.PromptTemplate": Watched(),
    "bridge.InstanceOrder": Watched(),
    "bridge.PoolSize": Watched(),
    "bridge.MaintenanceWindow": Watched(frozenset({"opened_at"})),
    "bridge.Login": Watched(
        frozenset({"account", "expires_at", "refreshed_at", "reported_at", "problem", "failures", "retry_at"})
    ),
    "bridge.LoginRefresh": Watched(),
    "bridge.SignInPage": Watched(),
    "bridge.Version": Watched(),
    "bridge.LoginAttempt": Watched(
        frozenset({"state", "seen_at", "ended_at", "result", "detail", "url", "pasted", "screenshot"})
    ),
    "django_celery_beat.PeriodicTask": Watched(frozenset({"last_run_at", "total_run_count", "date_changed"})),
    "django_celery_beat.IntervalSchedule": Watched(),
    "django_celery_beat.CrontabSchedule": Watched(),
    "django_celery_beat.SolarSchedule": Watched(),
    "django_celery_beat.ClockedSchedule": Watched(),
    "account.EmailAddress": Watched(),
    "mfa.Authenticator": Watched(frozenset({"last_used_at"})),
    "socialaccount.SocialAccount": Watched(frozenset({"last_login", "extra_data"})),
}
"""By their labels, so that nothing is imported from apps above; those of apps that are not installed do nothing."""
