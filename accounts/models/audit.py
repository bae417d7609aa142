"""The audit log: one row per change, by whatever way it was made."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class AppendOnlyError(Exception):
    """Rows of the audit log are neither changed nor deleted."""


# Writes of the two methods that may write go through a plain QuerySet, as this one refuses them.
class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def prune(self, before: datetime, most: int) -> int:
        """Delete rows older than that, at most so many; how many there were. For the retention, and nobody else."""
        ids = list(self.filter(at__lt=before).order_by("at", "id").values_list("pk", flat=True)[:most])
        if ids:  # Django returns None where there is nothing to delete
            # Nothing refers to these rows, so Django has nothing to collect first: one DELETE.
            models.QuerySet(self.model, using=self.db).filter(pk__in=ids)._raw_delete(self.db)
        return len(ids)

    def continue_last(self, entry: AuditEntry, keep: bool) -> bool:
        """Write the changes of a row anew while its own change still goes on; False when the row is not there.

        It is gone where its transaction was rolled back, and another row may have its id by now.
        """
        row: models.QuerySet[AuditEntry] = models.QuerySet(self.model, using=self.db).filter(
            pk=entry.pk, at=entry.at, object_type=entry.object_type, object_id=entry.object_id
        )
        if keep:
            return row.update(changes=entry.changes, object_text=entry.object_text) == 1
        return row._raw_delete(self.db) == 1

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError

    def delete(self) -> NoReturn:
        raise AppendOnlyError

    def bulk_update(self, objs: Iterable[AuditEntry], fields: Any, batch_size: int | None = None) -> NoReturn:
        raise AppendOnlyError

    update.alters_data = True  # type: ignore[attr-defined]  # Django keeps templates from calling what says so
    delete.alters_data = True  # type: ignore[attr-defined]


class AuditEntry(models.Model):
    """Who changed what. Append-only, and all of it text: it survives its user and its object."""

    class Source(models.TextChoices):
        CONSOLE = "console", _("console")
        REST = "rest", _("REST API")
        COMMAND = "command", _("command")
        SCHEDULE = "schedule", _("schedule")

    at = models.DateTimeField(_("time"), default=timezone.now)
    # No foreign keys to users and objects: the log would lose its rows with them, or keep them from being deleted.
    actor = models.CharField(_("who"), max_length=150, help_text=_("The user's name, or that of the command."))
    source = models.CharField(_("by"), max_length=16, choices=Source)
    address = models.CharField(_("from"), max_length=64, blank=True)
    action = models.CharField(_("action"), max_length=32)
    object_type = models.CharField(_("kind"), max_length=100)
    object_id = models.CharField(_("id"), max_length=64, blank=True)
    object_text = models.CharField(_("object"), max_length=200, blank=True)
    changes = models.JSONField(_("changes"), default=dict, blank=True)
    """Field to [before, after], both as text; secrets are masked."""
    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        ordering: ClassVar = ["-at", "-id"]
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(fields=["at", "id"], name="audit_at"),
            models.Index(fields=["object_type", "object_id", "at"], name="audit_object"),
        ]

    def __str__(self) -> str:
        return f"{timezone.localtime(self.at):%Y-%m-%d %H:%M:%S} {self.actor}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError
        # INSERT alone: with the id of another row, Django would change that one.
        super().save(*args, **kwargs | {"force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError
