"""A copy of the entries, which live in Redis."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey
from gateway_project.lib.database.many_values import any_of
from sessions_store.inspect import State
from sessions_store.store import StoredEntry


class EntryQuerySet(models.QuerySet["Entry"]):
    def mirror(self, found: Iterable[tuple[StoredEntry, State]]) -> None:
        """Make the rows equal to what was found. A session keeps its row, so a list opened earlier still works."""
        # By session: one that is taken between two reads is found twice, and the second state is the newer one.
        rows = {stored.session_id: mirrored(stored, state) for stored, state in found}
        # Together, or a page that is opened in between would show an empty list.
        with transaction.atomic():
            # What is gone in Redis goes here; the rest is updated in place.
            self.exclude(pk__in=any_of(rows)).delete()
            self.bulk_create(
                list(rows.values()), update_conflicts=True, unique_fields=["session_id"], update_fields=MUTABLE
            )


MUTABLE = ("fingerprint", "api_key", "instance", "generation", "length", "hits", "state", "created_at", "used_at")


class Entry(models.Model):
    """
    A conversation prefix and the upstream session that continues it.

    A copy, some minutes old, for the time when Redis is away: turns alone know and change entries, pages show
    `services.current`, and nothing may be built on these rows.
    """

    class State(models.TextChoices):
        """Whether a turn may take the session."""

        IDLE = "idle", _("idle")
        IN_USE = "in_use", _("in use")
        GONE = "gone", _("gone")

    session_id = models.CharField(_("session"), max_length=200, primary_key=True)
    fingerprint = models.CharField(_("fingerprint"), max_length=64)
    # The entry is a copy: it may name a key that was deleted meanwhile.
    api_key = models.ForeignKey(
        ApiKey, models.DO_NOTHING, null=True, db_constraint=False, related_name="+", verbose_name=_("key")
    )
    instance = models.CharField(_("instance"), max_length=100)
    generation = models.PositiveBigIntegerField(
        _("generation"), help_text=_("Which start of the instance holds the session.")
    )
    length = models.PositiveIntegerField(_("length"), help_text=_("Messages in the conversation."))
    hits = models.PositiveIntegerField(_("hits"), help_text=_("Turns that continued the session."))
    state = models.CharField(_("state"), max_length=8, choices=State)
    created_at = models.DateTimeField(_("since"))
    used_at = models.DateTimeField(_("last used"))

    # A manager with the methods of the query set.
    objects: ClassVar[EntryQuerySet] = EntryQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering: ClassVar = ["-used_at"]

    def __str__(self) -> str:
        return self.session_id


def mirrored(stored: StoredEntry, state: State) -> Entry:
    return Entry(
        session_id=stored.session_id,
        fingerprint=stored.fingerprint,
        api_key_id=stored.api_key_id,
        instance=stored.instance,
        generation=stored.generation,
        length=stored.length,
        hits=stored.hits,
        state=state,
        created_at=datetime.fromtimestamp(stored.created_at, UTC),
        used_at=datetime.fromtimestamp(stored.used_at, UTC),
    )
