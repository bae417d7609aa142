"""The tool calls of the service's own agent: which turn each belongs to, what is known of it, and what it is answered.

The gateway runs no tool. It denies or allows by an `Approval`, its own or that of the caller, says so once, and reports
as a result only what the service has reported itself (PROTOCOL 11.8, 17.5).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec

from bridge.chat.events import LingmaToolCall
from bridge.lingma.dialects.base import Call, Dialect
from bridge.lingma.stream import ReplyStream
from bridge.lingma.tools import policy
from bridge.lingma.tools.events import Budget, ToolEvent, ToolMessage, complete
from bridge.lingma.tools.policy import Decision
from bridge.telemetry import metrics
from gateway_project.lib.tool_approval import UNNAMED, Approval

logger = logging.getLogger(__name__)

Read = Callable[[bytes], ToolMessage | None]


class CallState(msgspec.Struct):
    """One call: what is known of it, whether it may run, and whether its result has been sent."""

    call: LingmaToolCall
    allowed: bool | None = None
    """None: there was nothing to decide so far."""
    result_sent: bool = False
    name_is_guess: bool = True
    """The name came from the text of the reply, which the model can write as it likes, and not from an event."""

    @property
    def proven_name(self) -> str:
        """The name, if an event has it: no other opens a list of allowed tools."""
        return UNNAMED if self.name_is_guess else self.call.name


class TurnCalls:
    """The calls of one turn by their ids, and how much of them may be kept."""

    def __init__(self) -> None:
        self.states: dict[str, CallState] = {}
        self.budget = Budget()


class ToolCallRouter:
    """`handlers` take every push about tools, `answer` says what an invocation is answered. `notify` must not raise."""

    def __init__(
        self,
        dialect: Dialect,
        approval: Approval,
        streams: Mapping[str, ReplyStream],
        notify: Callable[[Call], None],
    ) -> None:
        self.on_unrouted: Callable[[], object] = lambda: None
        """Called for every event that belongs to no turn."""
        self._dialect = dialect
        self._approval = approval
        self._streams = streams
        self._notify = notify
        self._turns: dict[str, TurnCalls] = {}

    def handlers(self) -> dict[str, Callable[[bytes], None]]:
        """A handler for each method about tools."""
        return {method: partial(self._receive, method, read) for method, read in self._dialect.pushes.tools.items()}

    def answer(self, method: str, params: bytes) -> dict[str, Any] | None:
        """The JSON-RPC result of an invocation that waits for it; None: only acknowledge it."""
        # Called before `_receive` for the same message: acknowledgements leave before anything is acted on, and this
        # one carries the result (PROTOCOL 11.4).
        message = self._dialect.pushes.tools[method](params)
        if message is None or message.asynchronous:
            return None
        event = message.events[0] if message.events else ToolEvent("")
        stream = self._stream_of(event)
        state = self._calls_of(stream).states.get(event.tool_id) if stream is not None else None
        name = event.name or (state.call.name if state is not None else UNNAMED)
        proven_name = event.name or (state.proven_name if state is not None else UNNAMED)
        # Without a turn nobody asked for the tool here, so nobody may allow it.
        allowed = stream is not None and self._allows(stream, proven_name)
        if state is not None and state.allowed is not None:  # what was allowed under one name is so under no other
            allowed = allowed and state.allowed
        _, result = self._result(event, name) if allowed else self._no_result(event, name, policy.DENIED)
        return result

    def forget(self, stream: ReplyStream) -> None:
        """The turn has ended; what its calls still wait for is never made up."""
        self._turns.pop(stream.request_id, None)

    def _receive(self, method: str, read: Read, params: bytes) -> None:
        message = read(params)
        if message is None:
            return
        # A message without a call still proves that the service works on the turn.
        if not message.events and (stream := self._streams.get(message.request_id)) is not None:
            stream.push("")
        for event in message.events:
            self._take(method, message, event)

    def _take(self, method: str, message: ToolMessage, event: ToolEvent) -> None:
        stream = self._stream_of(event)
        if stream is None:
            return self._drop("no turn", method, message, event)
        calls = self._calls_of(stream)
        state = calls.states.get(event.tool_id)
        before = state.call if state is not None else None
        # The service decides how much it sends, so the bound holds before anything is kept.
        call = calls.budget.fit(before, self._completed(state, event, stream))
        if call is None:
            return self._drop("a turn with too many calls", method, message, event)
        if state is None:
            state = calls.states[event.tool_id] = CallState(call)
        state.call = call
        state.name_is_guess = state.name_is_guess and not event.name
        # An echo repeats a decision or a result, maybe our own: to answer it would go round in circles.
        if message.kind != "echo":
            self._decide(stream, state, message, event, before)
            self._report(state, message, event)
        # Events come several times (F14, PROTOCOL 17.5). What changed nothing is only a sign of life.
        if state.call == before:
            stream.push("")
        else:
            stream.push_call(state.call)
        return None

    def _decide(
        self,
        stream: ReplyStream,
        state: CallState,
        message: ToolMessage,
        event: ToolEvent,
        before: LingmaToolCall | None,
    ) -> None:
        """Once per call, when it asks: not when it runs or has ended already. Again when it has got another name."""
        # An approval needs all three ids (PROTOCOL 11.6). Without them nothing can be sent, so a status decides
        # nothing.
        routed = bool(event.request_id and event.session_id)
        if message.kind == "invocation":  # somebody waits for an answer, whatever was decided before
            asks = event.undecided or event.state == "running"
        else:
            asks = routed and event.undecided and (before is None or before.state in ("pending", "running"))
        name = event.name or state.call.name
        # Never by a guessed name: the model could write a card with the name of an allowed tool into its text.
        decision = Decision(name, self._allows(stream, event.name or state.proven_name))
        # From allowed to denied only: a later event must not turn a refusal into a permission.
        has_changed = state.allowed is None or (state.allowed and not decision.allowed)
        if not (asks and has_changed):
            return
        state.allowed = decision.allowed
        runner: Literal["", "service"] = "service" if decision.allowed else ""
        state.call = msgspec.structs.replace(state.call, denied=not decision.allowed, runner=runner)
        stream.decisions.append(decision)
        metrics.TOOL_DECISIONS.labels("allowed" if decision.allowed else "denied").inc()
        # Ids and names come from outside: quoted and cut, they can neither fill the log nor fake a line of it.
        logger.info("tool call %.80r of turn %s: %.150r", event.tool_id, stream.request_id, str(decision))
        if routed:
            ids = (event.request_id, event.session_id, event.tool_id)
            self._notify(self._dialect.approve(*ids, allowed=decision.allowed))

    def _report(self, state: CallState, message: ToolMessage, event: ToolEvent) -> None:
        """Send the result once: at once if there can be none from here, else when the service has reported it."""
        if state.allowed is None or state.result_sent:
            return
        invoked = message.kind == "invocation"
        # With an invocation the service asks whoever is connected to run the tool, instead of running it itself.
        if state.allowed and invoked and event.undecided:
            state.call = msgspec.structs.replace(state.call, runner="client")
        ended = event.state not in ("pending", "running")
        # Allowed and run by the service itself: its own report is still to come.
        if state.allowed and not (invoked or ended or event.result):
            return
        state.result_sent = True
        if invoked and not message.asynchronous:
            return  # its JSON-RPC answer has it
        if not state.allowed:
            self._notify(self._no_result(event, event.name or state.call.name, policy.DENIED))
        elif event.state != "finished" or event.result:  # else it has run, and nobody here knows what it gave
            self._notify(self._result(event, state.call.name))

    def _allows(self, stream: ReplyStream, name: str) -> bool:
        # That of the caller, where its key has one, is the more special one.
        return (self._approval if stream.approval is None else stream.approval).allows(name)

    def _stream_of(self, event: ToolEvent) -> ReplyStream | None:
        """By request id; without one by the tool id, if that is known of one turn only (PROTOCOL 17.5)."""
        if event.request_id:
            return self._streams.get(event.request_id)
        # Ids are the service's and may repeat between turns. With two owners the event is dropped, as no client may
        # see another one's call (F27).
        owners = [request_id for request_id, calls in self._turns.items() if event.tool_id in calls.states]
        return self._streams.get(owners[0]) if len(owners) == 1 else None

    def _calls_of(self, stream: ReplyStream) -> TurnCalls:
        return self._turns.setdefault(stream.request_id, TurnCalls())

    def _drop(self, why: str, method: str, message: ToolMessage, event: ToolEvent) -> None:
        """Log it; no client gets it. A service that waits for a result is sent one that there is none."""
        self.on_unrouted()
        level = logging.INFO if event.request_id else logging.WARNING  # a turn that was stopped has late ones
        logger.log(level, "%s of tool call %.80r dropped: it belongs to %s", method, event.tool_id, why)
        # A service that waits for this result would hang without one, even if its turn is gone.
        if message.kind == "invocation" and message.asynchronous:
            self._notify(self._no_result(event, event.name or UNNAMED, policy.NOT_RUN))

    def _completed(self, state: CallState | None, event: ToolEvent, stream: ReplyStream) -> LingmaToolCall:
        before = state.call if state is not None else None
        # A name from an event beats one from the text: forget the guess, or `complete` would keep it.
        if state is not None and before is not None and state.name_is_guess and event.name:
            before = msgspec.structs.replace(before, name=UNNAMED)
        # The card comes before the events (PROTOCOL 11.8), so the name is in the text by now, if it is anywhere.
        if not event.name and (before is None or before.name == UNNAMED):
            event = msgspec.structs.replace(event, name=self._dialect.name_in_text(stream.text, event.tool_id))
        return complete(before, event)

    def _result(self, event: ToolEvent, name: str) -> Call:
        """What the service has reported, or why there is nothing."""
        # `success` is true only with a result that the service reported itself: none is made up (PROTOCOL 17.5).
        if event.state in ("failed", "cancelled"):
            return self._no_result(event, name, event.error or policy.NO_RESULT)
        if event.result:
            return self._dialect.tool_result(event.tool_id, name, event.result)
        return self._no_result(event, name, policy.NOT_RUN)

    def _no_result(self, event: ToolEvent, name: str, why: str) -> Call:
        return self._dialect.no_tool_result(event.tool_id, name, why)
