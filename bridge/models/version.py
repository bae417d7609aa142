"""Versions of Lingma that superusers have installed."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from bridge.models.order import announce_orders


class Version(models.Model):
    """
    The files lie below DATA_DIR of each machine that it was installed on; what they must be stands here.

    Whoever can write to a disk cannot decide what is started.
    """

    version = models.CharField(_("version"), max_length=64, unique=True)
    archive_sha256 = models.CharField(_("SHA-256 of the archive"), max_length=64)
    executables = models.JSONField(_("SHA-256 of the executable"), default=dict)
    """By the path of the executable, which has the platform in it."""
    is_default = models.BooleanField(
        _("default"), default=False, help_text=_("Instances run it unless they are ordered to run another one.")
    )
    installed_at = models.DateTimeField(_("installed"), default=timezone.now)
    position = models.CharField(_("order"), max_length=100, editable=False, default="")
    """In the order of numbers: 2.9 comes before 2.11."""

    class Meta:
        verbose_name = _("version")
        verbose_name_plural = _("versions")
        default_permissions = ("change", "view")
        ordering: ClassVar = ["-position", "version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="version_one_default")
        ]

    def __str__(self) -> str:
        return self.version

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.position = ".".join(part.zfill(6) for part in re.findall(r"\d+", self.version))[:100]
        super().save(*args, **kwargs)
        announce_orders()

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        deleted = super().delete(*args, **kwargs)
        announce_orders()
        return deleted
