"""The doctor's look at everything, as a page."""

from __future__ import annotations

import time
from typing import Final

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib.pages.panels import Page

LEVELS: Final = {"fail": (_("to mend"), "danger"), "warn": (_("to look at"), "warning"), "ok": ("OK", "success")}
"""The worst first."""
TOPICS: Final = {
    "clocks": _("Clocks"),
    "data": _("Data directory"),
    "database": _("Database"),
    "disk": _("Disk"),
    "instances": _("Instances"),
    "keys": _("Keys"),
    "ledger": _("Ledger"),
    "lingma": "Lingma",
    "logins": _("Logins"),
    "peers": _("Web processes"),
    "redis": _("Redis"),
    "scheduler": _("Scheduling process"),
    "schedules": _("Schedules"),
    "settings": _("Settings"),
    "versions": _("Versions"),
    "web": _("Web"),
    "worker": _("Worker"),
}


def doctor_view(request: HttpRequest) -> HttpResponse:
    """What `lingma_doctor` finds, the worst first. It may take seconds while something does not answer."""
    if not request.user.has_perm("bridge.view_instance"):
        raise PermissionDenied
    # What it needs costs memory, and few web processes are ever asked for it.
    from bridge.doctor.installation_state import open_state
    from bridge.doctor.run import run_checks

    state = open_state(settings.ENV, settings.DATA_DIR, settings.REDIS_URL, time.time())
    with state.redis:
        found = run_checks(state)
    order = list(LEVELS)
    rows = [
        {"level": LEVELS[each.level], "topic": TOPICS.get(each.topic, each.topic), "finding": each}
        for each in sorted(found, key=lambda each: order.index(each.level))
    ]
    counts = {
        "failed": sum(each.level == "fail" for each in found),
        "warned": sum(each.level == "warn" for each in found),
    }
    verdict = gettext("%(failed)d to mend, %(warned)d to look at") % counts if any(counts.values()) else ""
    context = {
        **admin.site.each_context(request), "title": gettext("Doctor"), "rows": rows,
        "verdict": verdict or gettext("All is well."),
        "level": "down" if counts["failed"] else "degraded" if counts["warned"] else "well",
    }  # fmt: skip
    return TemplateResponse(request, "admin/bridge/doctor.html", context)


DOCTOR: Final = Page("doctor/", "doctor", doctor_view)
