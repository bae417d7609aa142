"""The rows of one day, column by column: what pages add up where filters leave much of the usage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from django.db import connection, models
from django.utils.translation import gettext_lazy as _

_DROP = "DELETE FROM accounts_usageday WHERE accounts_usageday.day = %s"


class UsageDay(models.Model):
    """One column of all rows of a finished day (UTC), in the order in which they started.

    Made of the rows when the day is over, and dropped with the first change of one of them. The row whose `name` is ""
    says whether the day is `ready`; its data is the mark of this making of the day, for whoever keeps columns of it.
    """

    day = models.DateTimeField(_("day"))
    name = models.CharField(_("column"), max_length=32, blank=True)
    ready = models.BooleanField(_("ready"), default=True)
    data = models.BinaryField(_("data"), db_default=b"")
    """As `accounts.ledger.days.Column` packs it: read as a whole, and a twentieth of the size of rows."""

    class Meta:
        verbose_name = _("day of usage")
        verbose_name_plural = _("days of usage")
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["day", "name"], name="usageday_column")]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.name}"

    @classmethod
    def drop(cls, times: Iterable[datetime]) -> None:
        """Rows of the days of these times (UTC) have changed. In the transaction that changes them."""
        days = {at.replace(hour=0, minute=0, second=0, microsecond=0) for at in times}
        # Past the ORM: with each batch of rows, and mostly there is nothing to delete.
        # One by one, for mostly it is one, and `executemany` of PostgreSQL's driver takes twice as long for that.
        with connection.cursor() as cursor:
            for day in days:
                cursor.execute(_DROP, [connection.ops.adapt_datetimefield_value(day)])
