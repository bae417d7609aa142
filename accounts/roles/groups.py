"""The groups of every installation. Their permissions are set anew at each `migrate`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.models import QuerySet

from accounts.audit.context import unrecorded
from accounts.models import AuditEntry

OPERATOR: Final = "Operator"
VIEWER: Final = "Viewer"
TEAM_LEAD: Final = "Team lead"
SHIPPED: Final = (OPERATOR, VIEWER, TEAM_LEAD)
OPERATED: Final = ("accounts", "sessions_store", "bridge", "django_celery_beat")
"""The apps whose pages operators work with. Users, groups and what they log in with are for superusers."""
LEADS: Final = ("add_apikey", "change_apikey", "view_apikey", "view_team", "use_playground")
"""Not `view_usage`, which is about the usage of all: members see the usage of their teams without it."""
OF_USERS: Final = ("add_apitoken", "change_apitoken")
"""With a token one is its user. To see and to end tokens is for operators too."""
OF_NOBODY: Final = ("view_content",)
"""What people have said to a model is for those to read who are given the right by name."""


def install(using: str = "default", **_: Any) -> None:
    """Make the groups, and give them what this version says. Django calls this at the end of every `migrate`."""
    needed = {model._meta.db_table for model in (Group, ContentType, AuditEntry)}
    if not needed <= set(connections[using].introspection.table_names()):
        return  # another app was migrated alone, before there are users
    # Django makes the permissions of an app when its turn comes, which may be after ours.
    for label in OPERATED:
        create_permissions(apps.get_app_config(label), verbosity=0, using=using)
    operated = Permission.objects.using(using).filter(content_type__app_label__in=OPERATED)
    operated = operated.exclude(codename__in=[*OF_USERS, *OF_NOBODY])
    _set(using, OPERATOR, operated)
    _set(using, VIEWER, operated.filter(codename__startswith="view_"))
    _set(using, TEAM_LEAD, operated.filter(codename__in=LEADS, content_type__app_label="accounts"))


def _set(using: str, name: str, permissions: QuerySet[Permission]) -> None:
    found = Group.objects.using(using).filter(name=name).first()
    # A permission that comes or goes later is a change like any other.
    with nullcontext() if found else unrecorded():
        group = found or Group.objects.using(using).create(name=name)
        group.permissions.set(permissions)  # writes only what differs
