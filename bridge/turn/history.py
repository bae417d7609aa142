"""Under which fingerprints the session of a conversation is looked for and kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import msgspec

from bridge.chat.request import ChatRequest, Message, Role, Tool, ToolCall
from bridge.prompt.remembered import Remembered
from sessions_store.fingerprint import LooseFingerprint, StrictFingerprint, tools_digest
from sessions_store.store import Knowledge

Fingerprint = LooseFingerprint | StrictFingerprint
_known_tools: Remembered[str] = Remembered(8 << 20)
SHORTEST_ID = 16
"""Ids of our calls are longer: shorter ones were made up by the client, and prove nothing."""


class Kept(msgspec.Struct, frozen=True, gc=False):
    """Where a session is kept, and what is known of it then."""

    key: str
    proven: bool = False
    told: str = ""


class History:
    """The messages of a request, told apart into what came before the last answer and what is new.

    A loose fingerprint is for a conversation that is proven to be the client's own: it has named it by an id that
    nobody can guess, or its session has made a call whose id must come back. Every other one is counted to the letter.
    """

    def __init__(self, request: ChatRequest, caller_id: int, prefix: Sequence[Message], new: Sequence[Message]) -> None:
        self.proven = request.ids.proven
        """The conversation is the client's own; also told by a session that is found."""
        self._request = request
        self._caller_id = caller_id
        self._prefix = prefix
        self._new = new
        self._tools: str | None = None
        self._loose: LooseFingerprint | None = None  # of the prefix
        self._strict: StrictFingerprint | None = None

    @property
    def tools(self) -> str:
        """Which tools the request has; empty for none."""
        if self._tools is None:
            self._tools = _digest_of(self._request.tools) if self._request.tools else ""
        return self._tools

    def places(self) -> Iterator[str]:
        """Where a session of the prefix may lie; the next one is only worked out when it is asked for."""
        if self.proven:
            yield self._loosely().hexdigest()
            return
        callers = [message for message in self._prefix if message.tool_calls]
        if any(len(call.id) >= SHORTEST_ID for message in callers for call in message.tool_calls):
            yield self._loosely().hexdigest()
        if not self._is_to_the_letter:
            return
        yield self._strictly().hexdigest()
        if not callers and self._extras():  # what a session has not been told at all is told when it goes on
            untold = StrictFingerprint(self._caller_id, self._request.ids.values)
            _feed(untold, self._prefix)
            yield untold.hexdigest()

    def untold(self, knows: Knowledge) -> list[Message]:
        """What agents have changed in the prefix since the session was told of it."""
        if not knows.proven or self._loose is None:
            return []
        return [
            Message(cast("Role", each.role), each.text, tool_call_id=each.call_id)
            for each in self._loose.untold(knows.told)
        ]

    def answered(self, text: str, calls: Sequence[tuple[str, str]], arguments: str) -> Kept | None:
        """Where the conversation with this answer is looked for; None if it could not be told from others."""
        if self.proven or (calls and self._request.returns_call_ids):
            return self._kept_loosely(text, calls)
        if not self._is_to_the_letter or len(calls) > 1:
            return None
        return self._kept_strictly(text, calls, arguments)

    def _kept_loosely(self, text: str, calls: Sequence[tuple[str, str]]) -> Kept | None:
        loose = self._loosely()
        self._loose = None
        _feed(loose, self._new)
        loose.feed("assistant", text, [(*call, "") for call in calls])
        told = loose.told()
        return None if told is None else Kept(loose.hexdigest(), proven=True, told=told)

    def _kept_strictly(self, text: str, calls: Sequence[tuple[str, str]], arguments: str) -> Kept:
        # In the old form of calls, which has no ids, their names stand for these.
        made = [(name, name, arguments) for _, name in calls]
        if self._new or not self._prefix:
            strict = self._strictly()
            self._strict = None
            _feed(strict, self._new)
            return Kept(strict.feed("assistant", text, made).hexdigest())
        # The reply goes on from the words the client began it with, and comes back as one with them.
        strict = self._new_strict()
        *before, begun = self._prefix
        _feed(strict, before)
        strict.feed("assistant", begun.text + text, [*_triples(begun.tool_calls), *made], images=begun.images)
        return Kept(strict.hexdigest())

    @property
    def _is_to_the_letter(self) -> bool:
        """What stands behind the address of an image may be another one the next time."""
        pictured = [message for message in self._request.messages if message.images]
        return all(url[:5].lower() == "data:" for message in pictured for url in message.images)

    def _loosely(self) -> LooseFingerprint:
        if self._loose is None:
            self._loose = LooseFingerprint(self._caller_id, self._request.ids.values)
            _feed(self._loose, self._prefix)
        return self._loose

    def _strictly(self) -> StrictFingerprint:
        if self._strict is None:
            self._strict = self._new_strict()
            _feed(self._strict, self._prefix)
        return self._strict

    def _new_strict(self) -> StrictFingerprint:
        return StrictFingerprint(self._caller_id, self._request.ids.values, self._extras())

    def _extras(self) -> bytes:
        """What the prompts of this conversation say beside its messages."""
        request = self._request
        if not (request.tools or request.reply_schema):
            return b""
        choice = request.tool_choice
        rules = f"{self.tools} {choice.mode} {len(choice.name)} {choice.name} {request.parallel_tool_calls:d} "
        return rules.encode("utf-8", "surrogatepass") + request.reply_schema


def _digest_of(tools: tuple[Tool, ...]) -> str:
    """Agents send the same tools each time."""
    if (known := _known_tools.get(tools)) is not None:
        return known
    parts = tuple((tool.name, tool.description, tool.schema, "custom" if tool.custom else "") for tool in tools)
    return _known_tools.keep(tools, tools_digest(parts).hex(), sum(len(part) for tool in parts for part in tool))


def _feed(fingerprint: Fingerprint, messages: Iterable[Message]) -> None:
    for message in messages:
        if message.tool_calls or message.tool_call_id or message.images:
            calls = _triples(message.tool_calls) if message.tool_calls else ()
            fingerprint.feed(
                message.role, message.text, calls=calls, call_id=message.tool_call_id,
                is_error=message.is_error, images=message.images,
            )  # fmt: skip
        else:
            fingerprint.feed(message.role, message.text)


def _triples(calls: Iterable[ToolCall]) -> list[tuple[str, str, str]]:
    return [(call.id, call.name, call.arguments) for call in calls]
