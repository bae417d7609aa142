"""The session that continues a conversation: found in the store, claimed for this turn, stored again after it."""

from __future__ import annotations

from collections.abc import Coroutine
from time import time
from typing import Any

import msgspec

from accounts.ledger.trace import SessionWhy
from bridge.chat.events import SessionState
from bridge.chat.request import ChatRequest
from bridge.pool.policy import Affinity
from bridge.prompt.compose import split_reply
from bridge.reply.reader import Reader
from bridge.turn.history import History
from bridge.turn.plan import TurnPlan
from bridge.turn.record import TurnRecord
from sessions_store.lua import MOST_ALIKE
from sessions_store.store import NOTHING, Found, SessionContents, SessionStore


class Conversation:
    """One turn's conversation: `find()` its session first, in the end `store()` or `release()` it.

    Without a store, and for turns whose plan keeps no session, nothing is looked for and nothing is stored.
    """

    def __init__(self, sessions: SessionStore | None, request: ChatRequest, caller_id: int, plan: TurnPlan) -> None:
        self.state: SessionState = "off"
        self.knows: SessionContents = NOTHING
        """What the session of this turn has been sent, once the question is written. Its mark is the delimiter id."""
        self.found: Found | None = None
        """The claimed session, as long as it may continue this conversation."""
        self.affinity: Affinity | None = None
        """The instance that holds it."""
        self.why: SessionWhy = ""
        """The reason of its state."""
        self.holder = ""
        """The name of the instance that held it, also when it was given up."""
        self.prefix, self.new = split_reply(request.messages)
        self.history = History(request, caller_id, self.prefix, self.new)
        self._sessions = sessions if plan.keeps_session else None
        if self._sessions is None:
            self.why = "turned_off" if sessions is None else "with_tools" if plan.mode == "chat" else "agent_mode"
        self._request = request
        self._caller_id = caller_id

    def continue_from(self, found: Found) -> None:
        """Go on with a session that another process has claimed for this turn."""
        if self._sessions is None:
            return
        self.state = "new"
        self._take(found)

    def asked_elsewhere(self) -> None:
        """The process that holds it is asked: whatever comes of that, nobody can go on with it from here."""
        self.state = "reused"

    def left_elsewhere(self) -> None:
        """The process that holds it has taken the turn, and sees to it."""
        self.found = self.affinity = None

    async def find(self) -> None:
        """Claim the session of the conversation so far, if there is one."""
        if self._sessions is None:
            return
        self.state, self.why = "new", "first"
        # Nothing came before, or nothing is new, as with a prefill: no session can go on from there.
        if not (self.prefix and self.new):
            return
        self.why = "unknown"
        # One round trip to Redis for each place; nearly always the first one decides.
        for key in self.history.places():
            if (found := await self._claimed(self._sessions, key)) is not None:
                self._take(found)
                return

    def _take(self, found: Found) -> None:
        self.found, self.affinity = found, Affinity(found.instance, found.generation)
        self.why, self.holder = "continued", found.instance
        # Set by the session too: then its next key may be a loose one.
        self.history.proven = self.history.proven or found.knows.proven

    async def _claimed(self, sessions: SessionStore, key: str) -> Found | None:
        """The latest session there that was sent nothing which the request has withdrawn. The others stay there."""
        others: list[Found] = []
        try:
            # Claiming takes the session out of the store, so that no other turn can go on with it at the same time.
            while (found := await sessions.claim(key, self._caller_id)) is not None and not self.history.fits(
                found.knows
            ):
                others.append(found)
                # The store keeps no more under one key.
                if len(others) == MOST_ALIKE:
                    return None
            return found
        finally:
            # In reverse, so that the latest one ends up as the latest again; also when this turn is cancelled.
            for other in reversed(others):
                self._put_back(sessions, other)

    def store(self, instance: Affinity, session_id: str, reader: Reader) -> None:
        """Store the session for the turn that continues this conversation with the reply that was read.

        Nobody waits for it: Redis does it before it takes the turn's usage row, for which the last byte waits.
        """
        if self._sessions is None:
            return
        key = self.history.key_after(reader.text, reader.calls, reader.arguments_by_call)
        if key is None:  # nobody could go on with it safely
            return
        # First of all: `release` must not drop a session that is stored.
        found, self.found = self.found, None
        # The claimed entry is gone from the store; this writes a new one under the key of the longer conversation.
        self._sessions.remember(
            key.fingerprint,
            session_id=session_id,
            instance=instance.name,
            generation=instance.generation,
            api_key_id=self._caller_id,
            length=len(self._request.messages) + 1,
            hits=found.hits + 1 if found else 0,
            created_at=found.created_at if found else time(),
            is_new=found is None,
            knows=msgspec.structs.replace(
                self.knows,
                json=bool(self._request.reply_schema),
                called=reader.has_called or self.knows.called,
                proven=key.proven,
                changing_sent=key.sent,
                late=key.late,
                given=key.given,
            ),
        )

    def _put_back(self, sessions: SessionStore, found: Found) -> None:
        sessions.remember(
            found.fingerprint,
            session_id=found.session_id,
            instance=found.instance,
            generation=found.generation,
            api_key_id=self._caller_id,
            length=len(self.prefix),
            hits=found.hits,
            created_at=found.created_at,
            knows=found.knows,
        )

    def write_to(self, record: TurnRecord) -> None:
        """Note what became of the session."""
        record.session, record.session_why, record.session_holder = self.state, self.why, self.holder

    def rebuild(self, why: SessionWhy) -> Coroutine[Any, Any, None] | None:
        """Give the session up: a new one gets everything. Returns what is left to do, if anything."""
        if self.found is not None:
            self.state, self.why = "rebuilt", why
        return self.release()

    def release(self) -> Coroutine[Any, Any, None] | None:
        """The claimed session is not to be continued any more. Returns what is left to do, if anything.

        One that was never asked, because the turn was refused or given up in the queue, is as good as before.
        """
        found, self.found, self.affinity = self.found, None, None
        if found is None or self._sessions is None:
            return None
        # It was asked: it now holds a turn that the client may never see, so nobody can go on with it.
        if self.state != "new":
            return self._sessions.drop(found.session_id)
        self._put_back(self._sessions, found)
        return None
