"""The web processes to each other: which of them report, and whether they can be reached."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlsplit

from django.utils.translation import gettext

from bridge.doctor.finding import Finding, fail, ok
from bridge.doctor.installation_state import WAIT_SEC, InstallationState
from bridge.peers.handover import SECRET
from bridge.peers.listeners import Tls
from bridge.peers.report import PeerReport, decoded
from bridge.peers.secret import peer_secret
from gateway_project.env import key_pepper
from gateway_project.lib.redis import redis_keys

TOPIC: Final = "peers"


def peers(state: InstallationState) -> Iterator[Finding]:
    """One line for each web process, also those of other machines."""
    if not (state.running and state.redis_answers):
        return
    names = state.env.process_names
    signs: Any = state.redis.mget([redis_keys.MODES + name for name in names])
    found = _reports(state) if state.env.has_peers else {}
    for name, sign in zip(names, signs, strict=True):
        yield _own(state, name, found.pop(name, None), reports=sign is not None)
    for name in sorted(found):
        yield _reached(state, name, found[name])


def _reports(state: InstallationState) -> dict[str, PeerReport]:
    stored: Any = state.redis.hgetall(redis_keys.PEERS)
    # The time when Redis took it stands before it.
    reports = [decoded(value.partition(b" ")[2]) for value in stored.values()]
    return {each.name: each for each in reports if each is not None}


def _own(state: InstallationState, name: str, report: PeerReport | None, *, reports: bool) -> Finding:
    if not reports:
        advice = gettext("See its log; it is started again by itself. Was WEB_PROCESSES changed since the start?")
        return fail(TOPIC, gettext("%(name)s gives no sign of life") % {"name": name}, advice)
    # A single process has nobody to share turns with, and sockets of another machine cannot be seen from here.
    if not state.env.has_peers or state.started_at is None:
        return ok(TOPIC, gettext("%(name)s reports") % {"name": name})
    if report is None:
        error = gettext("it does not say where it listens")
        return _out_of_reach(name, error)
    return _reached(state, name, report)


def _reached(state: InstallationState, name: str, report: PeerReport) -> Finding:
    if error := _unreachable(state, report):
        return _out_of_reach(name, error)
    return ok(TOPIC, gettext("%(name)s reports, and others reach it") % {"name": name})


def _out_of_reach(name: str, error: str) -> Finding:
    said = gettext("%(name)s reports, but others cannot reach it: %(error)s") % {"name": name, "error": error}
    advice = gettext(
        "Turns are not shared with it. Within a machine: restart the gateway. Between machines: look at PEER_LISTEN, "
        "PEER_SECRET and the certificates of both, and at what stands between them."
    )
    return fail(TOPIC, said, advice)


def _unreachable(state: InstallationState, report: PeerReport) -> str:
    """Why this machine cannot hand a turn over to it; "" where it can."""
    secret = peer_secret(state.env.peer_secret.get_secret_value(), key_pepper(state.env, state.data_dir))
    try:
        with closing(_connection(state, report)) as connection:
            connection.request("GET", "/", headers={SECRET.decode(): secret})
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return getattr(exc, "strerror", None) or str(exc)
    return "" if status == http.client.NO_CONTENT else gettext("it has another PEER_SECRET")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("peer", timeout=WAIT_SEC)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_SEC)
        self.sock.connect(self._path)


def _connection(state: InstallationState, report: PeerReport) -> http.client.HTTPConnection:
    env, url = state.env, urlsplit(report.url)
    if report.node == env.node:
        return _UnixConnection(report.socket)
    if url.scheme == "https":
        tls = Tls(env.peer_tls_cert, env.peer_tls_key, env.peer_tls_ca).client() or ssl.create_default_context()
        return http.client.HTTPSConnection(url.hostname or "", url.port, timeout=WAIT_SEC, context=tls)
    if not url.hostname:
        raise OSError(gettext("it does not say where it listens"))
    return http.client.HTTPConnection(url.hostname, url.port, timeout=WAIT_SEC)
