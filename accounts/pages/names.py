"""Names of teams and keys for those who may see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from django.db.models import Q
from django.utils.translation import gettext

from accounts.models import ApiKey, Team
from accounts.reports.filters import NOT
from accounts.reports.visibility import Visibility
from gateway_project.lib.visible import visible

MOST: Final = 1_000


class Names:
    """Each read once for a page. What has no name here was deleted, or belongs to others."""

    def __init__(self, teams: Mapping[int, str], keys: Mapping[int, str], *, everything: bool) -> None:
        self.teams = teams
        self.key_names = keys
        self.everything = everything
        """Whether the reader sees the usage of all."""

    def team(self, pk: int | None) -> str:
        if pk is None:
            return gettext("no team")
        return self.teams.get(pk) or gettext("team %(id)s") % {"id": pk}

    def key(self, pk: int | None) -> str:
        if pk is None:
            return gettext("deleted key")
        return self.key_names.get(pk) or gettext("key %(id)s") % {"id": pk}

    @property
    def keys(self) -> list[str]:
        return sorted(set(self.key_names.values()))


def names_for(visibility: Visibility, on_rows: Iterable[int], asked: Iterable[str] = ()) -> Names:
    """All teams that the reader may see, the keys that stand on rows which the reader may see, and those asked for.

    Whoever asks for a key by its id learns its name only if it is a key of their teams.
    """
    teams = Team.objects.all() if visibility.everything else Team.objects.filter(pk__in=visibility.teams)
    shown = list(dict.fromkeys(on_rows))[:MOST]
    wanted = Q(pk__in=shown)
    if ids := [int(text) for each in asked if (text := each.removeprefix(NOT)).isdecimal()]:
        # The condition is one of usage rows, and keys have their team in a column of the same name.
        wanted |= Q(pk__in=ids) & visibility.condition
    found = ApiKey.objects.filter(wanted).values_list("pk", "name") if shown or ids else ()
    return Names(
        {pk: visible(name) for pk, name in teams.order_by("name").values_list("pk", "name")[:MOST]},
        {pk: visible(name) for pk, name in found},
        everything=visibility.everything,
    )
