"""How one request is served: what its model name, its tools and the settings add up to. Pure."""

from __future__ import annotations

import msgspec

from bridge.chat.request import AskMode, ChatRequest, ToolMode
from bridge.prompt.profile import DEFAULT_PROFILE, PromptProfile
from bridge.reply.read_options import CallDisplay
from bridge.routing.routes import Route
from gateway_project.lib.tool_approval import Approval, ToolPolicy


class PlanOptions(msgspec.Struct, frozen=True):
    """The settings that count where a route says nothing."""

    ask_mode: AskMode = "chat"
    tool_mode: ToolMode = "emulate"
    tool_executed: CallDisplay = "text"
    reuse_with_tools: bool = True


class TurnPlan(msgspec.Struct, frozen=True):
    mode: AskMode
    emulates: bool
    """The prompt describes the request's tools to the model, and its calls are read out of its text."""
    forwards: bool
    """The request's tools are passed to the service as its `toolConfig`."""
    call_display: CallDisplay | None
    """How calls of the service's own agent are shown; None: not at all."""
    thinking: bool
    keeps_session: bool
    profile: PromptProfile = DEFAULT_PROFILE
    approval: Approval | None = None
    """Which tools of the service's own agent may run; None: those that the instance allows."""


def plan_of(request: ChatRequest, route: Route, options: PlanOptions, tools: ToolPolicy | None = None) -> TurnPlan:
    """Tools are emulated, or left to the service's agent: then a request that has to do with tools needs agent mode
    (PROTOCOL 17.3). Sessions are kept in chat mode only. `tools`: what the caller has in the place of the settings.
    """
    # The caller's own wins, as it may be there to restrict him: clients choose the name, and with it the route.
    tool_mode = (tools.tool_mode if tools else None) or route.tool_mode or options.tool_mode
    # `bridge` and `forward` both leave calls to the service's agent; they differ in `toolConfig` alone.
    bridged = tool_mode != "emulate"
    # `tooling` and not `tools`: a history with calls goes on in the mode in which it began.
    mode: AskMode = "agent" if bridged and request.tooling else route.ask_mode or options.ask_mode
    thinking = request.thinking if request.thinking is not None else route.thinking
    return TurnPlan(
        mode=mode,
        emulates=not bridged and bool(request.tools) and request.tool_choice.mode != "none",
        forwards=tool_mode == "forward" and request.tooling,
        call_display=_call_display(request, options) if bridged else None,
        thinking=bool(thinking),
        # Chat mode only: that is where follow-ups are known to work (PROTOCOL 9.8).
        keeps_session=mode == "chat" and (options.reuse_with_tools or not request.tooling),
        profile=route.profile,
        approval=tools.approval if tools else None,
    )


def _call_display(request: ChatRequest, options: PlanOptions) -> CallDisplay:
    """Where every call is the client's to run, one that has run can only be shown as text."""
    return "text" if options.tool_executed == "calls" and not request.can_show_executed_calls else options.tool_executed
