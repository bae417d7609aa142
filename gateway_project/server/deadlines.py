"""Deadlines of a connection: for a request, for its rest, and for the client to read the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_project.server import refusals

if TYPE_CHECKING:
    from gateway_project.server.protocol import BoundedHttpProtocol

# What is awaited on a connection: nothing, the rest of a head or of a body, or bytes that are thrown away.
IDLE, IN_HEAD, IN_BODY, LEFTOVER = range(4)


def check(connection: BoundedHttpProtocol, now: float, before: float) -> None:
    """End a connection that is over a deadline. `before` is the time of the last check."""
    # Checked first and in every phase: a client that does not read may send requests all the while.
    if connection.flow.write_paused or connection.transport.is_closing():
        _check_unsent(connection, now)
    elif connection.unsent:
        connection.unsent = 0
    phase = connection.phase
    if phase in (IDLE, IN_HEAD):
        if not connection.answers:
            _check_silence(connection, now - connection.since)
    elif phase == IN_BODY:
        _check_body(connection, now, before)
    else:
        _check_leftover(connection, now)


def _check_silence(connection: BoundedHttpProtocol, waited: float) -> None:
    bounds = connection.peers.bounds
    if connection.phase == IN_HEAD:
        if waited > bounds.head_sec:
            connection.refuse(refusals.TIMEOUT)
    # It has been served before, so this is an idle keep-alive connection: closed without an answer, as clients expect.
    elif connection.running is not None:
        if waited > bounds.idle_sec:
            connection.raw.close()
    elif waited > bounds.head_sec:
        connection.peers.count_refusal(refusals.SILENT)
        connection.raw.close()


def _check_body(connection: BoundedHttpProtocol, now: float, before: float) -> None:
    bounds = connection.peers.bounds
    if connection.flow.read_paused or connection.answers_early:  # we are the ones who do not read, or care no more
        # The clock stands still while we do not read: the client cannot send what the kernel has no room for.
        connection.since += now - before
        connection.body_since += now - before
        return
    allowed = bounds.body_grace_sec + connection.size / bounds.body_bytes_per_sec
    if now - connection.since > bounds.body_silence_sec or now - connection.body_since > allowed:
        connection.refuse(refusals.TIMEOUT)


def _check_leftover(connection: BoundedHttpProtocol, now: float) -> None:
    bounds = connection.peers.bounds
    silent = connection.lingers and now - connection.since > bounds.linger_silence_sec
    if silent or now - connection.body_since > bounds.leftover_sec:
        connection.raw.close()


def _check_unsent(connection: BoundedHttpProtocol, now: float) -> None:
    """Cut a client that has not taken its step of what waits for it: closing would wait for it, too."""
    bounds, size = connection.peers.bounds, connection.raw.get_write_buffer_size()
    # A step taken, or the first check: the time begins anew. So a slow reader stays, and only one that stands still
    # is cut.
    if not connection.unsent or size + bounds.unread_step <= connection.unsent:
        connection.unsent, connection.unsent_since = size, now
    elif now - connection.unsent_since > bounds.unread_sec:
        connection.raw.abort()
