"""The audit log: one row per change, by whatever way it was made."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class AuditEntry(models.Model):
    """Who changed what. Append-only, and all of it text: it survives its user and its object."""

    class Source(models.TextChoices):
        CONSOLE = "console", _("console")
        REST = "rest", _("REST API")
        COMMAND = "command", _("command")
        SCHEDULE = "schedule", _("schedule")

    at = models.DateTimeField(_("time"), default=timezone.now)
    actor = models.CharField(_("who"), max_length=150, help_text=_("The user's name, or that of the command."))
    source = models.CharField(_("by"), max_length=16, choices=Source)
    address = models.CharField(_("from"), max_length=64, blank=True)
    action = models.CharField(_("action"), max_length=32)
    object_type = models.CharField(_("kind"), max_length=100)
    object_id = models.CharField(_("id"), max_length=64, blank=True)
    object_text = models.CharField(_("object"), max_length=200, blank=True)
    changes = models.JSONField(_("changes"), default=dict, blank=True)
    """Field to [before, after], both as text; secrets are masked."""

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
        return f"{self.actor} {self.action} {self.object_type} {self.object_text}"
