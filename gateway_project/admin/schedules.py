"""Celery's schedules, on pages that look like ours."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from gateway_project.lib.cells import seconds_ago


class TaskWidget(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """The tasks that Celery knows."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = widget = TaskWidget()
        if (self.instance.task, self.instance.task) in widget.choices:
            self.initial |= {"regtask": self.instance.task, "task": ""}


class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin):
    form = PeriodicTaskForm
    list_display = ("name", "enabled", "scheduler", "last_run", "runs")
    list_filter = ("enabled", "one_off")
    date_hierarchy = None

    @display(description=_("Last run"), ordering="last_run_at")
    def last_run(self, obj: PeriodicTask) -> str | None:
        """How long ago it was handed to a worker; None when never."""
        return None if obj.last_run_at is None else seconds_ago(obj.last_run_at)

    @display(description=_("Runs"), ordering="total_run_count")
    def runs(self, obj: PeriodicTask) -> str:
        """Since it was made."""
        return f"{obj.total_run_count:,}"


class IntervalScheduleAdmin(ModelAdmin):
    """An interval."""


class CrontabScheduleAdmin(beat.CrontabScheduleAdmin, ModelAdmin):
    """Minutes, hours and days, as in a crontab."""


class SolarScheduleAdmin(ModelAdmin):
    """At dawn, noon, dusk and the like of a place."""


class ClockedScheduleAdmin(beat.ClockedScheduleAdmin, ModelAdmin):
    """A single moment."""


SCHEDULE_PAGES: dict[Any, type[ModelAdmin]] = {
    PeriodicTask: PeriodicTaskAdmin,
    IntervalSchedule: IntervalScheduleAdmin,
    CrontabSchedule: CrontabScheduleAdmin,
    SolarSchedule: SolarScheduleAdmin,
    ClockedSchedule: ClockedScheduleAdmin,
}
