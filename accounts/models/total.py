"""Sums of the sums by the hour, for what pages ask most: a month of usage is some thousand of them."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.hour import BOUNDS_MS, bucket_column
from accounts.models.key import ApiKey
from accounts.models.team import Team

TOTALS: Final = (
    "turns", "ok", "failed", "refused", "cancelled", "faults", "turned_away", "prompt_tokens", "completion_tokens",
    "estimated_turns", "counted_turns", "busy_ms", "sessions_reused",
)  # fmt: skip
"""By status and by who caused a failure: columns, so that one row is enough for all of them."""
TOTAL_HISTOGRAMS: Final = ("first_token", "queue")
TOTAL_BUCKETS: Final = tuple(
    bucket_column(histogram, bucket) for histogram in TOTAL_HISTOGRAMS for bucket in range(len(BOUNDS_MS) + 1)
)


class UsageTotal(models.Model):
    """The sums of some hours of usage. Written with the hours, and made of nothing but them."""

    class Level(models.TextChoices):
        """What there is a row for, beside the period; all other columns are empty."""

        HOUR = "hour", _("an hour of a team")
        KEY = "key", _("a day of a key and its team")
        KIND = "kind", _("a day of a model, a program and a reason")

    level = models.CharField(_("level"), max_length=8, choices=Level)
    period = models.DateTimeField(_("period"))
    """Its beginning, of an hour or a day of UTC."""
    team = models.ForeignKey(
        Team, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+",
        verbose_name=_("team"),
    )  # fmt: skip
    api_key = models.ForeignKey(
        ApiKey, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+",
        verbose_name=_("key"),
    )  # fmt: skip
    lingma_model = models.CharField(_("model used"), max_length=128, blank=True)
    agent = models.CharField(_("program"), max_length=32, blank=True)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    digest = models.CharField(_("digest"), max_length=32, unique=True, editable=False)

    class Meta:
        verbose_name = _("total of usage")
        verbose_name_plural = _("totals of usage")
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["level", "period"], name="usagetotal_level_period"),
            models.Index(fields=["api_key", "period"], name="usagetotal_key_period"),
        ]

    def __str__(self) -> str:
        return f"{self.level} {self.period:%Y-%m-%d %H}:00"


def _add_sums() -> None:
    for name in (*TOTALS, *TOTAL_BUCKETS):
        field: Any = models.PositiveBigIntegerField(_("sum"), default=0, editable=False)
        UsageTotal.add_to_class(name, field)


_add_sums()
