"""Shows texts that users chose, in the cells of pages: on one line, shortened, without harmful characters."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import CharField, Model, TextField
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext

from gateway_project.lib.visible import visible

MINUTE = timedelta(minutes=1)
LONGEST = 64  # in a page's text; the sheet cuts it further, to the width there is


def cut(text: str) -> SafeString:
    """A name for a cell that must not push the others away; the whole of it shows when it is pointed at."""
    shown = visible(text)
    return format_html('<span class="gw-cut" title="{}">{}</span>', shown, Truncator(shown).chars(LONGEST))


def clock_time(moment: datetime) -> str:
    """With its day where that is not today."""
    local = timezone.localtime(moment)
    return f"{local:%H:%M:%S %Z}" if local.date() == timezone.localdate() else f"{local:%Y-%m-%d %H:%M %Z}"


def ago(moment: datetime) -> str:
    """How long ago, in its largest unit; Django has none below a minute, and says "0 minutes"."""
    now = timezone.now()
    if now - moment < MINUTE:
        return gettext("just now")
    return gettext("%(time)s ago") % {"time": timesince(moment, now, depth=1)}


def lasting(since: datetime, until: datetime) -> str:
    """From one to the other, in its largest unit; within the first minute to the second."""
    seconds = max(0, int((until - since).total_seconds()))  # rounded, 59.6 would be no second and no minute
    return gettext("%(seconds)d s") % {"seconds": seconds} if seconds < 60 else timesince(since, until, depth=1)


def seconds_ago(moment: datetime) -> str:
    """How long ago; within the first minute to the second."""
    seconds = max(0, int((timezone.now() - moment).total_seconds()))
    return gettext("%(seconds)d s ago") % {"seconds": seconds} if seconds < 60 else ago(moment)


class VisibleText:
    """A page of records that nobody edits: their texts are shown as `visible` has them, in the list and alone."""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)  # type: ignore[misc]  # of the page it is mixed into
        return found and shown(found)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)  # type: ignore[misc]  # as above
        for row in changes.result_list:
            shown(row)
        return changes


def shown(record: Model) -> Model:
    """The record with its texts made visible; not to be saved."""
    for field in record._meta.concrete_fields:
        # A primary key stays as it is: links of the page are made of it.
        if not isinstance(field, CharField | TextField) or field.primary_key:
            continue
        if isinstance(text := getattr(record, field.attname), str):
            setattr(record, field.attname, visible(text))
    return record
