"""What Lingma is asked in a turn: the text for the session that continues the conversation, or for a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bridge.chat.request import ChatRequest, Message, ToolChoice
from bridge.lingma.dialects.base import Ask, AskTools
from bridge.pool.policy import Affinity
from bridge.prompt.compose import DELIMITER_ID_LENGTH, demand, reply_prompt, whole_prompt
from bridge.prompt.tool_instructions import tool_instructions, turn_rule
from bridge.turn.conversation import Conversation
from bridge.turn.plan import TurnPlan
from sessions_store.store import SessionContents

NO_TOOL = ToolChoice("none")


class Question:
    """`images()`, then `ask()`: which session is asked, and with which text, is written into the conversation."""

    def __init__(self, request: ChatRequest, plan: TurnPlan, conversation: Conversation) -> None:
        self._request = request
        self._plan = plan
        self._conversation = conversation

    def images(self, instance: Affinity) -> tuple[str, ...]:
        """Those the service has not seen, if they belong to what is asked; of a whole history, the newest turn's."""
        new = _images(self._conversation.new)
        # The session on this instance has seen the older ones.
        if new or self._conversation.affinity == instance:
            return new
        turn: list[Message] = []
        # Only the newest turn that has images: to upload those of a long history again takes longer than the answer.
        for message in reversed(self._conversation.prefix):
            if message.role == "assistant":
                if images := _images(turn):
                    return images
                turn = []
            else:
                turn.insert(0, message)
        return _images(turn) if turn else ()

    def pictured(self, instance: Affinity) -> int:
        """How many images have their place in what this instance is told."""
        conversation = self._conversation
        told = conversation.new if conversation.affinity == instance else self._request.messages
        return sum([len(message.images) for message in told])

    def ask(self, instance: Affinity, model: str, new_id: Callable[[], str], images: tuple[str, ...] = ()) -> Ask:
        """For this instance: only what is new where it holds the session, else everything (PROTOCOL 9.8)."""
        conversation, request = self._conversation, self._request
        # The session lives in one process: another instance does not know it.
        found = conversation.found if conversation.affinity == instance else None
        if found is not None:
            conversation.state = "reused"
        tools = None
        if self._plan.forwards:
            tools = AskTools(request.tool_notation, request.tools, request.tool_choice, request.parallel_tool_calls)
        return Ask(
            request_id=new_id(),
            # The service takes any new id for a new session; `chat/finish` reports the true one.
            session_id=found.session_id if found else new_id(),
            # A new session has new delimiters, which no earlier text can hold.
            text=self._follow_up(found.knows) if found else self._whole(new_id()[:DELIMITER_ID_LENGTH]),
            model=model,
            mode=self._plan.mode,
            is_reply=found is not None,
            image_urls=images,
            tools=tools,
            approval=self._plan.approval,
        )

    def _whole(self, delimiter_id: str) -> str:
        self._conversation.knows = SessionContents(delimiter_id)
        instructions = self._instructions() if self._plan.emulates else ""
        return whole_prompt(self._request.messages, delimiter_id, instructions, self._request.reply_schema)

    def _follow_up(self, knows: SessionContents) -> str:
        """A session that has the same tools needs only what is special in this turn; agents add tools."""
        # Before `_rule`, which may note in it that instructions are sent.
        conversation = self._conversation
        conversation.knows = knows
        rules = (self._rule(knows), demand(self._request.reply_schema, held=knows.json))
        changes = conversation.history.changes(knows)
        return reply_prompt(conversation.new, knows.mark, conversation.prefix, rules, changes)

    def _rule(self, knows: SessionContents) -> str:
        request = self._request
        if self._plan.emulates:
            # "At most one call" stands in the session's instructions; one line cannot take it back, so they are sent
            # anew.
            freed = knows.single and request.parallel_tool_calls
            if freed or knows.tools != self._conversation.history.tools:
                return self._instructions()
        # The model was never shown tools, so it need not be asked to call none.
        elif not knows.tools:
            return ""
        choice = request.tool_choice if request.tools else NO_TOOL
        return turn_rule(choice, parallel=request.parallel_tool_calls, delimiter_id=knows.mark)

    def _instructions(self) -> str:
        """For a session that has no instructions on these tools yet. Notes in `knows` that it will have them."""
        request, conversation = self._request, self._conversation
        parallel, delimiter_id = request.parallel_tool_calls, conversation.knows.mark
        conversation.knows = msgspec.structs.replace(
            conversation.knows, tools=conversation.history.tools, single=not parallel
        )
        return tool_instructions(
            request.tools,
            request.tool_choice,
            parallel=parallel,
            delimiter_id=delimiter_id,
            profile=self._plan.profile,
        )


def _images(messages: Sequence[Message]) -> tuple[str, ...]:
    images: tuple[str, ...] = ()
    for message in messages:
        if message.images:
            images += message.images
    return images
