"""What a service sends, message by message: acknowledged first, all that came together in one write, then acted on."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bridge.lingma.calls import Calls
from bridge.lingma.channel import Channel
from bridge.lingma.dialects.base import Dialect
from bridge.lingma.replies import Handler, Replies
from bridge.lingma.tools.router import ToolCallRouter
from bridge.lingma.transport import rpc
from bridge.lingma.transport.rpc import Incoming
from gateway_project.lib.json_errors import UNREADABLE

MANY = 64
"""Messages of one read from which on it is a flood, or we are behind: then fewer and larger writes do more good."""

logger = logging.getLogger(__name__)


class Inbox:
    """`receive` takes what came in one read. Every push is acknowledged before it is acted on (PROTOCOL 5.2)."""

    def __init__(
        self,
        channel: Channel,
        dialect: Dialect,
        calls: Calls,
        replies: Replies,
        tools: ToolCallRouter,
        handlers: dict[str, Handler],
    ) -> None:
        self.on_other: Callable[[str], None] = lambda _method: None
        """Called with the method of each push that has no handler."""
        self._channel = channel
        self._calls = calls
        self._replies = replies
        self._tools = tools
        self._handlers = handlers
        self._invocations = dialect.pushes.invocations
        self._repeats = dialect.repeats
        self._last_body = b""

    def receive(self, bodies: list[bytes], messages: list[Incoming]) -> None:
        # All acknowledgements of one read go out in one write, before any handler runs: a push that is not
        # acknowledged delays the next ones (PROTOCOL 5.2), and a handler may raise.
        if answers := [answer for message in messages if (answer := self._answer(message)) is not None]:
            self._channel.answer(answers)
        self._replies.gathers = len(messages) > MANY
        for body, message in zip(bodies, messages, strict=True):
            self._act(body, message)

    def _answer(self, message: Incoming) -> bytes | None:
        """An acknowledgement; only an invocation of a tool may want an answer with content (PROTOCOL 11.4)."""
        method = message.method
        if not method or not rpc.wants_answer(message):
            return None
        if method in self._invocations and (result := self._tools.answer(method, message.params)) is not None:
            return rpc.answer(message, result)
        return rpc.acknowledgement(message)

    def _act(self, body: bytes, message: Incoming) -> None:
        method = message.method
        # Ids of both sides overlap, so only the method distinguishes a request from an answer (PROTOCOL 5.1).
        if method is None:
            return self._calls.resolve(message)
        # The whole body is compared, not the id alone: it may be one that an earlier message had. A notification has no
        # id, so two equal ones may both be meant, such as the same piece of text twice.
        if body == self._last_body and self._repeats and rpc.wants_answer(message):
            return None  # the same request once more (F14): acknowledged again, but handled once
        self._last_body = body
        handler = self._handlers.get(method)
        if handler is None:
            # Anything about a turn is still a sign of life of it.
            if (stream := self._replies.of(message.params)) is not None:
                stream.push("")
            return self.on_other(method)
        try:
            handler(message.params)
        except UNREADABLE as exc:
            # One push of an unexpected shape is no reason to fail the other turns of this connection.
            logger.warning("%s of an unknown shape ignored: %s", method, exc)
        return None
