"""The time zone of a page: the one that the reader chose; without a choice, that of the one team that is looked at."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest

from accounts.models import Team
from accounts.models.team import zone_names
from accounts.reports.visibility import Visibility, visible_to

COOKIE: Final = "lgw_zone"
COOKIE_AGE: Final = 31_536_000
NO_CHOICE: Final = "auto"


def chosen_zone(request: HttpRequest) -> str:
    """The zone chosen on this browser, "" for none."""
    chosen = request.COOKIES.get(COOKIE, "")
    return chosen if chosen in zone_names() else ""


def zone_of(request: HttpRequest) -> ZoneInfo:
    return ZoneInfo(chosen_zone(request) or settings.TIME_ZONE)


def zone_of_usage(request: HttpRequest) -> ZoneInfo:
    """Of a page with the filters of usage."""
    if not (chosen := chosen_zone(request)):
        team = one_team(request.GET.getlist("team"), visible_to(request.user))
        chosen = team.time_zone if team else ""
    return ZoneInfo(chosen or settings.TIME_ZONE)


def one_team(asked: list[str], visibility: Visibility) -> Team | None:
    """The only team that is asked for, or that the reader may see."""
    asked = [text for each in asked if (text := each.strip())]
    teams = Team.objects.all() if visibility.everything else Team.objects.filter(pk__in=visibility.teams)
    if not asked:
        return teams.first() if len(visibility.teams) == 1 and not visibility.everything else None
    # Of what the filters refuse anyway no question is asked.
    if len(asked) > 1 or len(asked[0]) > 128 or "\0" in asked[0] or (asked[0].isdecimal() and len(asked[0]) > 18):
        return None
    return teams.filter(**({"pk": asked[0]} if asked[0].isdecimal() else {"name": asked[0]})).first()
