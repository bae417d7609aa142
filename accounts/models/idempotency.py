"""Answers to creations, kept for a day: whoever asks again with the same Idempotency-Key gets the same."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway_project.lib.secrets.secrets_at_rest import SecretField

KEPT_FOR: Final = timedelta(hours=24)
MOST_PRUNED: Final = 5_000
"""At once: a task comes every ten minutes."""


class IdempotentRequest(models.Model):
    """A creation through the API that carried an Idempotency-Key, and its answer, encrypted: it may hold a secret."""

    user = models.ForeignKey("auth.User", models.CASCADE, related_name="+", verbose_name=_("user"))
    key = models.CharField(_("key of the request"), max_length=255)
    digest = models.CharField(_("digest"), max_length=64)
    """SHA-256 of method, path and body: another request with the key is a mistake."""
    answer = SecretField(_("answer"), null=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    class Meta:
        verbose_name = _("creation that may come again")
        verbose_name_plural = _("creations that may come again")
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["created_at"], name="idempotent_created")]
        # What makes the same creation twice at once one: the second INSERT waits for the first, and fails.
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "key"], name="idempotent_user_key")]

    def __str__(self) -> str:
        return f"{self.user} {self.key}"

    @classmethod
    def prune(cls) -> int:
        """Delete answers that are older than a day; return how many there were."""
        over = cls.objects.filter(created_at__lt=timezone.now() - KEPT_FOR).values_list("pk", flat=True)
        return cls.objects.filter(pk__in=list(over[:MOST_PRUNED])).delete()[0]
