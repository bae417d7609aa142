"""Under which fingerprints the session of a conversation is looked for and stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import msgspec

from bridge.chat.request import ChatRequest, Message, Role, Tool, ToolCall
from bridge.prompt.weighted_cache import WeightedCache
from bridge.turn.arguments import digests, edited, latest
from sessions_store.fingerprint import LooseFingerprint, StrictFingerprint, tools_digest
from sessions_store.store import Knowledge

Fingerprint = LooseFingerprint | StrictFingerprint
_tool_digests: WeightedCache[str] = WeightedCache(8 << 20)
SHORTEST_ID = 16
"""Ids of our calls are longer: shorter ones were made up by the client, and prove nothing."""
EDITED = "These calls were changed before they ran. They ran as follows:"


class SessionKey(msgspec.Struct, frozen=True, gc=False):
    """Under which fingerprint a session is stored, and what its entry notes of the conversation."""

    fingerprint: str
    proven: bool = False
    sent: str = ""
    late: str = ""
    given: str = ""


class History:
    """The messages of a request, divided into those up to the last answer and the new ones.

    A loose fingerprint is for what is proven to be the client's own: all of a conversation that it has named by an id
    that nobody can guess; else what came up to the last call of the session, whose id has come back. Whoever goes on
    from the same call knows that id as well, so what follows it is counted to the letter. So is every conversation
    without a proof.
    """

    def __init__(self, request: ChatRequest, caller_id: int, prefix: Sequence[Message], new: Sequence[Message]) -> None:
        self.proven = request.ids.proven
        """The conversation is the client's own; a session that is found may say so too."""
        self._request = request
        self._caller_id = caller_id
        self._prefix = prefix
        self._new = new
        self._is_named = request.ids.proven
        # Worked out once: agents send hundreds of messages, and most questions below concern those with calls only.
        self._callers = [index for index, message in enumerate(prefix) if message.tool_calls]
        self._proven_to = len(prefix) if self._is_named else self._end_of_last_call()
        """So many messages of the prefix are proven, if the id of a call is ours; 0 without any."""
        # All of these are made when first asked for: most turns need one or two of them.
        self._tools: str | None = None
        self._digests: str | None = None  # of what the proven calls were given
        self._loose: LooseFingerprint | None = None  # of what is proven
        self._strict: StrictFingerprint | None = None  # of the prefix
        self._rest: StrictFingerprint | None = None  # of what is proven, and the rest of the prefix to the letter

    @property
    def tools(self) -> str:
        """Which tools the request has; empty for none."""
        if self._tools is None:
            self._tools = _digest_of(self._request.tools) if self._request.tools else ""
        return self._tools

    def places(self) -> Iterator[str]:
        """Where a session of the prefix may lie; the next one is only worked out when it is asked for."""
        # Everything is proven: the loose fingerprint alone, which forgives what agents change.
        if self._proven_to and self._proven_to == len(self._prefix):
            yield self._loosely().hexdigest()
        elif self._proven_to and _is_to_the_letter(self._prefix[self._proven_to :]):
            yield self._rest_to_the_letter().hexdigest()
            if self._lasting():
                # A second place, for a session that was stored before the client sent tools or a schema.
                yield self._rest_after(b"").hexdigest()
        # A named conversation is only stored loosely, so there is nothing to find to the letter.
        if self._is_named or not _is_to_the_letter(self._request.messages):
            return
        yield self._strictly().hexdigest()
        if not self._callers and self._extras():  # a session that was sent none of it gets it when it goes on
            without_extras = StrictFingerprint(self._caller_id, self._request.ids.values)
            _feed(without_extras, self._prefix)
            yield without_extras.hexdigest()

    def fits(self, knows: Knowledge) -> bool:
        """Whether this request still says all that the session was sent and that would stay in force there."""
        # Only a loose session can hold what the request left out: to the letter, all of it is in the fingerprint.
        return self._loose is None or not (knows.proven and self._loose.withdrawn(knows.late))

    def changes(self, knows: Knowledge) -> list[Message]:
        """What agents have changed in the prefix since it was sent to the session."""
        if not knows.proven or self._loose is None:
            return []
        changed = [
            Message(cast("Role", each.role), each.text, tool_call_id=each.call_id)
            for each in self._loose.unsent(knows.changing_sent)
        ]
        if calls := edited(self._calls(0, self._proven_to), self._given(), knows.given, self._request.tools):
            changed.append(Message("system", EDITED, calls))
        return changed

    def key_after(self, text: str, calls: Sequence[tuple[str, str]], given: Sequence[str]) -> SessionKey | None:
        """Where the conversation with this answer will be looked for; None if others could be taken for it.

        `given` is what each of the calls was given, as JSON text.
        """
        # The id of a call in this answer will come back with the next request, and prove that it is the same client.
        if self._is_named or (calls and self._request.returns_call_ids):
            return self._loose_key(text, calls, given)
        if not _is_to_the_letter(self._request.messages[self._proven_to if self.proven else 0 :]) or len(calls) > 1:
            return None
        if self.proven and self._proven_to:
            return self._key_after_call(text, calls, given)
        return self._strict_key(text, calls, "".join(given))

    def _loose_key(self, text: str, calls: Sequence[tuple[str, str]], given: Sequence[str]) -> SessionKey | None:
        loose = self._loosely()
        # Fed further for the new key, so it is no longer that of the prefix; made anew if asked for.
        self._loose = None
        _feed(loose, self._prefix[self._proven_to :])
        _feed(loose, self._new)
        loose.feed("assistant", text, [(*call, "") for call in calls])
        return self._key(loose.hexdigest(), loose, self._given() + self._given_since() + digests(given))

    def _key_after_call(self, text: str, calls: Sequence[tuple[str, str]], given: Sequence[str]) -> SessionKey | None:
        rest = self._rest_to_the_letter()
        # The same: what is fed on cannot be used for the prefix again.
        self._rest = None
        _feed(rest, self._new)
        rest.feed("assistant", text, _made(calls, "".join(given)))
        return self._key(rest.hexdigest(), self._loosely(), self._given())

    def _key(self, fingerprint: str, loose: LooseFingerprint, given: str) -> SessionKey | None:
        sent = loose.changing_digests()
        # Too much to be stored with the session.
        if sent is None:
            return None
        return SessionKey(fingerprint, proven=True, sent=sent, late=loose.late(), given=latest(given))

    def _strict_key(self, text: str, calls: Sequence[tuple[str, str]], arguments: str) -> SessionKey:
        made = _made(calls, arguments)
        if self._new or not self._prefix:
            strict = self._strictly()
            self._strict = None
            _feed(strict, self._new)
            return SessionKey(strict.feed("assistant", text, made).hexdigest())
        # The reply goes on from the words the client began it with, and comes back as one with them.
        strict = self._new_strict()
        *before, begun = self._prefix
        _feed(strict, before)
        strict.feed("assistant", begun.text + text, [*_triples(begun.tool_calls), *made], images=begun.images)
        return SessionKey(strict.hexdigest())

    def _end_of_last_call(self) -> int:
        """Where the last assistant's turn ends that has called by an id which may be ours."""
        messages = self._prefix
        for index in reversed(self._callers):
            for call in messages[index].tool_calls:  # `any` would take longer than all the rest
                if len(call.id) >= SHORTEST_ID:
                    return self._end_of_turn(index)
        return 0

    def _end_of_turn(self, index: int) -> int:
        messages = self._prefix
        # Several messages of the assistant in a row are one turn.
        while index < len(messages) and messages[index].role == "assistant":
            index += 1
        return index

    def _calls(self, begin: int, end: int) -> list[ToolCall]:
        """Those of some of the messages of the prefix."""
        return [
            call for index in self._callers if begin <= index < end for call in self._prefix[index].tool_calls
        ]  # fmt: skip

    def _given(self) -> str:
        """What calls were given in what is proven."""
        if self._digests is None:
            self._digests = digests([call.arguments for call in self._calls(0, self._proven_to)])
        return self._digests

    def _given_since(self) -> str:
        """And in the rest of the prefix."""
        return digests([call.arguments for call in self._calls(self._proven_to, len(self._prefix))])

    def _loosely(self) -> LooseFingerprint:
        if self._loose is None:
            self._loose = LooseFingerprint(self._caller_id, self._request.ids.values)
            _feed(self._loose, self._prefix[: self._proven_to])
        return self._loose

    def _strictly(self) -> StrictFingerprint:
        if self._strict is None:
            self._strict = self._new_strict()
            _feed(self._strict, self._prefix)
        return self._strict

    def _rest_to_the_letter(self) -> StrictFingerprint:
        if self._rest is None:
            self._rest = self._rest_after(self._lasting())
        return self._rest

    def _rest_after(self, lasting: bytes) -> StrictFingerprint:
        # The digest of what is proven stands in front, so that equal rests of different conversations stay apart.
        proven = f"after {self._loosely().with_changing()} {self._given()}"
        rest = StrictFingerprint(self._caller_id, (proven,), lasting)
        _feed(rest, self._prefix[self._proven_to :])
        return rest

    def _new_strict(self) -> StrictFingerprint:
        return StrictFingerprint(self._caller_id, self._request.ids.values, self._extras())

    def _extras(self) -> bytes:
        """What the prompts of this conversation say beside its messages."""
        if not (lasting := self._lasting()):
            return b""
        request = self._request
        choice = request.tool_choice
        # With the length of the name, so that no two choices are spelled the same.
        rules = f"{choice.mode} {len(choice.name)} {choice.name} {request.parallel_tool_calls:d} "
        return rules.encode("utf-8", "surrogatepass") + lasting

    def _lasting(self) -> bytes:
        """What of it is not for one reply alone, as the choice among tools is."""
        request = self._request
        return f"{self.tools} ".encode() + request.reply_schema if request.tools or request.reply_schema else b""


def _made(calls: Iterable[tuple[str, str]], arguments: str) -> list[tuple[str, str, str]]:
    """In the old form of calls, which has no ids, their names stand for these."""
    return [(name, name, arguments) for _, name in calls]


def _is_to_the_letter(messages: Iterable[Message]) -> bool:
    """What stands behind the address of an image may be another one the next time."""
    # Only a data: URL holds the image itself.
    return all(url[:5].lower() == "data:" for message in messages if message.images for url in message.images)


def _digest_of(tools: tuple[Tool, ...]) -> str:
    """Agents send the same tools each time."""
    if (digest := _tool_digests.get(tools)) is not None:
        return digest
    parts = tuple((tool.name, tool.description, tool.schema, "custom" if tool.custom else "") for tool in tools)
    return _tool_digests.put(tools, tools_digest(parts).hex(), sum(len(part) for tool in parts for part in tool))


def _feed(fingerprint: Fingerprint, messages: Iterable[Message]) -> None:
    for message in messages:
        # Most messages are plain: the short call saves a list and five arguments for each.
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
