"""The versions of Lingma that were installed: whether this machine has what instances are to run, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext

from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import InstallationState
from bridge.fleet.versions import trouble_here
from bridge.models import Version
from bridge.status.versions import numbers

TOPIC: Final = "versions"


def versions(state: InstallationState) -> Iterator[Finding]:
    """One line each of those that are needed, and one for each instance that reports another one."""
    if not state.database_answers:
        return
    for row in Version.objects.prefetch_related("orders"):
        names = sorted(order.name for order in row.orders.all())
        if not row.is_default and not names:
            continue
        used = (
            gettext("the default") if row.is_default else gettext("ordered for %(names)s") % {"names": ", ".join(names)}
        )
        about = {"version": str(row), "used": used, "trouble": trouble_here(row, state.data_dir)}
        if about["trouble"]:
            what = gettext("%(version)s (%(used)s): %(trouble)s") % about
            yield fail(TOPIC, what, gettext("Install it here: manage.py lingma_install."))
        else:
            yield ok(TOPIC, gettext("%(version)s (%(used)s) is here and unchanged") % about)
    for each in state.heartbeats:
        if each.installed and each.version and numbers(each.installed) != numbers(each.version):
            about = {"name": each.name, "installed": each.installed, "version": each.version}
            what = gettext("%(name)s was started as %(installed)s and reports %(version)s") % about
            yield warn(
                TOPIC, what, gettext("Has it updated itself? Restart it; the executable is compared then.")
            )  # fmt: skip
