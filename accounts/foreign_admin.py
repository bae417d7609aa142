"""Other applications' models on pages that look like ours: users, groups, schedules."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, User
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget


class UserAdmin(PlainUserAdmin[User], ModelAdmin):
    """Who may come into the console."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")


class GroupAdmin(PlainGroupAdmin, ModelAdmin):
    """What they may do there."""


class TaskWidget(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """The tasks that Celery knows."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    """With our widgets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskWidget()


class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin):
    """What runs when."""

    form = PeriodicTaskForm
    list_display = ("name", "enabled", "scheduler", "last_run_at", "total_run_count")
    list_filter = ("enabled", "one_off")
    date_hierarchy = None


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


def take_over() -> None:
    """Put our pages in the place of theirs, which were registered before."""
    for model, page in OURS.items():
        admin.site.unregister(model)
        admin.site.register(model, page)
