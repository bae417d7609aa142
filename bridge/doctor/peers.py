"""The web processes to each other: which of them report, and whether they can be reached."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Final

from django.utils.translation import gettext

from bridge.doctor.finding import Finding, fail, ok
from bridge.doctor.installation_state import WAIT_SEC, InstallationState
from gateway_project.lib import redis_keys
from gateway_project.lib.unix_sockets import socket_path

TOPIC: Final = "peers"


def peers(state: InstallationState) -> Iterator[Finding]:
    """One line for each web process."""
    if not (state.running and state.redis_answers):
        return
    numbers = range(1, state.env.web_processes + 1)
    reports: Any = state.redis.mget([f"{redis_keys.MODES}web-{number}" for number in numbers])
    for number, report in zip(numbers, reports, strict=True):
        yield _peer(state, number, report is not None)


def _peer(state: InstallationState, number: int, reports: bool) -> Finding:
    name = {"name": f"web-{number}"}
    if not reports:
        advice = gettext("See its log; it is started again by itself. Was WEB_PROCESSES changed since the start?")
        return fail(TOPIC, gettext("%(name)s gives no sign of life") % name, advice)
    # A single process has nobody to lend to, and another machine's socket cannot be seen from here.
    if state.env.web_processes == 1 or state.started_at is None:
        return ok(TOPIC, gettext("%(name)s reports") % name)
    if error := _unreachable(state, number):
        said = gettext("%(name)s reports, but others cannot reach it: %(error)s") % {**name, "error": error}
        return fail(TOPIC, said, gettext("Turns are not shared with it. Restart the gateway."))
    return ok(TOPIC, gettext("%(name)s reports, and others reach it") % name)


def _unreachable(state: InstallationState, number: int) -> str:
    """Why nobody can connect to it; "" where one can."""
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(WAIT_SEC)
            peer.connect(str(socket_path(state.data_dir, f"web-{number}")))
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""
