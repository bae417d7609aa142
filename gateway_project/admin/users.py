"""Users and groups, in the console's design; nobody can give themselves more rights."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm

from accounts.audit.history import AuditHistory
from accounts.roles.groups import SHIPPED
from accounts.roles.ranks import may_do_more
from gateway_project.admin.new_user import NewUsers, is_superuser
from gateway_project.admin.staying import StayingUserForm, StayingUsers

ACTIONS = {
    "add": _("Can add %(name)s"),
    "change": _("Can change %(name)s"),
    "delete": _("Can delete %(name)s"),
    "view": _("Can view %(name)s"),
}


def permission_label(permission: Permission) -> str:
    """Django writes the names into the database, in English: translated here, if the models still have them."""
    action, __, model = permission.codename.partition("_")
    kind = permission.content_type
    if (of := kind.model_class()) is None:
        return str(permission)
    names = dict(of._meta.permissions)
    if action in ACTIONS and model == kind.model:
        names[permission.codename] = ACTIONS[action] % {"name": of._meta.verbose_name}
    return f"{kind} | {names.get(permission.codename, permission.name)}"


class TranslatedPermissions:
    """A page on which permissions are chosen."""

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]  # of a page
        # By the label alone: the names in the database stay English, since commands and other languages read them.
        if db_field.remote_field.model is Permission:
            field.label_from_instance = permission_label
        return field


class UserAdmin(NewUsers, StayingUsers, AuditHistory, TranslatedPermissions, PlainUserAdmin, ModelAdmin):
    form = StayingUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Only superusers grant rights: others would grant them to themselves."""
        fields = tuple(super().get_readonly_fields(request, obj))
        # Read-only and not hidden: who may see the page sees what a user may do.
        return fields if is_superuser(request) else (*fields, "is_superuser", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Also guards passwords: nobody may take over a user who may do more."""
        return super().has_change_permission(request, obj) and not may_do_more(request.user, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not may_do_more(request.user, obj)


class GroupAdmin(AuditHistory, TranslatedPermissions, PlainGroupAdmin, ModelAdmin):
    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        """A group gives what it holds to its members, who may be the ones that edit it."""
        fields = tuple(super().get_readonly_fields(request, obj))
        # By its name a group is known as one whose rights end with the teams: under another they would not.
        fields += ("name",) if obj is not None and obj.name in SHIPPED else ()
        return fields if is_superuser(request) else (*fields, "permissions")


USER_PAGES: dict[Any, type[ModelAdmin]] = {User: UserAdmin, Group: GroupAdmin}
