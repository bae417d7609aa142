"""API keys: digests, what they may do, and the announcement of every change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal

from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.apps import accounts_config
from accounts.models.changes import NAMED, announce
from accounts.models.end import LONGEST_LIFE, EndField, check_life
from accounts.models.policy import Policy
from accounts.models.team import Team
from gateway_project.lib.secrets.key_secret import digest_of, generate, hint_of
from gateway_project.lib.visible import visible

SOON = timedelta(days=14)
IDLE = timedelta(days=30)
# The last condition: batches of several workers come in any order, and a use may only move forward.
_USED = (
    "UPDATE accounts_apikey SET last_used_at = %s, last_used_from = %s "
    "WHERE id = %s AND (last_used_at IS NULL OR last_used_at < %s)"
)
Closing = Literal["", "revoked", "expired", "quarantined", "paused"]
CLOSES: Final[tuple[Closing, ...]] = ("revoked", "expired", "quarantined", "paused")
"""What closes a key. The first that applies is told, everywhere: what fewer can undo comes first. That is nobody, who
extends the key, an operator, and whoever may resume it."""
NAME_TAKEN = _("A live key of this team has this name already.")


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Every way to change keys announces the change, except for marking them as used."""

    def usable(self, at: datetime) -> ApiKeyQuerySet:
        """Keys that are neither revoked nor expired nor stopped at that time."""
        alive = Q(expires_at=None) | Q(expires_at__gt=at)
        return self.filter(alive, revoked_at=None, paused_at=None, quarantined_at=None)

    def live(self, at: datetime) -> ApiKeyQuerySet:
        """Usable keys that are somebody's: those of the playground end within the hour."""
        return self.usable(at).filter(playground_user=None)

    def in_state(self, state: str, at: datetime) -> ApiKeyQuerySet:
        """Keys whose `state` is this one at that time."""
        # In the order of CLOSES: a revoked key that has expired is revoked.
        match state:
            case ApiKey.State.REVOKED:
                return self.exclude(revoked_at=None)
            case ApiKey.State.EXPIRED:
                return self.filter(revoked_at=None, expires_at__lte=at)
            case ApiKey.State.LIVE:
                return self.usable(at)
        alive = self.filter(Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None)
        if state == ApiKey.State.QUARANTINED:
            return alive.exclude(quarantined_at=None)
        return alive.filter(quarantined_at=None).exclude(paused_at=None)

    def expiring_soon(self, at: datetime) -> ApiKeyQuerySet:
        """Usable keys that expire within SOON; those of the playground always do."""
        return self.usable(at).filter(expires_at__lte=at + SOON, playground_user=None)

    def idle(self, at: datetime) -> ApiKeyQuerySet:
        """Usable keys without a request for IDLE; those that had none count from when they were made."""
        since = at - IDLE
        return self.usable(at).filter(Q(last_used_at__lt=since) | Q(last_used_at=None, created_at__lt=since))

    def namesakes(self, key: ApiKey) -> ApiKeyQuerySet:
        """The live keys, others than this one, that have its name in its team."""
        return self.filter(name=key.name, team=key.team_id, revoked_at=None).exclude(pk=key.pk)

    def revoke(self) -> int:
        """Revoke those that are live; how many there were."""
        return self.filter(revoked_at=None).update(revoked_at=timezone.now())

    def update(self, **kwargs: Any) -> int:
        # Read before the change: afterwards the filter of this query set may not find the same rows.
        digests = self._digests()
        changed = super().update(**kwargs)
        # When the counts differ, rows came or went between the two queries, and nobody knows which: all are announced.
        announce(_all(digests) if len(digests) == changed else None)  # others may have come meanwhile
        return changed

    def mark_last_used(self, uses: Mapping[int, tuple[datetime, str]]) -> None:
        """Move the last use of each key, by id, forward to this time and address, never back. Not announced."""
        # Past our own `update`, which announces: each use of a key would make every process read it again. And past the
        # ORM, which takes ten times as long: to file the turns of many keys would cost more than to serve them.
        adapt = connection.ops.adapt_datetimefield_value
        # In the order of ids, so that two batches never wait for each other.
        rows = [(moment := adapt(at), address, key, moment) for key, (at, address) in sorted(uses.items())]
        if rows:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(_USED, rows)

    def mark_first_used(self, uses: Mapping[int, datetime]) -> None:
        """Note first uses, by key, where none is known. A key with days from its first use has an end from now on.

        Announced for these alone: to others it changes nothing.
        """
        for key in self.filter(pk__in=uses, first_used_at=None):
            at = uses[key.pk]
            end = key.end_with(at, key.expires_after_days)
            # Under the same condition: of two processes that note it, the first stands.
            # Read and then written, without a lock: the condition makes it safe.
            row = self.filter(pk=key.pk, first_used_at=None)
            if end == key.expires_at:
                # Past our own `update`, which would announce it.
                super(ApiKeyQuerySet, row).update(first_used_at=at)
            else:
                row.update(first_used_at=at, expires_at=end)

    def bulk_create(self, objs: Iterable[ApiKey], *args: Any, **kwargs: Any) -> list[ApiKey]:
        """Announced too: a process may remember one of these secrets as unknown."""
        created = super().bulk_create(objs, *args, **kwargs)
        announce([key.digest for key in created])
        return created

    def delete(self) -> tuple[int, dict[str, int]]:
        digests = self._digests()
        deleted = super().delete()
        announce(_all(digests) if len(digests) == deleted[1].get(self.model._meta.label, 0) else None)
        return deleted

    def digests(self) -> set[str] | None:
        """The digests of all secrets of these keys; None when they are too many to be announced one by one."""
        digests = self._digests()
        return _all(digests) if len(digests) < NAMED else None

    def _digests(self) -> list[tuple[str, str | None]]:
        # One more than is announced by name, so that too many are noticed without reading them all.
        return list(self.order_by().values_list("digest", "previous_digest")[:NAMED])

    delete.alters_data = True  # type: ignore[attr-defined]  # Django keeps templates from calling what says so
    update.alters_data = True  # type: ignore[attr-defined]


def _all(digests: Iterable[tuple[str, str | None]]) -> set[str]:
    """Of the new secret and of the one before it, which may still work."""
    return {digest for pair in digests for digest in pair if digest}


def _counted(first_use: datetime | None, days: int | None) -> datetime | None:
    # A row of before may have more days than the calendar.
    return first_use + timedelta(days=min(days, LONGEST_LIFE)) if first_use is not None and days else None


class ApiKey(Policy):
    """An API key. Of its secret only a digest is stored."""

    class State(models.TextChoices):
        """Whether a key is valid at a given time."""

        LIVE = "live", _("live")
        PAUSED = "paused", _("paused")
        QUARANTINED = "quarantined", _("in quarantine")
        EXPIRED = "expired", _("expired")
        REVOKED = "revoked", _("revoked")

    name = models.CharField(_("name"), max_length=100, help_text=_("Whose key, or what for."))
    team = models.ForeignKey(Team, models.PROTECT, null=True, blank=True, related_name="keys", verbose_name=_("team"))
    hint = models.CharField(_("hint"), max_length=16, editable=False)
    digest = models.CharField(_("digest"), max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    expires_at = EndField(_("expires at"), null=True, blank=True, help_text=_("Empty: never."))
    expires_after_days = models.PositiveIntegerField(
        _("days from first use"), null=True, blank=True,
        help_text=_("The key expires so many days after its first request. Empty: it does not."),
    )  # fmt: skip
    first_used_at = models.DateTimeField(_("first used at"), null=True, blank=True, editable=False)
    paused_at = models.DateTimeField(_("paused at"), null=True, blank=True, editable=False)
    pause_reason = models.CharField(
        _("reason of the pause"), max_length=200, blank=True, default="", db_default="", editable=False
    )
    quarantined_at = models.DateTimeField(_("in quarantine since"), null=True, blank=True, editable=False)
    quarantine_reason = models.CharField(
        _("reason of the quarantine"), max_length=200, blank=True, default="", db_default="", editable=False
    )
    previous_digest = models.CharField(  # noqa: DJ001 - several keys have none, and an empty text would be unique
        _("digest of the previous secret"), max_length=64, null=True, unique=True, editable=False
    )
    previous_until = models.DateTimeField(_("previous secret works until"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True, editable=False)
    last_used_from = models.CharField(_("last used from"), max_length=64, blank=True, editable=False)
    playground_user = models.ForeignKey(
        "auth.User", models.SET_NULL, null=True, blank=True, editable=False, related_name="+",
        verbose_name=_("playground of"),
    )  # fmt: skip
    content_logging = models.BooleanField(
        _("content logging"), default=False, db_default=False,
        help_text=_("What the key sends and receives is kept, encrypted, for as long as CONTENT_RETENTION_DAYS says."),
    )  # fmt: skip
    content_from = models.DateTimeField(_("contents deleted at"), null=True, blank=True, editable=False)
    """Contents of turns that began before were deleted; those still on their way are not kept either."""
    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("key")
        verbose_name_plural = _("keys")
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [("use_playground", _("Can use the playground"))]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["playground_user"], condition=Q(revoked_at=None), name="apikey_one_playground_key"
            ),
            # Among live keys only: the name of a revoked one may be used again. And of one team: a refusal must not
            # tell a team lead which names other teams have.
            models.UniqueConstraint(
                fields=["team", "name"],
                condition=Q(revoked_at=None),
                name="apikey_live_name_of_team",
                violation_error_message=NAME_TAKEN,
            ),
            models.UniqueConstraint(  # keys without a team: in an index, no two of what is null are the same
                fields=["name"],
                condition=Q(revoked_at=None, team=None),
                name="apikey_live_name_of_none",
                violation_error_message=NAME_TAKEN,
            ),
            models.CheckConstraint(
                condition=Q(rpm__gte=0, tpm__gte=0, concurrency__gte=0), name="apikey_limits_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{visible(self.name)} ({self.hint})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        # One query more for each save: what the row was decides on its end, and which digests are announced.
        before = ApiKey.objects.filter(pk=self.pk).first() if self.pk else None
        # Whoever has set another date means that date, a later one than the days give as well. Only other days, or
        # another first use, make the end be counted anew.
        counts = before is not None and (before.first_used_at, before.expires_after_days) != (
            self.first_used_at, self.expires_after_days,
        )  # fmt: skip
        if before is not None and counts and before.expires_at == self.expires_at:
            self.expires_at = before.end_with(self.first_used_at, self.expires_after_days)
            if (names := kwargs.get("update_fields")) is not None and "expires_after_days" in names:
                # Else the new days would be stored, and the end that follows from them would not.
                kwargs["update_fields"] = {*names, "expires_at"}
        # The old digests too: requests with the old secret must be refused as well.
        digests = _all([(each.digest, each.previous_digest) for each in (before, self) if each is not None])
        super().save(*args, **kwargs)
        announce(digests)

    def policy(self, name: str) -> str:
        """A text column of the policy, such as `allowed_models`: the key's own, or its team's where that is empty."""
        own: str = getattr(self, name)
        return own or (getattr(self.team, name) if self.team is not None else "")

    def end_with(self, first_use: datetime | None, days: int | None) -> datetime | None:
        """When this key expires if it is first used then and may be used for so many days.

        A date that somebody has set counts as well, and the earlier of the two; one that was counted from an earlier
        `first_used_at` does not.
        """
        counted = _counted(self.first_used_at, self.expires_after_days)
        set_date = None if self.expires_at == counted else self.expires_at
        ends = [end for end in (set_date, _counted(first_use, days)) if end is not None]
        return min(ends, default=None)

    def clean(self) -> None:
        """Content logging is not switched on where nothing is kept; a key that has it may be changed all the same."""
        super().clean()
        check_life(self.expires_after_days)
        if self.content_logging and not accounts_config().content_days:
            # The row and not this object, which has the new value by now.
            before = type(self)._base_manager.filter(pk=self.pk, content_logging=True)
            if not before.exists():
                text = gettext("CONTENT_RETENTION_DAYS is 0, so no contents are kept.")
                raise ValidationError({"content_logging": text})

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **kwargs)
        announce(_all([(self.digest, self.previous_digest)]))
        return deleted

    @staticmethod
    def cut(name: str) -> str:
        """A name as lists show it: on one line."""
        return Truncator(visible(name)).chars(32)

    @property
    def short_name(self) -> str:
        return self.cut(self.name)

    @property
    def visible_name(self) -> str:
        """The whole of it, where there is room."""
        return visible(self.name)

    def adopt(self, secret: str, pepper: bytes) -> None:
        """Take this secret; only its digest and a hint are stored."""
        self.hint, self.digest = hint_of(secret), digest_of(secret, pepper)

    def renew_secret(self, pepper: bytes) -> str:
        """Make a new secret and return it; it cannot be read again later."""
        secret = generate()
        self.adopt(secret, pepper)
        return secret

    def end_of_older(self, digest: str) -> datetime | None:
        """When the secret of that digest ends, if it is the one before the last rotation; None for the newest."""
        if digest != self.previous_digest or self.previous_until is None:
            return None
        return self.previous_until if self.expires_at is None else min(self.previous_until, self.expires_at)

    def state(self, at: datetime) -> ApiKey.State:
        return self.State(first_that_closes(self.closed_by(at)) or self.State.LIVE)

    def closed_by(self, at: datetime) -> set[str]:
        """All of CLOSES that apply at that time."""
        applies = {
            "revoked": self.revoked_at is not None,
            "expired": self.expires_at is not None and self.expires_at <= at,
            "quarantined": self.quarantined_at is not None,
            "paused": self.paused_at is not None,
        }
        return {name for name, is_so in applies.items() if is_so}


def first_that_closes(found: Collection[str]) -> Closing:
    """The one of CLOSES that is told; "" for none."""
    return next((each for each in CLOSES if each in found), "")
