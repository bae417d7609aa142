"""Who may see which usage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext

from accounts.roles.reach import joined_teams

SEES_ALL = "accounts.view_usage"


@dataclass(frozen=True, slots=True)
class Visibility:
    """All usage, or that of some teams."""

    everything: bool
    teams: frozenset[int] = frozenset()

    @property
    def nothing(self) -> bool:
        """To be said as "you may not", never as "there is none"."""
        return not self.everything and not self.teams

    @property
    def condition(self) -> Q:
        """Of usage rows and of their sums by the hour; both have the team that the key had then."""
        return Q() if self.everything else Q(team_id__in=sorted(self.teams))


def why_nothing() -> str:
    """What to say to one who sees nothing."""
    return gettext("You are in no team, and have no right to see the usage of all. Ask an operator for either.")


def visible_to(user: Any) -> Visibility:
    """Operators and viewers, who have the permission, see all; members their teams; everybody else nothing.

    The group of team leads must not have the permission: it is about the usage of all.
    """
    if not user.is_authenticated or not user.is_active:
        return Visibility(everything=False)
    if user.has_perm(SEES_ALL):
        return Visibility(everything=True)
    return Visibility(everything=False, teams=joined_teams(user))
