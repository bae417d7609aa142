"""Alerts: what somebody should look at, shown until they say that they have."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.key import ApiKey


class Alert(models.Model):
    """What happened to one thing, once or several times in a row. `accounts/alerts` makes them and has their words."""

    kind = models.CharField(_("kind"), max_length=32)
    key = models.ForeignKey(
        ApiKey, models.CASCADE, null=True, blank=True, related_name="alerts", verbose_name=_("key")
    )  # fmt: skip
    subject = models.CharField(_("subject"), max_length=100, blank=True)
    """The name of what it is about, where that is no key."""
    facts = models.JSONField(_("facts"), default=list, blank=True)
    """What happened, as texts, the first ones of `count`."""
    count = models.PositiveIntegerField(_("times"), default=1)
    began_at = models.DateTimeField(_("since"), default=timezone.now)
    latest_at = models.DateTimeField(_("latest"), default=timezone.now)
    acknowledged_at = models.DateTimeField(_("acknowledged at"), null=True, blank=True)
    acknowledged_by = models.CharField(_("acknowledged by"), max_length=150, blank=True)
    lasts = models.BooleanField(_("lasts"), default=False, db_default=False)
    """About a state, which ends by itself; else about something that has happened."""
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering: ClassVar = ["-began_at", "-id"]
        # No permissions of its own: whoever may see keys sees the alerts about them, and who may change keys
        # acknowledges.
        default_permissions = ()
        constraints: ClassVar = [
            # Two processes may look at the same time.
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=Q(lasts=True, ended_at=None), name="alert_lasting"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["began_at"], name="alert_began"),
            # The few that are open are what every look at the first page asks for.
            models.Index(fields=["began_at"], name="alert_open", condition=Q(acknowledged_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key or self.subject}"


class Observation(models.Model):
    """What is in the state that a kind of alert is about, so that a state has to last before there is an alert.

    There is a row while anything is; `accounts/alerts/lasting` reads and writes it.
    """

    kind = models.CharField(_("kind"), max_length=32)
    subject = models.CharField(_("subject"), max_length=100, blank=True)
    members = models.JSONField(_("members"), default=dict)
    """Names to since when, whether that is long enough, and since when it is over."""

    class Meta:
        verbose_name = _("observation")
        verbose_name_plural = _("observations")
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["kind", "subject"], name="observation_kind_subject")]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
