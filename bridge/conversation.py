"""What the service already knows of a conversation: the session that continues it, and what is left to tell."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from time import time
from typing import Any

from bridge.chat.events import SessionState
from bridge.chat.request import AskMode, ChatRequest, Message
from bridge.lingma.dialect_a import Ask
from bridge.pool.policy import Affinity
from bridge.prompt.compose import reply_prompt, split_reply, whole_prompt
from sessions_store.fingerprint import Fingerprint
from sessions_store.store import Found, SessionStore


class Conversation:
    """One turn's conversation. `find()` first, then `ask()`; in the end `remember()` or `leave()`.

    Without a store, in agent mode and for requests with tools nothing is looked for and nothing is kept.
    """

    def __init__(self, sessions: SessionStore | None, request: ChatRequest, caller_id: int, mode: AskMode) -> None:
        self.state: SessionState = "off"
        self._sessions = sessions if mode == "chat" and not request.tooling else None
        self._messages = request.messages
        self._caller_id = caller_id
        self._mode = mode
        self._prefix, self._new = split_reply(request.messages)
        self._fingerprint = Fingerprint(caller_id)
        self._found: Found | None = None  # as long as it may work
        self._key = ""  # where it was found

    @property
    def is_known(self) -> bool:
        """A session of an earlier turn is to be continued."""
        return self._found is not None

    @property
    def affinity(self) -> Affinity | None:
        """The instance that holds that session."""
        return Affinity(self._found.instance, self._found.generation) if self._found else None

    async def find(self) -> None:
        """Claim the session of the conversation so far, if there is one."""
        if self._sessions is None:
            return
        self.state = "new"
        self._feed(self._prefix)
        if self._prefix and self._new:
            self._key = self._fingerprint.hexdigest()
            self._found = await self._sessions.claim(self._key)
        self._feed(self._new)

    def _feed(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._fingerprint.feed(message.role, message.text)

    def ask(self, instance: Affinity, model: str, new_id: Callable[[], str]) -> Ask:
        """The question for this instance: only what is new where it holds the session, else everything (9.8)."""
        found = self._found if self.affinity == instance else None
        if found is not None:
            self.state = "reused"
        return Ask(
            request_id=new_id(),
            session_id=found.session_id if found else new_id(),
            text=reply_prompt(self._new) if found else whole_prompt(self._messages),
            model=model,
            mode=self._mode,
            is_reply=found is not None,
        )

    def remember(self, instance: Affinity, session_id: str, answer: str) -> None:
        """Keep the session for the turn that continues this conversation.

        Nobody waits for it: Redis does it before it takes the turn's usage row, for which the last byte waits.
        """
        if self._sessions is None:
            return
        found, self._found = self._found, None
        self._sessions.remember(
            self._fingerprint.feed("assistant", answer).hexdigest(),
            session_id=session_id,
            instance=instance.name,
            generation=instance.generation,
            api_key_id=self._caller_id,
            length=len(self._messages) + 1,
            hits=found.hits + 1 if found else 0,
            created_at=found.created_at if found else time(),
        )

    def _put_back(self, sessions: SessionStore, found: Found) -> None:
        sessions.remember(
            self._key,
            session_id=found.session_id,
            instance=found.instance,
            generation=found.generation,
            api_key_id=self._caller_id,
            length=len(self._prefix),
            hits=found.hits,
            created_at=found.created_at,
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
        if self.state != "new":
            return self._sessions.drop(found.session_id)
        self._put_back(self._sessions, found)
        return None
