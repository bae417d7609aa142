"""Keeps the history of the console: users with log entries are not deleted but deactivated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.translation import gettext


class ProtectedHistory:
    """A page of users that refuses a deletion with the reason: Django would delete the log entries too."""

    def get_deleted_objects(self, objs: Iterable[User], request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        """The reasons stand where the page names what is protected."""
        users = list(objs)
        listed, counts, missing, protected = super().get_deleted_objects(users, request)  # type: ignore[misc]  # a page's
        reasons = [*_themselves(users, request), *_with_history(users), *_last_superusers(users)]
        return listed, counts, set() if reasons else missing, [*protected, *reasons]


def _themselves(users: list[User], request: HttpRequest) -> list[str]:
    return [gettext("%(user)s: that is you.") % {"user": user} for user in users if user.pk == request.user.pk]


def _with_history(users: list[User]) -> list[str]:
    text = gettext("%(user)s: what they did stays in the history. Take away Active instead, and nobody can log in so.")
    # Django deletes log entries with their user, and with them the record of who did what.
    acted = set(LogEntry.objects.filter(user__in=users).values_list("user", flat=True))
    return [text % {"user": user} for user in users if user.pk in acted]


def _last_superusers(users: list[User]) -> list[str]:
    # Without a superuser nobody could make one again in the console.
    staying = User.objects.filter(is_superuser=True, is_active=True).exclude(pk__in=[user.pk for user in users])
    if staying.exists():
        return []
    return [gettext("%(user)s: nobody else may manage users.") % {"user": user} for user in users if user.is_superuser]
