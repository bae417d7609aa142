"""Maintenance windows: planned times in which instances take no turns."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models.team import zone_names
from bridge.models.order import announce_orders
from bridge.status.wanted import Mode

WEEK: Final = timedelta(days=7)
LONGEST: Final = timedelta(days=31)
YEARS: Final = range(2000, 3000)
"""In which a window may lie: at the ends of the calendar no time can be told in other zones."""
MOST: Final = 200
MOST_NAMES: Final = 200
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
MODES: Final = {each.value: _(each.label) for each in (Mode.DRAIN, Mode.STOP)}


class WindowQuerySet(models.QuerySet[Any, Any]):
    """Every way to change rows tells the web processes."""

    def update(self, **kwargs: Any) -> int:
        changed = super().update(**kwargs)
        announce_orders()
        return changed

    def delete(self) -> tuple[int, dict[str, int]]:
        deleted = super().delete()
        announce_orders()
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]  # Django keeps templates from calling what says so
    update.alters_data = True  # type: ignore[attr-defined]


class MaintenanceWindow(models.Model):
    """Once, or each week at the same times of day by the clock of its zone."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    enabled = models.BooleanField(_("enabled"), default=True, help_text=_("Switch it off to keep it for later."))
    instances = models.JSONField(
        _("instances"), default=list, blank=True, help_text=_("Names such as w1-i1; none: all of them.")
    )
    mode = models.CharField(
        _("mode"), max_length=8, choices=list(MODES.items()), default=Mode.DRAIN.value,
        help_text=_("Drain: they finish the turns they have. Stop: after that they end."),
    )  # fmt: skip
    starts_at = models.DateTimeField(_("begins"))
    ends_at = models.DateTimeField(_("ends"))
    weekly = models.BooleanField(_("every week"), default=False, help_text=_("Else once."))
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="UTC",
        help_text=_("Such as Asia/Shanghai. Each week it is the same time of day there, summer or winter."),
    )  # fmt: skip
    opened_at = models.DateTimeField(_("open since"), null=True, editable=False)
    """Since when it is open, as far as the audit log has been told."""

    objects = WindowQuerySet.as_manager()

    class Meta:
        verbose_name = _("maintenance window")
        verbose_name_plural = _("maintenance windows")
        ordering: ClassVar = ["starts_at", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="maintenancewindow_ends_later",
                violation_error_message=_("It ends before it begins."),
            ),
            models.CheckConstraint(condition=Q(mode__in=list(MODES)), name="maintenancewindow_mode"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        announce_orders()

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        deleted = super().delete(*args, **kwargs)
        announce_orders()
        return deleted

    def clean(self) -> None:
        wrong = {}
        if (names := _names(self.instances)) is None:
            wrong["instances"] = gettext("This is no list of names of instances.")
        else:
            self.instances = names
        if self.time_zone not in zone_names():
            wrong["time_zone"] = gettext("%(zone)s is no time zone.") % {"zone": str(self.time_zone)[:64]}
        for field in ("starts_at", "ends_at"):
            moment = getattr(self, field)
            if moment and moment.year not in YEARS:
                wrong[field] = gettext("It must be in the years from %(first)d to %(last)d.") % {
                    "first": YEARS[0], "last": YEARS[-1],
                }  # fmt: skip
        if self.starts_at and self.ends_at:
            longest = WEEK - timedelta(hours=2) if self.weekly else LONGEST
            if self.ends_at - self.starts_at > longest:
                wrong["ends_at"] = gettext("It is too long: a week less two hours each week, or 31 days once.")
        if self._state.adding and type(self).objects.count() >= MOST:
            wrong["name"] = gettext("There are %(most)d already.") % {"most": MOST}
        if wrong:
            raise ValidationError(wrong)


def _names(given: Any) -> list[str] | None:
    """Each once; None: it is something else."""
    if not isinstance(given, list) or len(given) > MOST_NAMES:
        return None
    if not all(isinstance(each, str) and NAME.fullmatch(each) for each in given):
        return None
    return list(dict.fromkeys(given))
