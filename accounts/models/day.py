"""Sums of one day by one value of one filter: what pages of many days read where a filter leaves much of the usage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class UsageDay(models.Model):
    """What the rows of a finished day (UTC) with one value in one column add up to, in three ways.

    Made of the rows when the day is over, and dropped with the first change of one of them. The row whose `name` is ""
    says that the day is `ready`; its sums are the names of columns of which not every value has a row.
    """

    day = models.DateTimeField(_("day"))
    name = models.CharField(_("column"), max_length=16, blank=True)
    value = models.CharField(_("value"), max_length=128, blank=True)
    ready = models.BooleanField(_("ready"), default=True)
    # MessagePack: lists of what is grouped by and the sums. Read as a whole, and a tenth of the size of rows.
    by_hour = models.BinaryField(_("by hour"))
    by_caller = models.BinaryField(_("by team and key"))
    by_kind = models.BinaryField(_("by model, program and reason"))

    class Meta:
        verbose_name = _("day of usage")
        verbose_name_plural = _("days of usage")
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["name", "value", "day"], name="usageday_value")]
        indexes: ClassVar = [models.Index(fields=["day"], name="usageday_day")]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.name} {self.value}"

    @classmethod
    def drop(cls, times: Iterable[datetime]) -> None:
        """Rows of the days of these times (UTC) have changed. In the transaction that changes them."""
        days = {at.replace(hour=0, minute=0, second=0, microsecond=0) for at in times}
        cls.objects.filter(day__in=days).delete()
