"""How far a permission reaches: over all teams, or over those a team lead is a member of."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

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


class _Reach(NamedTuple):
    """What the rights of somebody reach who has the group of team leads."""

    everywhere: frozenset[str]
    """What they have by another way too, and so over everything."""
    teams: frozenset[int]


def teams_of(user: Any, permission: str) -> frozenset[int] | None:
    """Ids of the teams over which the user has this permission; None: over everything, keys without a team too.

    Superusers, and those who have it by another way than the group of team leads, have it over everything.
    """
    if user.is_active and user.is_superuser:
        return None
    accepted = {permission, IMPLIED_BY.get(permission, permission)}
    if not user.is_authenticated or not any(user.has_perm(each) for each in accepted):
        return frozenset()
    # Kept on the user as Django keeps its permissions: one page asks many times.
    if "_reach" not in user.__dict__:
        user.__dict__["_reach"] = _reach_of(user)
    reach: _Reach | None = user.__dict__["_reach"]
    return None if reach is None or accepted & reach.everywhere else reach.teams


def _reach_of(user: Any) -> _Reach | None:
    """None: it ends nowhere, for the user is no team lead."""
    if not user.groups.filter(name=TEAM_LEAD).exists():
        return None
    # From the tables, as `has_perm` does not say by which way somebody has it.
    other_ways = Q(user=user) | Q(group__in=user.groups.exclude(name=TEAM_LEAD))
    held = Permission.objects.filter(other_ways, content_type__app_label="accounts").order_by()
    return _Reach(
        everywhere=frozenset(f"accounts.{name}" for name in held.values_list("codename", flat=True)),
        teams=joined_teams(user),
    )


def joined_teams(user: Any) -> frozenset[int]:
    """Ids of the teams that somebody is a member of."""
    if "_joined_teams" not in user.__dict__:  # kept like the reach: what is theirs and what they see are both asked for
        user.__dict__["_joined_teams"] = frozenset(user.teams.values_list("pk", flat=True))
    found: frozenset[int] = user.__dict__["_joined_teams"]
    return found


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
