"""What team leads may not do with the keys of their teams: give them away, or let them do more than the team may."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from accounts.models import LIMITS, ApiKey, Team, names_in
from accounts.patterns import allows
from accounts.roles.reach import ADD_KEYS, CHANGE_KEYS, teams_of

OPERATORS_ONLY: Final = ("scopes", "tool_mode", "tool_approval", "content_logging")
"""Columns of a key that open what no team owns: the gateway's metrics, Lingma's own tools, what people say."""


def is_operator(user: Any) -> bool:
    """Whether the user changes keys of all teams, and not only those of their own."""
    return teams_of(user, CHANGE_KEYS) is None


def check(user: Any, key: ApiKey) -> None:
    """Raise ValidationError, with a text for each field, when this user may not save the key as it is now.

    For everybody whose rights do not end with their teams it does nothing.
    """
    teams = teams_of(user, CHANGE_KEYS if key.pk else ADD_KEYS)
    if teams is None:
        return
    before = ApiKey.objects.filter(pk=key.pk).first() if key.pk else ApiKey()
    # Both teams: neither takes a lead a key from others, nor gives one away.
    if before is None or key.team is None or key.team_id not in teams or (key.pk and before.team_id not in teams):
        raise ValidationError({"team": gettext("Choose a team that you are a member of.")})
    errors = {
        **_limits_above(key, key.team),
        **_wider(key, key.team),
        **{
            name: gettext("Only operators change this.")
            for name in OPERATORS_ONLY
            if getattr(key, name) != getattr(before, name)
        },
    }
    if errors:
        raise ValidationError(errors)


def _limits_above(key: ApiKey, team: Team) -> dict[str, str]:
    # 0 at a key is fine: the team's own limit counts all the same.
    text = gettext("The team has %(limit)s.")
    return {
        name: text % {"limit": f"{getattr(team, name):,}"}
        for name in LIMITS
        if 0 < getattr(team, name) < getattr(key, name)
    }


def _wider(key: ApiKey, team: Team) -> dict[str, str]:
    # What is empty at the key follows the team; what is not stands in the place of what the team says.
    errors = {}
    if key.allowed_models and not _models_within(names_in(key.allowed_models), names_in(team.allowed_models)):
        errors["allowed_models"] = gettext("The team may use %(names)s.") % {"names": team.allowed_models}
    if key.allowed_networks and not _networks_within(names_in(key.allowed_networks), names_in(team.allowed_networks)):
        errors["allowed_networks"] = gettext("The team may be used from %(names)s.") % {"names": team.allowed_networks}
    return errors


def _models_within(inner: list[str], outer: list[str]) -> bool:
    # What the team forbids has to be forbidden by the key as well: its list stands in the place of the team's.
    if any(name.startswith("!") and name not in inner for name in outer):
        return False
    allowed = frozenset(name for name in outer if not name.startswith("!"))
    wanted = [name for name in inner if not name.startswith("!")]
    # A list that only forbids allows all else, so it would be wider than a team's that allows some.
    return not allowed or (bool(wanted) and all(_is_pattern_within(name, allowed) for name in wanted))


def _is_pattern_within(pattern: str, allowed: frozenset[str]) -> bool:
    # It is tried as if it were a name: `gpt-5*` fits `gpt-*`. But its `*` is more than the one character of a `?`.
    if "*" in pattern:
        allowed = frozenset(each for each in allowed if "?" not in each or each == pattern)
    return bool(allowed) and allows(allowed, [pattern])


def _networks_within(inner: list[str], outer: list[str]) -> bool:
    allowed = [ipaddress.ip_network(network, strict=False) for network in outer]
    return not allowed or all(any(_is_within(name, network) for network in allowed) for name in inner)


def _is_within(name: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    inner: Any = ipaddress.ip_network(name, strict=False)
    return bool(inner.version == network.version and inner.subnet_of(network))
