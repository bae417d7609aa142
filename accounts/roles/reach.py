"""How far a permission reaches: over all teams, or over those a team lead is a member of."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.models import Permission
from django.db.models import Q, QuerySet

from accounts.models import ApiKey, Team
from accounts.roles.groups import TEAM_LEAD

SEE_KEYS: Final = "accounts.view_apikey"
CHANGE_KEYS: Final = "accounts.change_apikey"
ADD_KEYS: Final = "accounts.add_apikey"
SEE_TEAMS: Final = "accounts.view_team"
CHANGE_TEAMS: Final = "accounts.change_team"
USE_PLAYGROUND: Final = "accounts.use_playground"
IMPLIED_BY: Final = {SEE_KEYS: CHANGE_KEYS, SEE_TEAMS: CHANGE_TEAMS}
"""Who may change may look, in Django's console."""


def teams_of(user: Any, permission: str) -> frozenset[int] | None:
    """Ids of the teams over which the user has this permission; None: over everything, keys without a team too.

    Superusers, and those who have it by another way than the group of team leads, have it over everything.
    """
    if user.is_active and user.is_superuser:
        return None
    # Kept on the user as Django keeps its permissions: one page asks many times.
    cache: dict[str, frozenset[int] | None] = user.__dict__.setdefault("_teams_of", {})
    if permission not in cache:
        cache[permission] = _teams_of(user, permission)
    return cache[permission]


def _teams_of(user: Any, permission: str) -> frozenset[int] | None:
    accepted = {permission, IMPLIED_BY.get(permission, permission)}
    if not user.is_authenticated or not any(user.has_perm(each) for each in accepted):
        return frozenset()
    if not user.groups.filter(name=TEAM_LEAD).exists():
        return None
    names = [each.partition(".")[2] for each in accepted]
    # From the tables, as `has_perm` does not say by which way somebody has it.
    held = Permission.objects.filter(content_type__app_label="accounts", codename__in=names)
    if held.filter(Q(user=user) | Q(group__in=user.groups.exclude(name=TEAM_LEAD))).exists():
        return None
    return frozenset(user.teams.values_list("pk", flat=True))


def keys_of(user: Any, permission: str = SEE_KEYS, keys: QuerySet[ApiKey] | None = None) -> QuerySet[ApiKey]:
    """The keys over which the user has this permission."""
    found: QuerySet[ApiKey] = ApiKey.objects.all() if keys is None else keys
    teams = teams_of(user, permission)
    return found if teams is None else found.filter(team__in=teams)


def own_teams(user: Any, permission: str = SEE_TEAMS, teams: QuerySet[Team] | None = None) -> QuerySet[Team]:
    """The teams over which the user has this permission."""
    found: QuerySet[Team] = Team.objects.all() if teams is None else teams
    ids = teams_of(user, permission)
    return found if ids is None else found.filter(pk__in=ids)


def assignable_teams(user: Any) -> QuerySet[Team]:
    """The teams that the user may give a key to."""
    reaches = [teams_of(user, permission) for permission in (ADD_KEYS, CHANGE_KEYS)]
    if None in reaches:
        return Team.objects.all()
    return Team.objects.filter(pk__in=frozenset().union(*filter(None, reaches)))
