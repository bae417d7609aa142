"""What the service already knows of a conversation: the session that continues it, and what is left to tell it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from time import time
from typing import Any

import msgspec

from bridge.chat.events import SessionState
from bridge.chat.request import ChatRequest, Message, ToolChoice
from bridge.lingma.dialects.base import Ask
from bridge.pool.policy import Affinity
from bridge.prompt.compose import DELIMITER_ID_LENGTH, demand, reply_prompt, split_reply, whole_prompt
from bridge.prompt.tool_instructions import tool_instructions, turn_rule
from bridge.turn.history import History
from bridge.turn.plan import TurnPlan
from sessions_store.lua import MOST_ALIKE
from sessions_store.store import NOTHING, Found, Knowledge, SessionStore

NO_TOOL = ToolChoice("none")


class Conversation:
    """One turn's conversation. `find()` first, then `ask()`; in the end `remember()` or `leave()`.

    Without a store, and for turns whose plan keeps no session, nothing is looked for and nothing is kept.
    """

    def __init__(self, sessions: SessionStore | None, request: ChatRequest, caller_id: int, plan: TurnPlan) -> None:
        self.state: SessionState = "off"
        self.knows: Knowledge = NOTHING
        """What the session of this turn knows, after `ask()`. Its mark stands in headings and around calls."""
        self._sessions = sessions if plan.keeps_session else None
        self._request = request
        self._caller_id = caller_id
        self._plan = plan
        self._prefix, self._new = split_reply(request.messages)
        self._history = History(request, caller_id, self._prefix, self._new)
        self._found: Found | None = None  # as long as it may work

    @property
    def delimiter_id(self) -> str:
        return self.knows.mark

    @property
    def has_called(self) -> bool:
        """The model has called a tool between the session's marks before; known after `ask()`."""
        return self.knows.called

    @property
    def has_session(self) -> bool:
        return self._found is not None

    @property
    def affinity(self) -> Affinity | None:
        return Affinity(self._found.instance, self._found.generation) if self._found else None

    async def find(self) -> None:
        """Claim the session of the conversation so far, if there is one."""
        if self._sessions is None:
            return
        self.state = "new"
        # Nothing came before, or nothing is new, as with a prefill: no session can go on from there.
        if not (self._prefix and self._new):
            return
        # One round trip to Redis for each place; nearly always the first one decides.
        for key in self._history.places():
            self._found = await self._claimed(self._sessions, key)
            if self._found is not None:
                # Set by the session too: then its next key may be a loose one.
                self._history.proven = self._history.proven or self._found.knows.proven
                return

    async def _claimed(self, sessions: SessionStore, key: str) -> Found | None:
        """The latest session there that was told nothing which the request has withdrawn. The others stay there."""
        others: list[Found] = []
        try:
            # Claiming takes the session out of the store, so that no other turn can go on with it at the same time.
            while (found := await sessions.claim(key, self._caller_id)) is not None and not self._history.fits(
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

    def images(self, instance: Affinity) -> tuple[str, ...]:
        """Those the service has not seen, if they belong to what is asked; of a whole history, the newest turn's."""
        new = _images(self._new)
        # The session on this instance has seen the older ones.
        if new or self.affinity == instance:
            return new
        turn: list[Message] = []
        # Only the newest turn that has images: to upload those of a long history again takes longer than the answer.
        for message in reversed(self._prefix):
            if message.role == "assistant":
                if images := _images(turn):
                    return images
                turn = []
            else:
                turn.insert(0, message)
        return _images(turn)

    def ask(self, instance: Affinity, model: str, new_id: Callable[[], str], images: tuple[str, ...] = ()) -> Ask:
        """The question for this instance: only what is new where it holds the session, else all (PROTOCOL 9.8)."""
        # The session lives in one process: another instance does not know it.
        found = self._found if self.affinity == instance else None
        if found is not None:
            self.state = "reused"
        return Ask(
            request_id=new_id(),
            # The service takes any new id for a new session; `chat/finish` reports the true one.
            session_id=found.session_id if found else new_id(),
            # A new session has a new mark, which no earlier text can hold.
            text=self._reply(found.knows) if found else self._whole(new_id()[:DELIMITER_ID_LENGTH]),
            model=model,
            mode=self._plan.mode,
            is_reply=found is not None,
            image_urls=images,
        )

    def _whole(self, mark: str) -> str:
        self.knows = Knowledge(mark)
        rule = self._tool_instructions() if self._plan.emulates else ""
        return whole_prompt(self._request.messages, mark, rule, self._request.reply_schema)

    def _reply(self, knows: Knowledge) -> str:
        """A session that was told of the same tools needs only what is special in this turn; agents add tools."""
        # Before `_rule`, which may note in it that instructions are sent.
        request, self.knows = self._request, knows
        rules = (self._rule(knows), demand(request.reply_schema, held=knows.json))
        return reply_prompt(self._new, knows.mark, self._prefix, rules, self._history.changes(knows))

    def _rule(self, knows: Knowledge) -> str:
        request = self._request
        if self._plan.emulates:
            # "At most one call" stands in the session's instructions; one line cannot take it back, so it is sent anew.
            freed = knows.single and request.parallel_tool_calls
            if freed or knows.tools != self._history.tools:
                return self._tool_instructions()
        # The model was never shown tools, so it need not be asked to call none.
        elif not knows.tools:
            return ""
        choice = request.tool_choice if request.tools else NO_TOOL
        return turn_rule(choice, parallel=request.parallel_tool_calls, delimiter_id=knows.mark)

    def _tool_instructions(self) -> str:
        """For a session that has no instructions on these tools yet. Notes in `knows` that it will have them."""
        request, mark = self._request, self.knows.mark
        parallel = request.parallel_tool_calls
        self.knows = msgspec.structs.replace(self.knows, tools=self._history.tools, single=not parallel)
        return tool_instructions(
            request.tools, request.tool_choice, parallel=parallel, delimiter_id=mark, profile=self._plan.profile
        )  # fmt: skip

    def remember(
        self,
        instance: Affinity,
        session_id: str,
        text: str,
        calls: Sequence[tuple[str, str]] = (),
        given: Sequence[str] = (),
        *,
        called: bool = False,
    ) -> None:
        """Keep the session for the turn that continues this conversation.

        Nobody waits for it: Redis does it before it takes the turn's usage row, for which the last byte waits.
        """
        if self._sessions is None:
            return
        key = self._history.key_after(text, calls, given)
        if key is None:  # nobody could go on with it safely
            return
        # First of all: `leave` must not drop a session that is kept.
        found, self._found = self._found, None
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
            knows=msgspec.structs.replace(
                self.knows,
                json=bool(self._request.reply_schema),
                called=called or self.knows.called,
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
            length=len(self._prefix),
            hits=found.hits,
            created_at=found.created_at,
            knows=found.knows,
        )

    def rebuild(self) -> Coroutine[Any, Any, None] | None:
        """Give the session up and tell the conversation from its start to a new one; what is left to do, if any."""
        if self._found is not None:
            self.state = "rebuilt"
        return self.leave()

    def leave(self) -> Coroutine[Any, Any, None] | None:
        """The claimed session is not to be continued any more; what is left to do, if any.

        One that was never asked, because the turn was refused or given up in the queue, is as good as before.
        """
        found, self._found = self._found, None
        if found is None or self._sessions is None:
            return None
        # It was asked: it now holds a turn that the client may never see, so nobody can go on with it.
        if self.state != "new":
            return self._sessions.drop(found.session_id)
        self._put_back(self._sessions, found)
        return None


def _images(messages: Sequence[Message]) -> tuple[str, ...]:
    images: tuple[str, ...] = ()
    for message in messages:
        if message.images:
            images += message.images
    return images
