"""Logins at Lingma, which instances are given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, URLValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bridge.models.order import announce_orders
from bridge.status.accounts import AccountState
from bridge.status.logins import LoginKind, LoginProblem
from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretField

CHANGES_OF_SERVICE = ("account", "expires_at", "refreshed_at", "reported_at", "problem", "failures", "retry_at")
"""Columns that the gateway keeps up."""
TIMES: Final = ("lead_days", "period_days", "jitter_hours")
"""Columns of a login, and of all logins, that say when it is made again."""


def check_finite(value: float) -> None:
    """Programs may send what is no number, which lies within all bounds."""
    if not math.isfinite(value):
        raise ValidationError(gettext("Enter a number."))


def _time(name: Any, most: int, help_text: Any) -> models.FloatField[float | None, float | None]:
    bounds: list[Any] = [check_finite, MinValueValidator(0), MaxValueValidator(most)]
    return models.FloatField(name, null=True, blank=True, validators=bounds, help_text=help_text)


class LoginRefresh(models.Model):
    """One row: when logins are made again that do not say so themselves. An empty column is as in the settings."""

    lead_days = _time(
        _("days before its end"),
        365,
        _("So long before its end it is made again. Left empty, LOGIN_REFRESH_LEAD_DAYS."),
    )
    period_days = _time(
        _("days between two logins"), 365,
        _("After so long it is made again in any case; 0: only before its end. Left empty, LOGIN_REFRESH_PERIOD_DAYS."),
    )  # fmt: skip
    jitter_hours = _time(
        _("hours by which that varies"), 720,
        _("So that logins are not all made at once. Left empty, LOGIN_REFRESH_JITTER_HOURS."),
    )  # fmt: skip

    class Meta:
        verbose_name = _("refresh of all logins")
        verbose_name_plural = _("refresh of all logins")
        default_permissions = ("change", "view")

    def __str__(self) -> str:
        return gettext("refresh of all logins")

    ONLY: ClassVar = 1
    """Its primary key."""

    @classmethod
    def times(cls, of_settings: Mapping[str, float]) -> dict[str, float]:
        """What holds for all logins."""
        row = cls.objects.filter(pk=cls.ONLY).values(*TIMES).first() or {}
        return {**of_settings, **{name: value for name, value in row.items() if value is not None}}


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

    lead_days = _time(
        _("days before its end"), 365,
        _("So long before its end it is made again. Left empty, as for all logins."),
    )  # fmt: skip
    period_days = _time(
        _("days between two logins"), 365,
        _("After so long it is made again in any case; 0: only before its end. Left empty, as for all logins."),
    )  # fmt: skip
    jitter_hours = _time(
        _("hours by which that varies"), 720,
        _("So that logins are not all made at once. Left empty, as for all logins."),
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
        """The names of those that are to use it."""
        return sorted(order.name for order in self.orders.all())

    def take(self, packed: bytes) -> None:
        """Other files from outside; `save` makes them a generation that every instance of this login takes over."""
        self.bundle = Secret.of(packed)
        self.generation += 1
        self.brought_generation = self.generation
        self.refreshed_at = timezone.now()
        # Nobody has seen yet what these files are good for.
        self.account, self.expires_at, self.problem = AccountState.UNKNOWN, None, LoginProblem.NONE
