"""How a turn came to its end, put together from its record when somebody may ask for it."""

from __future__ import annotations

import logging

from accounts.ledger.trace import LONGEST_NAME, MOST_OTHERS, NamedBy, Trace, shown
from bridge.chat.request import ChatRequest
from bridge.pool.instances.instance import Instance
from bridge.pool.pool import NOT_READY, Pool
from bridge.routing.routes import AGENT_NAMES, Route, Routes
from bridge.turn.engine import Engine
from bridge.turn.record import TurnRecord

logger = logging.getLogger(__name__)


def trace_of(record: TurnRecord, request: ChatRequest, engine: Engine, admitted: int) -> Trace:
    """`admitted`: ms from the request to the beginning of the turn, which the record's times count from."""
    try:
        return _trace_of(record, request, engine, admitted)
    except Exception:  # an edge: what is wrong with a trace must not cost the turn its row
        logger.exception("the trace of a turn could not be made")
        return Trace(admitted=admitted)


def _trace_of(record: TurnRecord, request: ChatRequest, engine: Engine, admitted: int) -> Trace:
    trace = Trace(
        admitted=admitted,
        placed=_later(admitted, record.placed_ms),
        asked=_later(admitted, record.asked_ms),
        session=record.session_why,
        holder=record.session_holder,
        by=record.handed_over_by,
        lost=record.lost or [],
        lost_at=[admitted + ms for ms in record.lost_ms or ()],
        corrections=record.corrections,
        param=shown(record.error_param),
        error=shown(record.error),
    )
    if record.sent_chars is not None:
        trace.sent, trace.whole = record.sent_chars, _characters(request)
    if record.route is not None:
        _add_name(trace, request.model, record.route, engine.routes)
    _add_others(trace, record, engine.pool)
    return trace


def _later(admitted: int, ms: int | None) -> int | None:
    return None if ms is None else admitted + ms


def _characters(request: ChatRequest) -> int:
    messages = request.messages
    calls = sum(len(call.arguments) for message in messages for call in message.tool_calls)
    return sum(len(message.text) for message in messages) + calls


def _add_name(trace: Trace, name: str, route: Route, routes: Routes) -> None:
    trace.named_by = _decider(routes.resolved(name), route, routes)
    if route.alias:
        trace.alias, trace.wanted = route.alias[:LONGEST_NAME], route.lingma_model[:LONGEST_NAME]


def _decider(name: str, route: Route, routes: Routes) -> NamedBy:
    offered = routes.key_of(route.lingma_model) is not None
    if route.alias:
        return "alias" if offered or not route.lingma_model else "alias_default"
    if name.lower() in AGENT_NAMES and not offered:
        return "agent"
    return "model" if offered else "default"


def _add_others(trace: Trace, record: TurnRecord, pool: Pool) -> None:
    """Every instance but the one that was chosen. Of a turn that got none: as they are now."""
    chosen = record.instance
    in_flight = pool.turns_by_instance() if record.in_flight is None else record.in_flight
    before = in_flight.get(chosen, 0) - 1
    failed = {name for name, _ in record.lost or ()}
    # By name: the pool may have grown or shrunk since, and who was not there has not been passed over.
    there = [each for each in pool.instances if each.name in in_flight and each.name != chosen]
    others = [(each, in_flight[each.name]) for each in there]
    # With a single instance that was chosen nothing is left; that of a refused turn is the reason of the refusal.
    for each, running in others[:MOST_OTHERS]:
        trace.others[each.name] = _against(each, running, before, record, failed)
    trace.more = max(0, len(others) - MOST_OTHERS)


def _against(each: Instance, running: int, before: int, record: TurnRecord, failed: set[str]) -> str:
    """Why this instance did not take the turn; `before`: turns of the chosen one, -1 for one elsewhere or none."""
    limit = each.candidate.limit
    if running == NOT_READY:
        # It may have come back since.
        return "starting" if each.is_ready else each.state.value
    if running >= limit:
        return f"full {running}/{limit}"
    if each.name in failed:
        return "lost"
    if record.session_why == "continued":
        return "session"
    if not record.instance or running < before or before < 0:
        return "kept"
    return f"busier {running}" if running > before else "turn"
