"""Other applications' models on pages that look like ours: users, groups, schedules."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.timesince import timesince
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.history import KeptHistory


class UserAdmin(KeptHistory, PlainUserAdmin[User], ModelAdmin):
    """Who may come into the console."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """What somebody may do is the superusers' to say: others would give it to themselves."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if is_superuser(request) else (*fields, "is_superuser", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Their passwords as well: nobody may take over a user who may do more."""
        return super().has_change_permission(request, obj) and not may_do_more(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """The same holds for an end to them."""
        return super().has_delete_permission(request, obj) and not may_do_more(request, obj)


class GroupAdmin(PlainGroupAdmin, ModelAdmin):
    """What they may do there."""

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        """A group gives what it holds to its members, who may be the ones that edit it."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if is_superuser(request) else (*fields, "permissions")


def is_superuser(request: HttpRequest) -> bool:
    """Whether the caller may do everything."""
    return isinstance(request.user, User) and request.user.is_superuser


def may_do_more(request: HttpRequest, other: User | None) -> bool:
    """Whether the other user may, or once active again could, do what the caller may not."""
    if other is None or is_superuser(request):
        return False
    if other.is_superuser:
        return True
    held = Permission.objects.filter(Q(user=other) | Q(group__user=other)).select_related("content_type")
    theirs = {f"{each.content_type.app_label}.{each.codename}" for each in held}
    return not (isinstance(request.user, User) and theirs <= request.user.get_all_permissions())


class TaskWidget(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """The tasks that Celery knows."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    """With our widgets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = widget = TaskWidget()
        if (self.instance.task, self.instance.task) in widget.choices:
            self.initial |= {"regtask": self.instance.task, "task": ""}


class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin):
    """What runs when."""

    form = PeriodicTaskForm
    list_display = ("name", "enabled", "scheduler", "last_run", "runs")
    list_filter = ("enabled", "one_off")
    date_hierarchy = None

    @display(description="Last run", ordering="last_run_at")
    def last_run(self, obj: PeriodicTask) -> str | None:
        """How long ago it was handed to a worker; None when never."""
        if obj.last_run_at is None:
            return None
        seconds = max(0, round((timezone.now() - obj.last_run_at).total_seconds()))
        return f"{seconds} s ago" if seconds < 60 else f"{timesince(obj.last_run_at, depth=1)} ago"

    @display(description="Runs", ordering="total_run_count")
    def runs(self, obj: PeriodicTask) -> str:
        """Since it was made."""
        return f"{obj.total_run_count:,}"


class IntervalScheduleAdmin(ModelAdmin):
    """Every so often."""


class CrontabScheduleAdmin(beat.CrontabScheduleAdmin, ModelAdmin):
    """At certain times."""


class SolarScheduleAdmin(ModelAdmin):
    """With the sun."""


class ClockedScheduleAdmin(beat.ClockedScheduleAdmin, ModelAdmin):
    """Once."""


OURS: dict[Any, type[ModelAdmin]] = {
    User: UserAdmin,
    Group: GroupAdmin,
    PeriodicTask: PeriodicTaskAdmin,
    IntervalSchedule: IntervalScheduleAdmin,
    CrontabSchedule: CrontabScheduleAdmin,
    SolarSchedule: SolarScheduleAdmin,
    ClockedSchedule: ClockedScheduleAdmin,
}


ROOMS = {"auth": "Console", "django_celery_beat": "Schedules"}


def take_over() -> None:
    """Put our pages in the place of theirs, which were registered before, under the names of our sidebar."""
    for label, name in ROOMS.items():
        apps.get_app_config(label).verbose_name = name
    for model, page in OURS.items():
        admin.site.unregister(model)
        admin.site.register(model, page)
