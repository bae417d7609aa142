"""The messages of a request up to the last answer, and their fingerprints: made when they are needed, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.chat.request import ChatRequest, Message, Tool, ToolCall
from bridge.prompt.weighted_cache import WeightedCache
from bridge.turn.arguments import digests
from sessions_store.fingerprint import LooseFingerprint, StrictFingerprint, tools_digest

Fingerprint = LooseFingerprint | StrictFingerprint
_tool_digests: WeightedCache[str] = WeightedCache(8 << 20)
SHORTEST_ID = 16
"""Ids of our calls are longer: shorter ones were made up by the client, and prove nothing."""


class Prefix:
    """The messages before the new ones. Its first part may be proven to be the client's own, see `History`."""

    def __init__(self, request: ChatRequest, caller_id: int, messages: Sequence[Message]) -> None:
        self.messages = messages
        # Worked out once: agents send hundreds of messages, and most questions below concern those with calls only.
        self.calling = [index for index, message in enumerate(messages) if message.tool_calls]
        self.proven_to = len(messages) if request.ids.proven else self._end_of_last_call()
        """So many messages are proven, if the id of a call is ours; 0 without any."""
        # All of these are made when first needed: most turns need one or two of them.
        self.loose: LooseFingerprint | None = None
        """See `loose_fingerprint`; so are `strict` and `rest`. Whoever feeds one on sets it to None."""
        self.strict: StrictFingerprint | None = None
        self.rest: StrictFingerprint | None = None
        self._tools: str | None = None
        self._digests: str | None = None
        self._request = request
        self._caller_id = caller_id

    @property
    def tools(self) -> str:
        """A digest of the tools of the request; empty for none."""
        if self._tools is None:
            self._tools = _digest_of(self._request.tools) if self._request.tools else ""
        return self._tools

    def _end_of_last_call(self) -> int:
        """Where the last assistant's turn ends that has called by an id which may be ours."""
        messages = self.messages
        for index in reversed(self.calling):
            for call in messages[index].tool_calls:  # `any` would take longer than all the rest
                if len(call.id) >= SHORTEST_ID:
                    return self._end_of_turn(index)
        return 0

    def _end_of_turn(self, index: int) -> int:
        messages = self.messages
        # Several messages of the assistant in a row are one turn.
        while index < len(messages) and messages[index].role == "assistant":
            index += 1
        return index

    def _calls(self, begin: int, end: int) -> list[ToolCall]:
        return [
            call for index in self.calling if begin <= index < end for call in self.messages[index].tool_calls
        ]  # fmt: skip

    def proven_calls(self) -> list[ToolCall]:
        return self._calls(0, self.proven_to)

    def given(self) -> str:
        """Digests of the arguments of the proven calls."""
        if self._digests is None:
            self._digests = digests([call.arguments for call in self.proven_calls()])
        return self._digests

    def given_since(self) -> str:
        """Digests of the arguments of the other calls."""
        return digests([call.arguments for call in self._calls(self.proven_to, len(self.messages))])

    def loose_fingerprint(self) -> LooseFingerprint:
        """Of what is proven."""
        if self.loose is None:
            self.loose = LooseFingerprint(self._caller_id, self._request.ids.values)
            feed_messages(self.loose, self.messages[: self.proven_to])
        return self.loose

    def strict_fingerprint(self) -> StrictFingerprint:
        """Of all of the prefix."""
        if self.strict is None:
            self.strict = self.new_strict_fingerprint(self.extras())
            feed_messages(self.strict, self.messages)
        return self.strict

    def rest_fingerprint(self) -> StrictFingerprint:
        """Of what is proven, and the rest of the prefix to the letter."""
        if self.rest is None:
            self.rest = self.new_rest_fingerprint(self.lasting())
        return self.rest

    def new_rest_fingerprint(self, lasting: bytes) -> StrictFingerprint:
        # The digest of what is proven stands in front, so that equal rests of different conversations stay apart.
        proven = f"after {self.loose_fingerprint().with_changing()} {self.given()}"
        rest = StrictFingerprint(self._caller_id, (proven,), lasting)
        feed_messages(rest, self.messages[self.proven_to :])
        return rest

    def new_strict_fingerprint(self, extras: bytes) -> StrictFingerprint:
        """Of no message yet."""
        return StrictFingerprint(self._caller_id, self._request.ids.values, extras)

    def extras(self) -> bytes:
        """Tools, the choice among them and the schema, as they count for a fingerprint; b"" without any."""
        if not (lasting := self.lasting()):
            return b""
        request = self._request
        choice = request.tool_choice
        # With the length of the name, so that no two choices are spelled the same.
        rules = f"{choice.mode} {len(choice.name)} {choice.name} {request.parallel_tool_calls:d} "
        return rules.encode("utf-8", "surrogatepass") + lasting

    def lasting(self) -> bytes:
        """The same without what is for one reply alone, the choice among tools."""
        request = self._request
        return f"{self.tools} ".encode() + request.reply_schema if request.tools or request.reply_schema else b""


def is_to_the_letter(messages: Iterable[Message]) -> bool:
    """Whether all images are data: URLs: behind any other address there may be another one the next time."""
    # Only a data: URL holds the image itself.
    return all(url[:5].lower() == "data:" for message in messages if message.images for url in message.images)


def _digest_of(tools: tuple[Tool, ...]) -> str:
    # Agents send the same tools each time.
    if (digest := _tool_digests.get(tools)) is not None:
        return digest
    parts = tuple((tool.name, tool.description, tool.schema, "custom" if tool.custom else "") for tool in tools)
    return _tool_digests.put(tools, tools_digest(parts).hex(), sum(len(part) for tool in parts for part in tool))


def feed_messages(fingerprint: Fingerprint, messages: Iterable[Message]) -> None:
    for message in messages:
        # Most messages are plain: the short call saves a list and five arguments for each.
        if message.tool_calls or message.tool_call_id or message.images:
            calls = triples(message.tool_calls) if message.tool_calls else ()
            fingerprint.feed(
                message.role, message.text, calls=calls, call_id=message.tool_call_id,
                is_error=message.is_error, images=message.images,
            )  # fmt: skip
        else:
            fingerprint.feed(message.role, message.text)


def triples(calls: Iterable[ToolCall]) -> list[tuple[str, str, str]]:
    return [(call.id, call.name, call.arguments) for call in calls]
