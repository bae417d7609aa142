"""The versions of Lingma that were installed: whether this machine has what instances are to run, unchanged."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import InstallationState
from bridge.fleet.versions import trouble_here
from bridge.models import Version
from bridge.status.versions import numbers


def versions(state: InstallationState) -> Iterator[Finding]:
    """One line each of those that are needed, and one for each instance that reports another one."""
    if not state.database_answers:
        return
    for row in Version.objects.prefetch_related("orders"):
        names = sorted(order.name for order in row.orders.all())
        if not row.is_default and not names:
            continue
        used = "the default" if row.is_default else f"ordered for {', '.join(names)}"
        if trouble := trouble_here(row, state.data_dir):
            yield fail("versions", f"{row} ({used}): {trouble}", "Install it here: manage.py lingma_install.")
        else:
            yield ok("versions", f"{row} ({used}) is here and unchanged")
    for each in state.heartbeats:
        if each.installed and each.version and numbers(each.installed) != numbers(each.version):
            what = f"{each.name} was started as {each.installed} and reports {each.version}"
            yield warn("versions", what, "Has it updated itself? Restart it; the executable is compared then.")
