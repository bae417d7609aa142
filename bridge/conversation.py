"""What the service already knows of a conversation: the session that continues it, and what is left to tell."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from time import time
from typing import Any

from bridge.chat.events import SessionState
from bridge.chat.request import ChatRequest, Message, ToolChoice
from bridge.lingma.dialect_a import Ask
from bridge.plan import TurnPlan
from bridge.pool.policy import Affinity
from bridge.prompt.compose import MARK_LENGTH, demand, reply_prompt, split_reply, whole_prompt
from bridge.prompt.contract import constraint, contract
from sessions_store.fingerprint import Fingerprint, tools_digest
from sessions_store.store import Found, SessionStore

NO_TOOL = ToolChoice("none")
_CALLED = ":called"  # kept with a session whose model has kept to its marks once


class Conversation:
    """One turn's conversation. `find()` first, then `ask()`; in the end `remember()` or `leave()`.

    Without a store, and for turns whose plan keeps no session, nothing is looked for and nothing is kept.
    """

    def __init__(self, sessions: SessionStore | None, request: ChatRequest, caller_id: int, plan: TurnPlan) -> None:
        self.state: SessionState = "off"
        self.nonce = ""
        """The session's mark, known after `ask()`: it stands in headings and around calls."""
        self.has_called = False
        """Known after `ask()`: the model has called a tool between the session's marks before."""
        self._told = ""  # the mark, and which tools the session was told of
        self._sessions = sessions if plan.keeps_session else None
        self._request = request
        self._caller_id = caller_id
        self._plan = plan
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
            if message.tool_calls or message.tool_call_id or message.images:
                calls = [(call.id, call.name) for call in message.tool_calls]
                self._fingerprint.feed(
                    message.role, message.text, calls=calls, call_id=message.tool_call_id,
                    is_error=message.is_error, images=message.images,
                )  # fmt: skip
            else:
                self._fingerprint.feed(message.role, message.text)

    def images(self, instance: Affinity) -> tuple[str, ...]:
        """Those the service has not seen, if they belong to what is asked; of a whole history, the newest turn's."""
        new = _images(self._new)
        if new or self.affinity == instance:
            return new
        turn: list[Message] = []
        for message in reversed(self._prefix):
            if message.role == "assistant":
                if images := _images(turn):
                    return images
                turn = []
            else:
                turn.insert(0, message)
        return _images(turn)

    def ask(self, instance: Affinity, model: str, new_id: Callable[[], str], images: tuple[str, ...] = ()) -> Ask:
        """The question for this instance: only what is new where it holds the session, else everything (9.8)."""
        found = self._found if self.affinity == instance else None
        if found is not None:
            self.state = "reused"
        return Ask(
            request_id=new_id(),
            session_id=found.session_id if found else new_id(),
            text=self._reply(found) if found else self._whole(new_id),
            model=model,
            mode=self._plan.mode,
            is_reply=found is not None,
            image_urls=images,
        )

    def _whole(self, new_id: Callable[[], str]) -> str:
        self.nonce = new_id()[:MARK_LENGTH]
        self._told = f"{self.nonce}:"
        rule = self._contract() if self._plan.emulates else ""
        return whole_prompt(self._request.messages, self.nonce, rule, self._request.reply_schema)

    def _reply(self, found: Found) -> str:
        """A session that was told of the same tools needs only what is special in this turn; agents add tools."""
        request = self._request
        self.has_called = found.contract.endswith(_CALLED)
        self._told = found.contract.removesuffix(_CALLED)
        self.nonce, _, tools = self._told.partition(":")
        rule = ""
        if self._plan.emulates and tools != _digest(request):
            rule = self._contract()
        elif tools:
            choice = request.tool_choice if request.tools else NO_TOOL
            rule = constraint(choice, parallel=request.parallel_tool_calls, nonce=self.nonce)
        return reply_prompt(self._new, self.nonce, self._prefix, (rule, demand(request.reply_schema)))

    def _contract(self) -> str:
        """How to call the tools, for a session that has not been told yet."""
        request = self._request
        self._told = f"{self.nonce}:{_digest(request)}"
        return contract(
            request.tools,
            request.tool_choice,
            parallel=request.parallel_tool_calls,
            nonce=self.nonce,
            profile=self._plan.profile,
        )

    def remember(
        self,
        instance: Affinity,
        session_id: str,
        answer: str,
        calls: Sequence[tuple[str, str]] = (),
        *,
        called: bool = False,
    ) -> None:
        """Keep the session for the turn that continues this conversation.

        Nobody waits for it: Redis does it before it takes the turn's usage row, for which the last byte waits.
        """
        if self._sessions is None:
            return
        found, self._found = self._found, None
        self._sessions.remember(
            self._answered(answer, calls),
            session_id=session_id,
            instance=instance.name,
            generation=instance.generation,
            api_key_id=self._caller_id,
            length=len(self._request.messages) + 1,
            hits=found.hits + 1 if found else 0,
            created_at=found.created_at if found else time(),
            contract=self._told + (_CALLED if called or self.has_called else ""),
        )

    def _answered(self, answer: str, calls: Sequence[tuple[str, str]]) -> str:
        if calls:
            return self._fingerprint.feed("assistant", answer, calls=calls).hexdigest()
        return self._fingerprint.feed("assistant", answer).hexdigest()

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
            contract=found.contract,
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


def _images(messages: Sequence[Message]) -> tuple[str, ...]:
    images: tuple[str, ...] = ()
    for message in messages:
        if message.images:
            images += message.images
    return images


def _digest(request: ChatRequest) -> str:
    """Which tools a contract names."""
    tools = ((tool.name, tool.description, tool.schema, "custom" if tool.custom else "") for tool in request.tools)
    return tools_digest(tuple(tools)).hex()
