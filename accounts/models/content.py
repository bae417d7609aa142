"""What keys with content logging have sent and received: encrypted, in a table of its own, kept for days."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.key import ApiKey
from gateway_project.lib.secrets.secrets_at_rest import SecretField


class UsageContent(models.Model):
    """The content of one turn, by the id of its usage row, which may be filed before it or after."""

    request_id = models.CharField(_("request"), max_length=64, primary_key=True)
    # CASCADE, where rows of usage protect their key: what was said must not outlive the key it was said with.
    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="contents", verbose_name=_("key"))
    started_at = models.DateTimeField(_("started at"))
    content = SecretField(_("content"))
    """A `TurnContent` of `accounts/content`, packed."""

    class Meta:
        verbose_name = _("logged content")
        verbose_name_plural = _("logged contents")
        default_permissions = ()
        permissions: ClassVar = [("view_content", _("Can view logged contents"))]
        indexes: ClassVar = [models.Index(fields=["started_at"], name="content_started")]

    def __str__(self) -> str:
        return self.request_id
