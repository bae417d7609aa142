"""Tokens of users for the operators' API."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.end import EndField


class ApiToken(models.Model):
    """Lets a program do in `/api/` what its user may do, within the token's scopes. Only a digest is stored."""

    user = models.ForeignKey("auth.User", models.CASCADE, related_name="api_tokens", verbose_name=_("user"))
    hint = models.CharField(_("hint"), max_length=16, editable=False)
    digest = models.CharField(_("digest"), max_length=64, unique=True, editable=False)
    scopes = models.CharField(
        _("scopes"), max_length=200, blank=True, default="",
        help_text=_("Comma-separated parts of the API such as keys or usage; read for looking only. Empty: all."),
    )  # fmt: skip
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    expires_at = EndField(_("expires at"), null=True, blank=True, help_text=_("Empty: never."))
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.user} ({self.hint})"

    def is_live(self, at: datetime) -> bool:
        return self.expires_at is None or self.expires_at > at
