"""Who may do more than whom: nobody changes a user by whom they could do what they may not do themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext

from accounts.models import Team
from accounts.roles.reach import CHANGE_TEAMS, teams_of


def may_do_more(user: Any, other: User | None) -> bool:
    """Whether the other one may, or once active again could, do what the user may not."""
    if other is None or other.pk == user.pk or user.is_superuser:
        return False
    if other.is_superuser:
        return True
    # From the tables, for Django answers for a user who is not active that he may do nothing.
    held = Permission.objects.filter(Q(user=other) | Q(group__user=other)).select_related("content_type")
    theirs = {f"{each.content_type.app_label}.{each.codename}" for each in held}
    return not theirs <= user.get_all_permissions() or _in_more_teams(user, other)


def check_members(user: Any, before: Iterable[User], after: Iterable[User]) -> None:
    """Raise ValidationError when members are added or removed who may do more than the user."""
    for each in set(before) ^ set(after):
        if may_do_more(user, each):
            refusal = gettext("%(user)s may do more than you; a superuser must do it.")
            raise ValidationError(refusal % {"user": each.get_username()})


def _in_more_teams(user: Any, other: User) -> bool:
    if teams_of(user, CHANGE_TEAMS) is None:  # who may join any team has them all
        return False
    return Team.objects.filter(members=other).exclude(members=user).exists()
