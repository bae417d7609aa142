"""Users who stay: nobody deletes or deactivates themselves, or the last superuser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext
from unfold.forms import UserChangeForm

NEEDED: Final = ("is_active", "is_staff", "is_superuser")
"""What a superuser must be to manage users in the console."""


class StayingUserForm(UserChangeForm):
    reader: Any
    """Who has sent the form."""

    def clean(self) -> dict[str, Any] | None:
        cleaned: dict[str, Any] = super().clean() or {}
        # Only what the form has: the rest is not changed by it.
        lost = [name for name in NEEDED if name in self.fields and self.initial.get(name) and not cleaned.get(name)]
        for name in lost:
            # Their superuser status people may give away, as long as somebody else has it.
            if self.instance.pk == self.reader.pk and name != "is_superuser":
                self.add_error(name, ValidationError(gettext("This is you: another superuser must do it.")))
            elif self.instance.is_superuser and not other_superusers([self.instance]):
                self.add_error(name, ValidationError(gettext("Nobody else may manage users.")))
        return cleaned


class StayingUsers:
    """A page of users that refuses a deletion with the reason, one by one and of many."""

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]  # a ModelAdmin's
        return type(form.__name__, (form,), {"reader": request.user})

    def get_deleted_objects(self, objs: Iterable[User], request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        """The reasons stand where the page names what is protected."""
        users = list(objs)
        listed, counts, missing, protected = super().get_deleted_objects(users, request)  # type: ignore[misc]  # as above
        reasons = [*_themselves(users, request), *_last_superusers(users)]
        return listed, counts, set() if reasons else missing, [*protected, *reasons]


def other_superusers(users: list[User]) -> bool:
    """Whether somebody besides these may manage users in the console."""
    staying = User.objects.filter(**dict.fromkeys(NEEDED, True)).exclude(pk__in=[user.pk for user in users])
    return staying.exists()


def _themselves(users: list[User], request: HttpRequest) -> list[str]:
    return [gettext("%(user)s: that is you.") % {"user": user} for user in users if user.pk == request.user.pk]


def _last_superusers(users: list[User]) -> list[str]:
    # Without a superuser nobody could make one again in the console.
    if other_superusers(users):
        return []
    return [gettext("%(user)s: nobody else may manage users.") % {"user": user} for user in users if user.is_superuser]
