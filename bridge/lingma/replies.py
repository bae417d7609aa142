"""The replies that a service has under way: what it pushes about them, put on the right stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bridge.chat.errors import GatewayError, UpstreamFailed
from bridge.lingma.abandoned import Abandoned
from bridge.lingma.dialects import reasons
from bridge.lingma.dialects.base import Delta, Dialect, Ending, Failure
from bridge.lingma.stream import ReplyStream
from gateway_project.lib.json_errors import UNREADABLE

Handler = Callable[[bytes], None]
"""Takes the params of a push. May raise what is UNREADABLE."""


class Replies:
    """By request id. `handlers` are made once for each connection, so a push costs no more than to be read."""

    def __init__(self, dialect: Dialect) -> None:
        self.streams: dict[str, ReplyStream] = {}
        self.served = False
        """At least one turn has ended well on this connection."""
        self.on_logged_out: Callable[[], None] = lambda: None
        """Called when a turn has failed because the account is not logged in any more."""
        self.abandoned = Abandoned()
        """Questions that ended here while the service may still be at work on them."""
        self.gathers = False
        """Texts are not passed on one by one: more of the same stream may be there already."""
        self._dialect = dialect

    def handlers(self) -> dict[str, Handler]:
        """A handler for each method about replies."""
        pushes = self._dialect.pushes
        return {
            **{method: partial(self._on_text, read) for method, read in pushes.texts.items()},
            **{method: partial(self._on_thought, read) for method, read in pushes.thoughts.items()},
            **{method: partial(self._on_ending, read) for method, read in pushes.endings.items()},
            **{method: partial(self._on_failure, read) for method, read in pushes.failures.items()},
        }

    def of(self, params: bytes) -> ReplyStream | None:
        """The stream that a message of any other kind is about, or None."""
        with suppress(*UNREADABLE):
            return self.streams.get(self._dialect.request_id_of(params))
        return None

    def fail(self, error: GatewayError) -> None:
        # A copy: each `fail` takes its stream out of the table.
        for stream in list(self.streams.values()):
            stream.fail(error)

    def _on_text(self, read: Callable[[bytes], Delta], params: bytes) -> None:
        delta = read(params)
        stream = self.streams.get(delta.request_id)
        if stream is None:
            # Late pieces of a turn that was stopped, or those of another client of a shared service (PROTOCOL 5.4).
            return self.abandoned.replied(delta.request_id)
        # This runs for every chunk of every stream: no call that is not needed.
        text = delta.text
        if text is None:
            text = delta.other_text()
        if delta.replaces:
            stream.replace(text)
        elif self.gathers:
            stream.queue(text)
        else:
            stream.push(text)
        return None

    def _on_thought(self, read: Callable[[bytes], Delta], params: bytes) -> None:
        delta = read(params)
        if (stream := self.streams.get(delta.request_id)) is not None:
            stream.push_thinking(delta.other_text() if delta.text is None else delta.text)

    def _on_ending(self, read: Callable[[bytes], Ending], params: bytes) -> None:
        try:
            ending = read(params)
        # An ending is the one push that must not be ignored: without it the turn would hang until it counts as
        # silent.
        except UNREADABLE:
            if (stream := self.of(params)) is not None:
                stream.fail(UpstreamFailed("The Lingma service ended the turn in an unknown way."))
            raise
        stream = self.streams.get(ending.request_id)
        if stream is None:
            return self.abandoned.ended(ending.request_id)
        # A good code with an empty reply can hide a refusal of the content in its words.
        error = ending.error or (None if stream.text else ending.error_if_empty)
        if error is None:
            self.served = True
            stream.finish(ending.session_id, ending.text)
            return None
        if ending.logged_out:
            # Has the account read again, so that the instance soon leaves the choice.
            self.on_logged_out()
        stream.fail(error)
        # After `fail`, which notes the question as left behind. The service itself ended it, so the note goes again.
        return self.abandoned.ended(ending.request_id)

    def _on_failure(self, read: Callable[[bytes], Failure], params: bytes) -> None:
        """With a matching or missing request id, it fails the turn."""
        failure = read(params)
        message, reason = "The Lingma service reported an error", failure.reason
        # Without a request id nobody knows which turn it means. The program may be broken, so all that run fail
        # (PROTOCOL 9.6).
        streams = [each for each in self.streams.values() if failure.request_id in ("", each.request_id)]
        # The words may describe one prompt (too long, filtered). With several turns they are a verdict on none.
        error = reasons.failure(message, reason) if len(streams) == 1 else UpstreamFailed(f"{message}: {reason[:200]}")
        for stream in streams:
            stream.fail(error)
        self.abandoned.ended(failure.request_id)
