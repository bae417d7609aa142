"""An instance of another web process, as long as a place on it is lent: what an answer needs of an instance."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

import msgspec

from bridge.chat.errors import ConnectionLost, Overloaded
from bridge.chat.events import LingmaToolCall, Overwritten, Piece, TextDelta, ThinkingDelta
from bridge.lingma.dialects.base import Ask, LoggedUsage
from bridge.lingma.errors import UploadFailed
from bridge.lingma.stream import ReplyStream, TurnLimits
from bridge.pool.instances.runs import Exit
from bridge.pool.logins.account import key_of
from bridge.pool.policy import Affinity
from gateway_project.lib.ticker import Ticker

NEVER = float("inf")
USAGE_SEC = 1.0  # figures that are still not there then are not waited for
CRASH_SEC = 4.0  # longer than the process of the instance waits itself, too
UPLOAD_SEC = 45.0  # longer than the process of the instance waits itself, for a place and for the service


class RemoteLink(Protocol):
    """The connection to the process that lends."""

    def ask(self, lease: int, turn: ReplyStream, ask: Ask, log: RemoteLog) -> bool:
        """Send a question whose answer comes into the turn; whether it could be sent."""

    def release(self, lease: int) -> None:
        """Give the place back."""

    def exit_of(self, affinity: Affinity) -> asyncio.Future[Exit | None]:
        """The exit of that run of an instance, once it is known; None: it has not ended by itself."""

    def upload(self, lease: int, data_uri: str) -> asyncio.Future[str] | None:
        """Hand over an image; its URL, or None when it could not be sent."""


class RemoteLog:
    """Tokens that the service has logged for the turns of one lease."""

    def __init__(self) -> None:
        self.may_come = True
        """Figures may still come, however late. Until a turn has ended there, only the other process knows."""
        self._usages: dict[str, LoggedUsage] = {}
        self._late: dict[str, asyncio.Future[None]] = {}

    def store(self, request_id: str, usage: LoggedUsage | None) -> None:
        """The figures of one turn have come; None: there are none."""
        if usage is not None:
            self._usages[request_id] = usage
        if (late := self._late.pop(request_id, None)) is not None and not late.done():
            late.set_result(None)

    def expect(self, request_id: str) -> None:
        self._late[request_id] = asyncio.get_running_loop().create_future()

    @property
    def worth_waiting(self) -> bool:
        """Figures of a turn are still to come."""
        return bool(self._late)

    def usage(self, request_id: str) -> LoggedUsage | None:
        """The usage of one turn, once: None as long as it is not known."""
        return self._usages.pop(request_id, None)

    def usages(self, request_ids: Collection[str]) -> list[LoggedUsage]:
        """The usages of those turns that have come by now; each once."""
        return [self._usages.pop(id_) for id_ in request_ids if id_ in self._usages]

    async def wait_for(self, request_id: str) -> LoggedUsage | None:
        """The usage of one turn, or None when it has not come in good time."""
        if (late := self._late.get(request_id)) is not None:
            await asyncio.wait({late}, timeout=USAGE_SEC)
            self._late.pop(request_id, None)
        return self.usage(request_id)


class RemoteInstance:
    """One lease on an instance elsewhere. Whether the service is silent is judged in its own process only."""

    def __init__(
        self,
        link: RemoteLink,
        lease: int,
        affinity: Affinity,
        models: dict[str, str],
        limits: TurnLimits,
        ticker: Ticker,
    ) -> None:
        self.name = affinity.name
        self.affinity = affinity
        self.generation = affinity.generation
        self.log = RemoteLog()
        self.model_names = models
        self._link = link
        self._lease = lease
        # Silence is judged once, where the service is. Judged here too, a slow link would look like a silent service.
        self._limits = msgspec.structs.replace(limits, silence_sec=NEVER)
        self._ticker = ticker

    def model_key(self, name: str) -> str | None:
        """The key of the model a client names by its key or its display name."""
        return key_of(name, self.model_names)

    def ask(self, ask: Ask) -> ReplyStream:
        """Send the question; the answer comes into the turn. Raise ConnectionLost or Overloaded."""
        # The same stream as for an own instance: who answers the client sees no difference.
        turn = ReplyStream(ask.request_id, ask.session_id, self._limits, self._ticker)
        try:
            is_taken = self._link.ask(self._lease, turn, ask, self.log)
        except BaseException:
            turn.close()
            raise
        if not is_taken:
            turn.close()
            raise Overloaded("Another process has not read the questions before this one yet.", retry_after=1)
        return turn

    async def exit_of(self, generation: int) -> Exit | None:
        """The exit of that run; None: only a connection to it ended, or its process did not say so within CRASH_SEC."""
        result = self._link.exit_of(Affinity(self.name, generation))
        await asyncio.wait({result}, timeout=CRASH_SEC)
        # Without an answer in time it counts as no crash: the turn is then simply asked again.
        return result.result() if result.done() else None

    def release(self) -> None:
        self._link.release(self._lease)

    async def upload_image(self, data_uri: str) -> str:
        """Hand an image to the service; its URL for `Ask.image_urls`. Raise UploadFailed."""
        uploaded = self._link.upload(self._lease, data_uri)
        if uploaded is None:
            raise UploadFailed("The process of the instance could not be reached.")
        try:
            async with asyncio.timeout(UPLOAD_SEC):
                return await uploaded
        except TimeoutError:
            raise UploadFailed("The process of the instance did not answer in time.") from None

    def give_up(self, turn: ReplyStream) -> None:
        """Nobody wants the rest: to close the turn here also stops it in the process of the instance."""
        # `closed` of the turn sends the stop to the other process.
        turn.close()


def put(turn: ReplyStream, piece: Piece) -> None:
    """Do to the turn what was done to the one that runs elsewhere."""
    match piece:
        case TextDelta(text):
            turn.push(text)
        case ThinkingDelta(text):
            turn.push_thinking(text)
        case Overwritten(text):
            turn.replace(text)
        case LingmaToolCall():
            turn.push_call(piece)
        case _:
            # A keep-alive there is made anew here: only that the service lives goes on.
            turn.push("")


def lost() -> ConnectionLost:
    """The process that had the instance is gone."""
    return ConnectionLost("The process of the instance was lost.")
