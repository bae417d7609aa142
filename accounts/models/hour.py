"""Sums of usage rows by the hour: what pages and exports add up instead of reading every row."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, ClassVar, Final

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.key import ApiKey
from accounts.models.team import Team
from accounts.models.usage import Usage

# A change makes columns, and old counts cannot be split: `rebuild_usage` has to make all sums anew.
BOUNDS_MS: Final = (25, 50, 100, 200, 350, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 60_000)
"""Upper bounds of the histograms' buckets, in milliseconds; the last bucket has none.

Fixed, so that counts of any rows add up, and a percentile can be taken of the sum.
"""
HISTOGRAMS: Final = ("first_token", "queue", "total")
DIMENSIONS: Final = (
    "hour", "api_key_id", "team_id", "protocol", "endpoint", "lingma_model", "agent", "status", "reason",
    "usage_source",
)  # fmt: skip
"""Not the model that was asked for: clients choose that word, and each would make rows of its own."""
SUMS: Final = ("turns", "prompt_tokens", "completion_tokens", "busy_ms", "queue_ms", "reused")


def bucket_of(ms: int) -> int:
    """The bucket that a time falls into, from 0 on."""
    return bisect_left(BOUNDS_MS, ms)


def bucket_column(histogram: str, bucket: int) -> str:
    return f"{histogram}_{bucket}"


BUCKET_COLUMNS: Final = tuple(
    bucket_column(histogram, bucket) for histogram in HISTOGRAMS for bucket in range(len(BOUNDS_MS) + 1)
)


class UsageHour(models.Model):
    """The sums of all usage rows with the same dimensions that started in one hour (UTC).

    Written in the transaction that writes the rows, so that sums and rows never differ.
    """

    hour = models.DateTimeField(_("hour"))
    # No constraint, for a key or a team may go while its last rows are on their way; and nothing to do when it goes,
    # for usage protects it as long as there are rows. No index: those below begin with the column.
    api_key = models.ForeignKey(
        ApiKey, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+",
        verbose_name=_("key"),
    )  # fmt: skip
    team = models.ForeignKey(
        Team, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+",
        verbose_name=_("team"),
    )  # fmt: skip
    protocol = models.CharField(_("protocol"), max_length=16)
    endpoint = models.CharField(_("endpoint"), max_length=64)
    lingma_model = models.CharField(_("model used"), max_length=128, blank=True)
    agent = models.CharField(_("program"), max_length=32, choices=Usage.Agent, blank=True)
    status = models.CharField(_("status"), max_length=16, choices=Usage.Status)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    usage_source = models.CharField(_("tokens from"), max_length=16, blank=True)
    digest = models.CharField(_("digest"), max_length=32, unique=True, editable=False)
    """Of all dimensions: what an upsert finds its row by. Null keys and teams would be unequal in a unique index."""
    turns = models.PositiveBigIntegerField(_("turns"), default=0)
    prompt_tokens = models.PositiveBigIntegerField(_("prompt tokens"), default=0)
    completion_tokens = models.PositiveBigIntegerField(_("completion tokens"), default=0)
    busy_ms = models.PositiveBigIntegerField(_("busy (ms)"), default=0)
    queue_ms = models.PositiveBigIntegerField(_("queued (ms)"), default=0)
    reused = models.PositiveBigIntegerField(_("sessions reused"), default=0)

    class Meta:
        verbose_name = _("hour of usage")
        verbose_name_plural = _("hours of usage")
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["hour"], name="usagehour_hour"),
            models.Index(fields=["team", "hour"], name="usagehour_team_hour"),
            models.Index(fields=["api_key", "hour"], name="usagehour_key_hour"),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00 {self.lingma_model} {self.status}"


def _add_buckets() -> None:
    # Columns and not one text: the database adds them up without anybody parsing.
    for name in BUCKET_COLUMNS:
        field: Any = models.PositiveBigIntegerField(_("turns in a span of time"), default=0, editable=False)
        UsageHour.add_to_class(name, field)


_add_buckets()
