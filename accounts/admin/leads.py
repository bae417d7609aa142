"""The pages of keys and teams as team leads have them: nothing of other teams, by no way."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.contrib.filters.admin import RelatedDropdownFilter

from accounts.models import ApiKey, Team
from accounts.roles import leads, ranks
from accounts.roles.reach import (
    ADD_KEYS,
    CHANGE_KEYS,
    CHANGE_TEAMS,
    SEE_KEYS,
    SEE_TEAMS,
    assignable_teams,
    keys_of,
    own_teams,
    teams_of,
)  # fmt: skip


class TeamFilter(RelatedDropdownFilter):
    """Offers the teams that the reader may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        teams = own_teams(request.user, SEE_KEYS)
        choices: list[tuple[Any, str]] = field.get_choices(
            include_blank=False, ordering=("name",), limit_choices_to={"pk__in": teams}
        )
        return choices


class CheckedForm(ModelForm):
    """A form of keys that says at the field what a team lead may not do."""

    user: Any

    def _post_clean(self) -> None:
        # Only then the object has what was entered.
        super()._post_clean()  # type: ignore[misc]  # Django's, though without a place in the stubs
        if self.errors:
            return
        try:
            leads.check(self.user, self.instance)
        except ValidationError as exc:
            for field, texts in exc.message_dict.items():
                self.add_error(field if field in self.fields else None, texts)


class OwnKeys:
    """A mixin for the page of keys. Queries that do not begin with `get_queryset` must ask `may_change`."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return keys_of(request.user, SEE_KEYS, super().get_queryset(request))  # type: ignore[misc]  # a ModelAdmin's

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Of all keys, of a key, or of the id of one, which is what unfold asks with."""
        allowed: bool = super().has_change_permission(request, obj)  # type: ignore[misc]
        if not allowed or obj is None or (teams := teams_of(request.user, CHANGE_KEYS)) is None:
            return allowed
        if isinstance(obj, ApiKey):
            return obj.team_id in teams
        return str(obj).isdecimal() and keys_of(request.user, CHANGE_KEYS).filter(pk=obj).exists()

    def may_change(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        """Of these keys, those the user may change."""
        return keys_of(request.user, CHANGE_KEYS, queryset)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))  # type: ignore[misc]
        if teams_of(request.user, CHANGE_KEYS if obj else ADD_KEYS) is None:
            return fields
        return (*fields, *(name for name in leads.OPERATORS_ONLY if name not in fields))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Who can choose one team alone has it chosen; who is not bound to teams may mean none."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)  # type: ignore[misc]  # a ModelAdmin's
        if teams_of(request.user, ADD_KEYS) is None:
            return initial
        teams = list(assignable_teams(request.user)[:2])
        return ({"team": teams[0].pk} if len(teams) == 1 else {}) | initial

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """The list of teams has those that the key may be given to; a lead's key has a team."""
        if db_field.name != "team" or teams_of(request.user, CHANGE_KEYS) is None:
            return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]
        teams = assignable_teams(request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs, queryset=teams, required=True)  # type: ignore[misc]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[ModelForm]:
        form: type[ModelForm] = super().get_form(request, obj, change, **kwargs)  # type: ignore[misc]
        return type(form.__name__, (CheckedForm, form), {"user": request.user})


class MembersForm(ModelForm):
    """A form of teams that says at the field whose teams the reader may not change."""

    user: Any

    def clean_members(self) -> Any:
        members = self.cleaned_data["members"]
        ranks.check_members(self.user, self.instance.members.all() if self.instance.pk else (), members)
        return members


class OwnTeams:
    """A mixin for the page of teams, which also answers what the field of a key suggests."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        return own_teams(request.user, SEE_TEAMS, super().get_queryset(request))  # type: ignore[misc]  # a ModelAdmin's

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed: bool = super().has_change_permission(request, obj)  # type: ignore[misc]
        if not allowed or obj is None or (teams := teams_of(request.user, CHANGE_TEAMS)) is None:
            return allowed
        return getattr(obj, "pk", obj) in teams

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[ModelForm]:
        form: type[ModelForm] = super().get_form(request, obj, change, **kwargs)  # type: ignore[misc]
        if "members" not in form.base_fields:  # of a reader, or of a list
            return form
        return type(form.__name__, (MembersForm, form), {"user": request.user})
