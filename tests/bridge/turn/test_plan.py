"""How a request is served: model name, tools and settings together."""

import pytest

from bridge.chat.request import ChatRequest, Message, Tool, ToolChoice
from bridge.routing.routes import Route
from bridge.turn.plan import PlanOptions, plan_of
from gateway_project.lib.tool_approval import DENY, ToolPolicy

TOOL = Tool("read")


def asking(**fields):
    return ChatRequest("m", (Message("user", "Hi"),), **fields)


def with_tools(**fields):
    return asking(tools=(TOOL,), tooling=True, **fields)


def test_plain_request_is_a_chat_with_its_session():
    plan = plan_of(asking(), Route(), PlanOptions())
    assert (plan.mode, plan.emulates, plan.forwards, plan.call_display, plan.keeps_session) == (
        "chat", False, False, None, True,
    )  # fmt: skip


def test_tools_are_emulated_in_chat_mode():
    plan = plan_of(with_tools(), Route(), PlanOptions())
    assert (plan.mode, plan.emulates, plan.call_display, plan.keeps_session) == ("chat", True, None, True)


def test_forbidden_tools_are_not_offered():
    plan = plan_of(with_tools(tool_choice=ToolChoice("none")), Route(), PlanOptions())
    assert not plan.emulates


def test_history_with_tools_alone_offers_none():
    assert not plan_of(asking(tooling=True), Route(), PlanOptions()).emulates


@pytest.mark.parametrize(("tool_mode", "forwards"), [("bridge", False), ("forward", True)])
def test_other_tool_modes_leave_tools_to_the_agent(tool_mode, forwards):
    plan = plan_of(with_tools(), Route(), PlanOptions(tool_mode=tool_mode, tool_executed="omit"))
    assert (plan.mode, plan.emulates, plan.forwards, plan.call_display) == ("agent", False, forwards, "omit")
    assert not plan.keeps_session


def test_tool_mode_concerns_requests_with_tools_alone():
    plan = plan_of(asking(), Route(), PlanOptions(tool_mode="forward"))
    assert (plan.mode, plan.forwards, plan.keeps_session) == ("chat", False, True)


def test_a_route_goes_before_the_settings():
    route = Route(ask_mode="agent", tool_mode="bridge", thinking=True)
    plan = plan_of(asking(), route, PlanOptions(ask_mode="chat"))
    assert (plan.mode, plan.call_display, plan.thinking) == ("agent", "text", True)


@pytest.mark.parametrize(
    ("requested", "default", "planned"),
    [(None, None, False), (None, True, True), (False, True, False), (True, None, True)],
)
def test_thinking_follows_client_then_route(requested, default, planned):
    assert plan_of(asking(thinking=requested), Route(thinking=default), PlanOptions()).thinking is planned


def test_sessions_with_tools_can_be_turned_off():
    assert not plan_of(with_tools(), Route(), PlanOptions(reuse_with_tools=False)).keeps_session
    assert plan_of(asking(), Route(), PlanOptions(reuse_with_tools=False)).keeps_session


def test_finished_call_becomes_words_among_client_calls():
    options = PlanOptions(tool_mode="bridge", tool_executed="calls")
    plans = [plan_of(with_tools(can_show_executed_calls=shows), Route(), options) for shows in (True, False)]
    assert [plan.call_display for plan in plans] == ["calls", "text"]


def test_callers_tools_go_before_route_and_settings():
    plan = plan_of(with_tools(), Route(tool_mode="bridge"), PlanOptions(tool_mode="forward"), ToolPolicy("emulate"))
    assert (plan.emulates, plan.mode, plan.approval) == (True, "chat", None)
    plan = plan_of(with_tools(), Route(), PlanOptions(), ToolPolicy("bridge", DENY))
    assert (plan.emulates, plan.mode, plan.approval) == (False, "agent", DENY)


def test_caller_without_mode_follows_the_route():
    plan = plan_of(with_tools(), Route(tool_mode="bridge"), PlanOptions(), ToolPolicy("", DENY))
    assert (plan.mode, plan.approval) == ("agent", DENY)
