"""Turns that were admitted: those that run, how many there have been in each hour, and what is known too early."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class OpenTurn(models.Model):
    """A turn that was admitted and whose row has not been filed yet."""

    request_id = models.CharField(_("request"), max_length=64, primary_key=True)
    run = models.CharField(_("process"), max_length=64)
    """The web process that serves it, and which start of it."""
    started_at = models.DateTimeField(_("started at"))
    # Text and no JSONField: it is decoded as a `UsageRow`, and the database never looks inside.
    row = models.TextField(_("row"))
    """What was known of it, as JSON: its row, should the process die."""

    class Meta:
        verbose_name = _("open turn")
        verbose_name_plural = _("open turns")
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["run", "started_at"], name="openturn_run_started")]

    def __str__(self) -> str:
        return self.request_id


class AdmittedHour(models.Model):
    """How many turns were admitted that started in one hour (UTC): counted as they begin, not as they end."""

    hour = models.DateTimeField(_("hour"), primary_key=True)
    admitted = models.PositiveBigIntegerField(_("admitted"), default=0)
    unopened = models.PositiveBigIntegerField(_("known by their end alone"), default=0)
    """Of those: their beginning was lost on the way, and they were counted when their row came."""
    unmatched = models.PositiveBigIntegerField(_("late token counts without a row"), default=0, db_default=0)
    """Token counts of the service for which no row has come: its turn is unknown, or its row was deleted."""

    class Meta:
        verbose_name = _("hour of admitted turns")
        verbose_name_plural = _("hours of admitted turns")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00"


class WaitingAmendment(models.Model):
    """Token counts of a turn whose row is not there yet; it takes them when it is filed."""

    request_id = models.CharField(_("request"), max_length=64, primary_key=True)
    started_at = models.DateTimeField(_("started at"))
    since = models.DateTimeField(_("since"), db_index=True)
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"))
    completion_tokens = models.PositiveIntegerField(_("completion tokens"))

    class Meta:
        verbose_name = _("late token count")
        verbose_name_plural = _("late token counts")
        default_permissions = ()

    def __str__(self) -> str:
        return self.request_id
