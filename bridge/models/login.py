"""Logins at Lingma, which instances are given."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator, URLValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from bridge.models.order import announce_orders
from bridge.status.accounts import AccountState
from bridge.status.logins import LoginKind, LoginProblem
from gateway_project.lib.secrets_at_rest import Secret, SecretField

CHANGES_OF_SERVICE = ("account", "expires_at", "refreshed_at", "reported_at", "problem", "failures", "retry_at")
"""Columns that the gateway keeps up."""


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

    lead_days = models.FloatField(
        _("days before its end"), null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(365)],
        help_text=_("So long before its end it is made again. Left empty, LOGIN_REFRESH_LEAD_DAYS."),
    )  # fmt: skip
    period_days = models.FloatField(
        _("days between two logins"), null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(365)],
        help_text=_("After so long it is made again in any case; 0: only before its end. Left empty, "
                    "LOGIN_REFRESH_PERIOD_DAYS."),
    )  # fmt: skip
    jitter_hours = models.FloatField(
        _("hours by which that varies"), null=True, blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(720)],
        help_text=_("So that logins are not all made at once. Left empty, LOGIN_REFRESH_JITTER_HOURS."),
    )  # fmt: skip
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, db_default=0, editable=False)
    """Of attempts that began by themselves."""
    retry_at = models.DateTimeField(_("next try"), null=True, blank=True, editable=False)

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
