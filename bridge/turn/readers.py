"""What is to be read out of the reply of a turn: its reader, made after the plan."""

from __future__ import annotations

from collections.abc import Callable

from bridge.chat.request import ChatRequest
from bridge.prompt.compose import headings
from bridge.reply.call_assembly import ToolOffer
from bridge.reply.calls.parser import CallRules
from bridge.reply.read_options import ReadOptions
from bridge.reply.reader import Reader
from bridge.reply.request_texts import texts_of
from bridge.turn.plan import TurnPlan
from sessions_store.store import SessionContents

_PLAIN = tuple(tuple(ReadOptions(stream=stream, thinking=each) for each in (False, True)) for stream in (False, True))
"""Options of readers that look for no calls and no JSON, by whether the client streams and wants the reasoning."""


def new_reader(request: ChatRequest, plan: TurnPlan, knows: SessionContents, new_id: Callable[[], str]) -> Reader:
    """For a reply of the session that was sent what `knows` says."""
    prefix, offer = request.call_id_prefix, None
    calls_forbidden = not plan.emulates and plan.call_display is None and bool(knows.tools)
    prefilled = request.messages[-1].role == "assistant"  # then the reply is only the rest of it
    schema = b"" if prefilled else request.reply_schema
    if not request.tools and plan.call_display is None and not calls_forbidden and not schema:
        return Reader(_PLAIN[request.stream][plan.thinking], new_id, knows.mark)
    if plan.emulates:
        offer = ToolOffer(
            tools=request.tools,
            choice=request.tool_choice,
            parallel=request.parallel_tool_calls,
            delimiter_id=knows.mark,
            stream=request.stream,
            rules=_call_rules(request, plan, knows),
        )
    options = ReadOptions(
        thinking=plan.thinking,
        offer=offer,
        calls_forbidden=calls_forbidden,
        lingma_calls=plan.call_display,
        tools=request.tools if request.tool_choice.mode != "none" else (),
        forced=request.forced_tool if plan.call_display else None,
        parallel=request.parallel_tool_calls,
        schema=schema,
        stream=request.stream,
    )
    return Reader(options, lambda: prefix + new_id()[:24], knows.mark)


def _call_rules(request: ChatRequest, plan: TurnPlan, knows: SessionContents) -> CallRules:
    """What counts as a call. Text that the request holds as well is a quotation, unless the model itself wrote it."""
    return CallRules(
        # Once the model has called between the session's marks, its own notation is no call any more.
        guesses=plan.profile.native_calls and not knows.called,
        texts=lambda: texts_of(request),
        headings=headings(knows.mark),
    )
