"""Whether a service that is silent still lives: it is asked for a sign of life, and given up without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from bridge.chat.errors import ConnectionLost
from bridge.lingma.channel import Channel
from bridge.lingma.transport.liveness_probe import BEAT_SEC, LivenessProbe
from gateway_project.lib.background import until_next

SIGN_SEC = 60.0  # after which an unanswered `ping` is forgotten


class _Seen(NamedTuple):
    """At the last beat: what was received, pongs, bytes that were not sent yet."""

    reads: int = 0
    pongs: int = 0
    unsent: int = 0


class Liveness:
    """Of one connection. `ping` sends an empty request; `is_busy` returns whether turns are under way."""

    def __init__(
        self, channel: Channel, ping: Callable[[], asyncio.Future[bytes]], is_busy: Callable[[], bool]
    ) -> None:
        self.hung = False
        self._channel = channel
        self._ping = ping
        self._is_busy = is_busy
        self._probe = LivenessProbe()
        self._seen = _Seen()
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin the beats. One ping goes out at once, to learn early whether the service answers frames."""
        self._channel.ping()
        self._loop.call_later(until_next(BEAT_SEC), self._beat)

    def _beat(self) -> None:
        """Twice a second: nothing of it is paid for by turns."""
        if not self._channel.is_open:
            return
        # Scheduled anew at each beat and not by the clock: after a pause of this process beats do not pile up.
        self._loop.call_later(until_next(BEAT_SEC), self._beat)
        before = self._seen
        self._seen = now = _Seen(self._channel.reads, self._channel.pongs, self._channel.unsent)
        # Before the verdict: a pong that came in time must count in this beat.
        if now.pongs > before.pongs:
            self._probe.answered("frame")
        # A service that takes in a large prompt may send nothing for a while, but its socket drains.
        alive = now.reads > before.reads or now.unsent < before.unsent  # it reads what it was sent
        match self._probe.beat(alive=alive, busy=self._is_busy()):
            case "ask":
                self._ask()
            case "hung":
                self.hung = True
                self._channel.give_up("the service does not answer any more")

    def _ask(self) -> None:
        for ping in self._probe.pings:
            if ping == "frame":
                self._channel.ping()
            else:
                # `ping` may be unknown to a service: then it answers with an error, which is just as good (PROTOCOL
                # 6.3).
                call = self._ping()
                call.add_done_callback(self._on_answer)
                self._loop.call_later(SIGN_SEC, call.cancel)

    def _on_answer(self, done: asyncio.Future[bytes]) -> None:
        """A refusal is a sign as well."""
        # `exception()` also marks a refusal as seen, so asyncio does not log it.
        if not done.cancelled() and not isinstance(done.exception(), ConnectionLost):
            self._probe.answered("request")
