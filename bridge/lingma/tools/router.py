"""The tool calls of the service's own agent: which turn each belongs to, what is known of it, and what it is answered.

The gateway runs no tool. It denies or allows by its `Approval`, says so once, and reports as a result only what the
service has reported itself (PROTOCOL 11.8, 17.5).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from bridge.chat.events import ServiceCall
from bridge.lingma.dialects import dialect_a
from bridge.lingma.tools import events as tool_events
from bridge.lingma.tools import policy as firewall
from bridge.lingma.tools.events import Budget, ToolEvent
from bridge.lingma.tools.policy import Decision
from bridge.lingma.turn import Turn
from bridge.telemetry import metrics
from gateway_project.lib.tool_approval import UNNAMED, Approval

logger = logging.getLogger(__name__)

Notify = Callable[[str, dict[str, Any]], None]


class Case(msgspec.Struct):
    """One call: what is known of it, whether it may run, and whether its result has been told."""

    call: ServiceCall
    allowed: bool | None = None
    """None: there was nothing to decide so far."""
    answered: bool = False
    hearsay: bool = True
    """No event has told its name: the turn's text may have, which the model can write as it likes."""

    @property
    def told_name(self) -> str:
        """The name, if the service itself has told it: no other opens a list of allowed tools."""
        return UNNAMED if self.hearsay else self.call.name


class Docket:
    """The calls of one turn, by their ids."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.budget = Budget()


class ToolDesk:
    """`hear` takes every push about tools, `answer` says what `tool/invoke` is answered. `notify` must not raise."""

    def __init__(self, approval: Approval, turns: Mapping[str, Turn], notify: Notify) -> None:
        self.on_unrouted: Callable[[], object] = lambda: None
        """Called for every event that belongs to no turn."""
        self._approval = approval
        self._turns = turns
        self._notify = notify
        self._dockets: dict[str, Docket] = {}

    def hear(self, method: str, params: bytes | msgspec.Raw) -> None:
        """A push of one of dialect_a.TOOL_EVENTS."""
        heard = tool_events.read(method, params)
        if heard is None:
            return
        if not heard.events and (turn := self._turns.get(heard.request_id)) is not None:
            turn.push("")
        for event in heard.events:
            self._hear(method, event, asynchronous=heard.asynchronous)

    def answer(self, params: bytes | msgspec.Raw) -> dict[str, Any] | None:
        """The JSON-RPC result of a `tool/invoke` that waits for it (PROTOCOL 11.4); None: only acknowledge it."""
        heard = tool_events.read(dialect_a.TOOL_INVOKE, params)
        if heard is None or heard.asynchronous:
            return None
        event = heard.events[0] if heard.events else ToolEvent("")
        turn = self._turn_of(event)
        case = self._docket(turn).cases.get(event.tool_id) if turn is not None else None
        name = event.name or (case.call.name if case is not None else UNNAMED)
        told_name = event.name or (case.told_name if case is not None else UNNAMED)
        allowed = turn is not None and self._approval.allows(told_name)
        if case is not None and case.allowed is not None:  # what was allowed under one name is so under no other
            allowed = allowed and case.allowed
        return _result_of(event, name) if allowed else _nothing_of(event, name, firewall.DENIED)

    def forget(self, turn: Turn) -> None:
        """The turn has ended; what its calls still wait for is never made up."""
        self._dockets.pop(turn.request_id, None)

    # -- inside -------------------------------------------------------------------------------------------------

    def _hear(self, method: str, event: ToolEvent, *, asynchronous: bool) -> None:
        turn = self._turn_of(event)
        if turn is None:
            return self._drop("no turn", method, event, asynchronous=asynchronous)
        docket = self._docket(turn)
        case = docket.cases.get(event.tool_id)
        before = case.call if case is not None else None
        call = docket.budget.fit(before, _completed(case, event, turn))
        if call is None:
            return self._drop("a turn with too many calls", method, event, asynchronous=asynchronous)
        if case is None:
            case = docket.cases[event.tool_id] = Case(call)
        case.call = call
        case.hearsay = case.hearsay and not event.name
        if method in (dialect_a.TOOL_SYNC, dialect_a.TOOL_INVOKE):
            self._decide(turn, case, method, event, before)
            self._report(case, method, event, asynchronous=asynchronous)
        if case.call == before:
            turn.push("")
        else:
            turn.push_call(case.call)
        return None

    def _decide(self, turn: Turn, case: Case, method: str, event: ToolEvent, before: ServiceCall | None) -> None:
        """Once per call, when it asks: not when it runs or has ended already. Again when it has got another name."""
        routed = bool(event.request_id and event.session_id)
        if method == dialect_a.TOOL_INVOKE:  # somebody waits for an answer, whatever was said before
            asks = event.undecided or event.state == "running"
        else:
            asks = routed and event.undecided and (before is None or before.state in ("pending", "running"))
        name = event.name or case.call.name
        decision = Decision(name, self._approval.allows(event.name or case.told_name))
        is_news = case.allowed is None or (case.allowed and not decision.allowed)
        if not (asks and is_news):
            return
        case.allowed = decision.allowed
        runner: Literal["", "service"] = "service" if decision.allowed else ""
        case.call = msgspec.structs.replace(case.call, denied=not decision.allowed, runner=runner)
        turn.decisions.append(decision)
        metrics.TOOL_DECISIONS.labels("allowed" if decision.allowed else "denied").inc()
        logger.info("tool call %.80r of turn %s: %.150r", event.tool_id, turn.request_id, str(decision))
        if routed:
            ids = (event.request_id, event.session_id, event.tool_id)
            self._notify(dialect_a.TOOL_APPROVE, dialect_a.approval(*ids, allowed=decision.allowed))

    def _report(self, case: Case, method: str, event: ToolEvent, *, asynchronous: bool) -> None:
        """Tell the result once: at once if there can be none from here, else when the service has told it itself."""
        if case.allowed is None or case.answered:
            return
        invoked = method == dialect_a.TOOL_INVOKE
        if case.allowed and invoked and event.undecided:
            case.call = msgspec.structs.replace(case.call, runner="client")
        ended = event.state not in ("pending", "running")
        if case.allowed and not (invoked or ended or event.result):
            return
        case.answered = True
        if invoked and not asynchronous:
            return  # its JSON-RPC answer has said it
        if not case.allowed:
            told = _nothing_of(event, event.name or case.call.name, firewall.DENIED)
        elif event.state == "finished" and not event.result:
            return  # it has run, and nobody here knows what it gave
        else:
            told = _result_of(event, case.call.name)
        self._notify(dialect_a.TOOL_INVOKE_RESULT, told)

    def _turn_of(self, event: ToolEvent) -> Turn | None:
        """By request id; without one by the tool id, if that is known of one turn only (PROTOCOL 17.5)."""
        if event.request_id:
            return self._turns.get(event.request_id)
        owners = [request_id for request_id, docket in self._dockets.items() if event.tool_id in docket.cases]
        return self._turns.get(owners[0]) if len(owners) == 1 else None

    def _docket(self, turn: Turn) -> Docket:
        return self._dockets.setdefault(turn.request_id, Docket())

    def _drop(self, why: str, method: str, event: ToolEvent, *, asynchronous: bool) -> None:
        """Nobody is told of it. Who waits for a result hears that there is none."""
        self.on_unrouted()
        level = logging.INFO if event.request_id else logging.WARNING  # a turn that was stopped has late ones
        logger.log(level, "%s of tool call %.80r dropped: it belongs to %s", method, event.tool_id, why)
        if method == dialect_a.TOOL_INVOKE and asynchronous:
            told = _nothing_of(event, event.name or UNNAMED, firewall.NOT_RUN)
            self._notify(dialect_a.TOOL_INVOKE_RESULT, told)


def _completed(case: Case | None, event: ToolEvent, turn: Turn) -> ServiceCall:
    before = case.call if case is not None else None
    if case is not None and before is not None and case.hearsay and event.name:
        before = msgspec.structs.replace(before, name=UNNAMED)
    return tool_events.complete(before, _named(event, before, turn))


def _named(event: ToolEvent, before: ServiceCall | None, turn: Turn) -> ToolEvent:
    """With the name on the card in the turn's text, where nothing else tells one (PROTOCOL 11.3)."""
    if event.name or (before is not None and before.name != UNNAMED):
        return event
    return msgspec.structs.replace(event, name=tool_events.name_on_card(turn.text, event.tool_id))


def _result_of(event: ToolEvent, name: str) -> dict[str, Any]:
    """What the service has reported, or why there is nothing."""
    if event.state in ("failed", "cancelled"):
        return _nothing_of(event, name, event.error or firewall.NO_RESULT)
    if event.result:
        return dialect_a.tool_result(event.tool_id, name, msgspec.json.decode(event.result))
    return _nothing_of(event, name, firewall.NOT_RUN)


def _nothing_of(event: ToolEvent, name: str, why: str) -> dict[str, Any]:
    return dialect_a.no_tool_result(event.tool_id, name, why)
