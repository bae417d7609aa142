"""Teams, which share keys and figures."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar
from zoneinfo import available_timezones

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models.changes import announce
from accounts.models.policy import Policy
from gateway_project.lib.visible import visible


@cache
def zone_names() -> frozenset[str]:
    """All that there are. Kept: they are read from hundreds of files.

    "localtime" is what this machine has chosen: another one, where the database is restored, may have none of it.
    """
    return frozenset(available_timezones() - {"localtime"})


def validate_time_zone(name: str) -> None:
    """Raise ValidationError for a zone that nobody knows."""
    if name and name not in zone_names():
        raise ValidationError(gettext("There is no time zone %(name)s.") % {"name": name})


class TeamQuerySet(models.QuerySet[Any]):
    """Keys take from their team what is empty at themselves, so a change of teams is one of their keys."""

    def update(self, **kwargs: Any) -> int:
        # Read before the change: afterwards the filter of this query set may not find the same rows.
        teams = list(self.order_by().values_list("pk", flat=True))
        changed = super().update(**kwargs)
        _announce_keys(teams)
        return changed

    update.alters_data = True  # type: ignore[attr-defined]  # Django keeps templates from calling what says so


class Team(Policy):
    name = models.CharField(_("name"), max_length=100, unique=True)
    members = models.ManyToManyField(
        "auth.User", blank=True, related_name="teams", verbose_name=_("members"),
        help_text=_("They see the usage of the team; those in the group Team lead also manage its keys."),
    )  # fmt: skip
    time_zone = models.CharField(
        _("time zone"), max_length=64, blank=True, default="", db_default="", validators=[validate_time_zone],
        help_text=_("In which days, weeks and months of budgets begin, such as Asia/Shanghai. Empty: the gateway's."),
    )  # fmt: skip
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    objects = TeamQuerySet.as_manager()

    class Meta:
        verbose_name = _("team")
        verbose_name_plural = _("teams")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return visible(self.name)

    @property
    def short_name(self) -> str:
        """As lists show it: on one line."""
        return Truncator(visible(self.name)).chars(32)

    def save(self, *args: Any, **kwargs: Any) -> None:
        # A new team has no keys yet that could have been read. Deleting one needs no announcement: its keys protect it.
        is_new = self.pk is None
        super().save(*args, **kwargs)
        if not is_new:
            _announce_keys([self.pk])


def _announce_keys(teams: list[int]) -> None:
    # By the registry: keys know their team, and a team's module does not know theirs.
    announce(apps.get_model("accounts", "ApiKey").objects.filter(team__in=teams).digests())
