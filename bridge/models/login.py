"""Logins at Lingma, which instances are given."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.validators import URLValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from bridge.models.order import announce_orders
from bridge.status.accounts import AccountState
from bridge.status.logins import LoginKind, LoginProblem
from gateway_project.lib.secrets_at_rest import Secret, SecretField

CHANGES_OF_SERVICE = ("account", "expires_at", "refreshed_at", "reported_at", "problem")
"""Columns that web processes keep up."""


class Login(models.Model):
    """One login. What it consists of is encrypted, and shown nowhere."""

    label = models.CharField(_("label"), max_length=100, unique=True)
    kind = models.CharField(
        _("kind"), max_length=16, choices=[(each.value, _(each.label)) for each in LoginKind], default=LoginKind.BUNDLE
    )
    endpoint = models.CharField(
        _("endpoint"), max_length=300, blank=True, validators=[URLValidator(["http", "https"])],
        help_text=_("Of a dedicated domain. Left empty, that of the settings."),
    )  # fmt: skip
    bundle = SecretField(_("files"), null=True, blank=True, editable=False)
    credentials = SecretField(_("credentials"), null=True, blank=True, editable=False)
    generation = models.PositiveBigIntegerField(
        _("generation"), default=0, editable=False, help_text=_("Grows whenever its files change.")
    )
    brought_generation = models.PositiveBigIntegerField(
        _("generation from outside"), default=0, editable=False,
        help_text=_("The last that was imported, and not written by a service that runs with it."),
    )  # fmt: skip
    account = models.CharField(
        _("account"), max_length=32, choices=[(each.value, _(each.label)) for each in AccountState],
        default=AccountState.UNKNOWN, editable=False,
    )  # fmt: skip
    expires_at = models.DateTimeField(_("login ends"), null=True, blank=True, editable=False)
    refreshed_at = models.DateTimeField(_("files changed"), null=True, blank=True, editable=False)
    reported_at = models.DateTimeField(_("reported"), null=True, blank=True, editable=False)
    problem = models.CharField(
        _("last error"), max_length=16, blank=True, editable=False,
        choices=[(each.value, _(each.label)) for each in LoginProblem if each], default="",
    )  # fmt: skip

    class Meta:
        verbose_name = _("login")
        verbose_name_plural = _("logins")
        ordering: ClassVar = ["label"]

    def __str__(self) -> str:
        return self.label

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        announce_orders()

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        deleted = super().delete(*args, **kwargs)
        announce_orders()
        return deleted

    @property
    def instances(self) -> list[str]:
        """The names of those that shall have it."""
        return sorted(order.name for order in self.orders.all())

    def take(self, packed: bytes) -> None:
        """Other files from outside; `save` makes them a generation that every instance of this login takes over."""
        self.bundle = Secret.of(packed)
        self.generation += 1
        self.brought_generation = self.generation
        self.refreshed_at = timezone.now()
        # Nobody has seen yet what these files are good for.
        self.account, self.expires_at, self.problem = AccountState.UNKNOWN, None, LoginProblem.NONE
