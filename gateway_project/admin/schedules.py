"""Celery's schedules, in the console's design."""

from __future__ import annotations

from typing import Any

from cron_descriptor import FormatException, MissingFieldException, Options, WrongArgumentException, get_description
from django.http import HttpRequest, HttpResponse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.audit.history import AuditHistory
from bridge.schedules import shown_name
from gateway_project.lib.pages.cells import seconds_ago

CRON_LOCALES = {"zh-hans": "zh_CN"}  # what cron_descriptor calls our languages


def in_words(crontab: CrontabSchedule) -> str:
    """A crontab as a sentence: in English as django-celery-beat writes it, else by the library it uses."""
    locale = CRON_LOCALES.get(get_language() or "")
    if locale is None:
        return str(crontab.human_readable)
    # The library takes the language from its options only, not from Django.
    options = Options()
    options.locale_code = locale
    parts = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    try:
        sentence = get_description(" ".join(getattr(crontab, part) for part in parts), options)
    except (FormatException, MissingFieldException, WrongArgumentException):
        return str(crontab.human_readable)
    return f"{sentence} {crontab.timezone}"


class TaskWidget(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """A choice of the registered tasks, in unfold's design."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = widget = TaskWidget()
        # The form has two fields for one value, and refuses both at once: the list has it, so the text is left empty.
        if (self.instance.task, self.instance.task) in widget.choices:
            self.initial |= {"regtask": self.instance.task, "task": ""}


class PeriodicTaskAdmin(AuditHistory, beat.PeriodicTaskAdmin, ModelAdmin):
    form = PeriodicTaskForm
    list_display = ("shown_name", "enabled", "scheduler", "last_run", "runs")
    list_filter = ("enabled", "one_off")
    date_hierarchy = None

    @display(description=_("Name"), ordering="name")
    def shown_name(self, obj: PeriodicTask) -> str:
        return shown_name(obj.name)

    @display(description=_("Scheduler"))
    def scheduler(self, obj: PeriodicTask) -> str:
        """Its interval, or whichever of the other kinds it has."""
        return str(obj.scheduler)

    @display(description=_("Last run"), ordering="last_run_at")
    def last_run(self, obj: PeriodicTask) -> str | None:
        """How long ago it was handed to a worker; None when never."""
        return None if obj.last_run_at is None else seconds_ago(obj.last_run_at)

    @display(description=_("Runs"), ordering="total_run_count")
    def runs(self, obj: PeriodicTask) -> str:
        return f"{obj.total_run_count:,}"

    @display(description=_("Crontab translation"))
    def crontab_translation(self, obj: PeriodicTask) -> str | None:
        return in_words(obj.crontab) if obj.crontab else None

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page's script shows what a chosen crontab means."""
        # celery-beat fills this too, in English; ours goes in its place.
        context["readable_crontabs"] = {each.pk: in_words(each) for each in CrontabSchedule.objects.all()}
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page


class IntervalScheduleAdmin(AuditHistory, ModelAdmin):
    """An interval."""


class CrontabScheduleAdmin(AuditHistory, beat.CrontabScheduleAdmin, ModelAdmin):
    """Minutes, hours and days, as in a crontab."""

    @display(description=_("Human readable"))
    def human_readable(self, obj: CrontabSchedule) -> str:
        return in_words(obj)


class SolarScheduleAdmin(AuditHistory, ModelAdmin):
    """At dawn, noon, dusk and the like of a place."""


class ClockedScheduleAdmin(AuditHistory, beat.ClockedScheduleAdmin, ModelAdmin):
    """A single moment."""


SCHEDULE_PAGES: dict[Any, type[ModelAdmin]] = {
    PeriodicTask: PeriodicTaskAdmin,
    IntervalSchedule: IntervalScheduleAdmin,
    CrontabSchedule: CrontabScheduleAdmin,
    SolarSchedule: SolarScheduleAdmin,
    ClockedSchedule: ClockedScheduleAdmin,
}
