"""Under which fingerprints the session of a conversation is looked for and stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import msgspec

from bridge.chat.request import ChatRequest, Message, Role
from bridge.turn.arguments import digests, edited, latest
from bridge.turn.prefix import Prefix, feed_messages, is_to_the_letter, triples
from sessions_store.fingerprint import LooseFingerprint
from sessions_store.store import SessionContents

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
        self._new = new
        self._is_named = request.ids.proven
        self._prefix = Prefix(request, caller_id, prefix)

    @property
    def tools(self) -> str:
        """A digest of the tools of the request; empty for none."""
        return self._prefix.tools

    def places(self) -> Iterator[str]:
        """Fingerprints under which a session of the prefix may lie; each is worked out when it is asked for."""
        prefix = self._prefix
        # Everything is proven: the loose fingerprint alone, which forgives what agents change.
        if prefix.proven_to and prefix.proven_to == len(prefix.messages):
            yield prefix.loose_fingerprint().hexdigest()
        elif prefix.proven_to and is_to_the_letter(prefix.messages[prefix.proven_to :]):
            yield prefix.rest_fingerprint().hexdigest()
            if prefix.lasting():
                # A second place, for a session that was stored before the client sent tools or a schema.
                yield prefix.new_rest_fingerprint(b"").hexdigest()
        # A named conversation is only stored loosely, so there is nothing to find to the letter.
        if self._is_named or not is_to_the_letter(self._request.messages):
            return
        yield prefix.strict_fingerprint().hexdigest()
        if not prefix.calling and prefix.extras():
            # A session that was sent none of the extras gets them when it goes on.
            without_extras = prefix.new_strict_fingerprint(b"")
            feed_messages(without_extras, prefix.messages)
            yield without_extras.hexdigest()

    def fits(self, knows: SessionContents) -> bool:
        """False where the session was sent something that this request withdraws and that would stay in force there."""
        # Only a loose session can hold what the request left out: to the letter, all of it is in the fingerprint.
        return self._prefix.loose is None or not (knows.proven and self._prefix.loose.withdrawn(knows.late))

    def changes(self, knows: SessionContents) -> list[Message]:
        """Messages to send along: those of the prefix that agents have changed since the session was sent them."""
        if not knows.proven or self._prefix.loose is None:
            return []
        changed = [
            Message(cast("Role", each.role), each.text, tool_call_id=each.call_id)
            for each in self._prefix.loose.unsent(knows.changing_sent)
        ]
        if calls := edited(self._prefix.proven_calls(), self._prefix.given(), knows.given, self._request.tools):
            changed.append(Message("system", EDITED, calls))
        return changed

    def key_after(self, text: str, calls: Sequence[tuple[str, str]], given: Sequence[str]) -> SessionKey | None:
        """The key under which to store the session with this answer; None if other conversations could be taken for it.

        `given` is what each of the calls was given, as JSON text.
        """
        # The id of a call in this answer will come back with the next request, and prove that it is the same client.
        if self._is_named or (calls and self._request.returns_call_ids):
            return self._loose_key(text, calls, given)
        proven_to = self._prefix.proven_to if self.proven else 0
        if not is_to_the_letter(self._request.messages[proven_to:]) or len(calls) > 1:
            return None
        if proven_to:
            return self._key_after_call(text, calls, given)
        return self._strict_key(text, calls, "".join(given))

    def _loose_key(self, text: str, calls: Sequence[tuple[str, str]], given: Sequence[str]) -> SessionKey | None:
        prefix = self._prefix
        loose = prefix.loose_fingerprint()
        # Fed further for the new key, so it is no longer that of the prefix; made anew if it is needed again.
        prefix.loose = None
        feed_messages(loose, prefix.messages[prefix.proven_to :])
        feed_messages(loose, self._new)
        loose.feed("assistant", text, [(*call, "") for call in calls])
        return self._key(loose.hexdigest(), loose, prefix.given() + prefix.given_since() + digests(given))

    def _key_after_call(self, text: str, calls: Sequence[tuple[str, str]], given: Sequence[str]) -> SessionKey | None:
        prefix = self._prefix
        rest = prefix.rest_fingerprint()
        # The same: what is fed on cannot be used for the prefix again.
        prefix.rest = None
        feed_messages(rest, self._new)
        rest.feed("assistant", text, _made(calls, "".join(given)))
        return self._key(rest.hexdigest(), prefix.loose_fingerprint(), prefix.given())

    def _key(self, fingerprint: str, loose: LooseFingerprint, given: str) -> SessionKey | None:
        sent = loose.changing_digests()
        # Too much to be stored with the session.
        if sent is None:
            return None
        return SessionKey(fingerprint, proven=True, sent=sent, late=loose.late(), given=latest(given))

    def _strict_key(self, text: str, calls: Sequence[tuple[str, str]], arguments: str) -> SessionKey:
        made = _made(calls, arguments) if calls else ()
        prefix = self._prefix
        if self._new or not prefix.messages:
            strict = prefix.strict_fingerprint()
            prefix.strict = None
            feed_messages(strict, self._new)
            return SessionKey(strict.feed("assistant", text, made).hexdigest())
        # The reply goes on from the words the client began it with, and comes back as one with them.
        strict = prefix.new_strict_fingerprint(prefix.extras())
        *before, begun = prefix.messages
        feed_messages(strict, before)
        strict.feed("assistant", begun.text + text, [*triples(begun.tool_calls), *made], images=begun.images)
        return SessionKey(strict.hexdigest())


def _made(calls: Iterable[tuple[str, str]], arguments: str) -> list[tuple[str, str, str]]:
    """In the old form of calls, which has no ids, their names stand for these."""
    return [(name, name, arguments) for _, name in calls]
