"""Tool events in every spelling, and calls put together from them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.chat.events import LingmaToolCall
from bridge.lingma.dialects.a import tool_events
from bridge.lingma.dialects.a.messages import TOOL_APPROVE, TOOL_EVENTS, TOOL_INVOKE, TOOL_INVOKE_RESULT, TOOL_SYNC
from bridge.lingma.tools.events import MOST_BYTES, MOST_CALLS, VALUE_BYTES, Budget, ToolEvent, complete

IDS = {"requestId": "r1", "sessionId": "s1"}
PLAIN = IDS | {"toolCallId": "c1", "toolCallStatus": "PENDING", "parameters": {"a": 1}, "results": []}


def read(params, method=TOOL_SYNC):
    return tool_events.read(method, json.dumps(params).encode()).events


def one(params, method=TOOL_SYNC):
    (event,) = read(params, method)
    return event


def test_the_plain_event_of_the_plugin():
    assert one(PLAIN) == ToolEvent("c1", "r1", "s1", "", b'{"a":1}', "pending", True)


INNER = {"toolCallId": "c1", "name": "ls"}
OTHER = {"toolCallId": "c9", "name": "no"}


@pytest.mark.parametrize(
    "params",
    [
        {"toolCall": INNER, "tool_call": OTHER, "tool": OTHER, "data": {"toolCall": OTHER}},
        {"toolCall": "no object", "tool_call": INNER, "tool": OTHER},
        {"tool": INNER, "data": {"toolCall": OTHER}, "results": [OTHER]},
        {"data": {"toolCall": INNER, "tool_call": OTHER}, "results": [OTHER]},
        {"data": {"tool_call": INNER, "tool": OTHER}},
        {"data": {"tool": INNER}, "results": [OTHER]},
        {"results": ["x", INNER], "toolCallId": "c9", "name": "no"},
        INNER,
    ],
)
def test_first_object_in_protocol_order_is_the_event(params):
    event = one(params)
    assert (event.tool_id, event.name) == ("c1", "ls")


def test_each_item_about_a_call_is_an_event():
    items = [{"toolCallId": "c1", "name": "ls", "result": "x"}, {"tool_call_id": "c2", "content": "y"}]
    first, second = read(
        IDS | {"toolCallId": "c1", "toolCallStatus": "results", "parameters": {"a": 1}, "results": items}
    )
    assert (first.tool_id, first.input, first.result, first.state) == ("c1", b'{"a":1}', b'"x"', "finished")
    assert (second.tool_id, second.input, second.result, second.state) == ("c2", b"", b'{"content":"y"}', "finished")
    assert second.request_id == "r1"


@pytest.mark.parametrize("items", [[{"content": "a.txt"}], [{"id": "f1", "path": "a"}], ["a.txt"]])
def test_items_that_are_mere_output_are_the_result(items):
    event = one(PLAIN | {"toolCallStatus": "FINISHED", "results": items})
    assert (event.tool_id, json.loads(event.result)) == ("c1", items)


@pytest.mark.parametrize(
    ("inner", "outer", "tool_id"),
    [
        ({"toolCallId": "a", "tool_call_id": "b", "id": "c"}, {"toolCallId": "d"}, "a"),
        ({"toolCallId": "", "tool_call_id": "b", "id": "c"}, {"toolCallId": "d"}, "b"),
        ({"tool_call_id": None, "id": "c"}, {"toolCallId": "d"}, "c"),
        ({}, {"toolCallId": "d", "tool_call_id": "e"}, "d"),
        ({}, {"toolCallId": "", "tool_call_id": "e"}, "e"),
        ({"id": 7}, {}, "7"),
    ],
)
def test_id_is_the_first_that_is_not_empty(inner, outer, tool_id):
    assert one({"toolCall": inner, **outer}).tool_id == tool_id


@pytest.mark.parametrize(
    "params",
    [
        {"toolCall": {"name": "ls"}, "id": "params have no such key"},
        PLAIN | {"toolCallId": "", "toolCallStatus": "REQUEST_FINISHED"},
        {"toolCallId": "x" * 300},
        {"toolCallId": ["c1"]},
    ],
)
def test_an_event_without_an_id_is_none(params):
    assert read(params) == []


@pytest.mark.parametrize("params", [None, 1, "text", [], [PLAIN]])
def test_params_that_are_no_object_give_nothing(params):
    assert tool_events.read(TOOL_SYNC, json.dumps(params).encode()) is None
    assert tool_events.read(TOOL_SYNC, b"{no json") is None


@pytest.mark.parametrize(
    ("inner", "outer", "name"),
    [
        ({"name": "a", "toolName": "b", "tool_name": "c"}, {"name": "d"}, "a"),
        ({"name": "", "toolName": "b", "tool_name": "c"}, {"name": "d"}, "b"),
        ({"tool_name": "c"}, {"name": "d"}, "c"),
        ({}, {"name": "d"}, "d"),
        ({"name": "tool"}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_the_name_is_the_first_that_is_there(inner, outer, name):
    assert one({"toolCall": inner, "toolCallId": "c1", **outer}).name == name


@pytest.mark.parametrize(
    ("inner", "outer", "found"),
    [
        ({"input": {"a": 1}, "arguments": {"b": 1}, "args": {"c": 1}, "parameters": {"d": 1}}, {}, {"a": 1}),
        ({"input": {}, "arguments": {"b": 1}, "args": {"c": 1}}, {}, {"b": 1}),
        ({"args": {"c": 1}, "parameters": {"d": 1}}, {}, {"c": 1}),
        ({"parameters": {"d": 1}}, {"parameters": {"e": 1}}, {"d": 1}),
        ({"input": None}, {"parameters": {"e": 1}}, {"e": 1}),
        ({"arguments": '{"b": 1}'}, {}, {"b": 1}),
        ({"arguments": "plain"}, {}, {"input": "plain"}),
        ({"arguments": [1]}, {}, {"input": [1]}),
    ],
)
def test_input_is_first_filled_one_and_an_object(inner, outer, found):
    assert json.loads(one({"toolCall": inner, "toolCallId": "c1", **outer}).input) == found


@pytest.mark.parametrize(
    ("params", "result"),
    [
        ({"toolCall": {"result": 1, "results": [4]}, "result": 2, "data": {"result": 3}}, 1),
        ({"toolCall": {"result": {}, "results": [4]}, "result": 2, "data": {"result": 3}}, 2),
        ({"toolCall": {"results": [4]}, "data": {"result": 3}}, 3),
        ({"toolCall": {"results": [4]}, "results": [5]}, [4]),
        ({"results": [5]}, [5]),
    ],
)
def test_the_result_is_the_first_that_is_filled(params, result):
    assert json.loads(one({"toolCallId": "c1", **params}).result) == result


@pytest.mark.parametrize(
    ("status", "state", "undecided"),
    [
        ("INIT", "pending", True),
        ("pending", "pending", True),
        (" Processing ", "pending", True),
        ("RUNNING", "running", False),
        ("in-progress", "running", False),
        ("FINISHED", "finished", False),
        ("results", "finished", False),
        ("request_finished", "finished", False),
        ("ERROR", "failed", False),
        ("Canceled", "cancelled", False),
    ],
)
def test_status_is_read_in_any_case_and_spelling(status, state, undecided):
    for key in ("toolCallStatus", "tool_call_status", "status"):
        event = one({"toolCall": {key: status}, "toolCallId": "c1"})
        assert (event.state, event.undecided) == (state, undecided)
    assert one({"toolCall": {}, "toolCallId": "c1", "toolCallStatus": status}).state == state


@pytest.mark.parametrize(
    ("method", "params", "state"),
    [
        (TOOL_SYNC, {}, "pending"),
        (TOOL_SYNC, {"result": "x"}, "finished"),
        (TOOL_SYNC, {"errorMsg": "x"}, "failed"),
        (TOOL_INVOKE, {"parameters": {}}, "pending"),
        (TOOL_INVOKE_RESULT, {"success": True, "result": {}}, "finished"),
        (TOOL_INVOKE_RESULT, {"success": False, "errorMessage": "x"}, "failed"),
        (TOOL_APPROVE, {"approval": True}, "pending"),
        (TOOL_APPROVE, {"approval": False}, "cancelled"),
    ],
)
def test_state_without_status_follows_from_the_rest(method, params, state):
    assert one({"toolCallId": "c1", **params}, method).state == state


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Let me look\n```toolCall::list_dir::c1::INIT\n```\n", "list_dir"),
        ("```toolCall::list_dir::c1\n```", "list_dir"),
        ("toolCall::a::c0::INIT\n```\n```toolCall::mcp:x::c1::INIT", "mcp:x"),
        ("toolCall::list_dir::c1::INIT toolCall::list_dir::c1::FINISHED", "list_dir"),
        ("toolCall::old::c1::INIT toolCall::new::c1::INIT", ""),
        ("toolCall::list_dir::c12::INIT", ""),
        ("nothing here ::c1::", ""),
    ],
)
def test_a_card_in_the_text_names_the_tool(text, name):
    assert tool_events.name_on_card(text, "c1") == name


def test_later_events_complete_earlier_ones():
    call = complete(None, ToolEvent("c1"))
    assert call == LingmaToolCall("c1", "tool", b"{}", "pending")
    call = complete(call, ToolEvent("c1", name="ls", input=b'{"a":1}'))
    call = complete(call, ToolEvent("c1", state="running", undecided=False))
    call = complete(call, ToolEvent("c1", state="finished", undecided=False, result=b"[1]"))
    done = LingmaToolCall("c1", "ls", b'{"a":1}', "finished", b"[1]")
    assert call == done
    assert complete(call, ToolEvent("c1", state="running")) == complete(call, ToolEvent("c1")) == done


def test_oversized_input_is_unknown_and_result_replaced():
    event = one({"toolCallId": "c1", "parameters": {"a": "x" * VALUE_BYTES}, "result": "y" * VALUE_BYTES})
    assert event.input == b""
    assert json.loads(event.result) == f"(a result of {VALUE_BYTES + 2} bytes, not kept)"


def test_turn_keeps_a_bounded_number_of_calls():
    budget = Budget()
    calls = [LingmaToolCall(str(number), "ls") for number in range(MOST_CALLS + 5)]
    assert sum(budget.fit(None, call) is not None for call in calls) == MOST_CALLS
    assert budget.fit(calls[0], complete(calls[0], ToolEvent("0", result=b"[1]"))).result == b"[1]"


def test_turn_keeps_a_bounded_number_of_bytes():
    budget, kept = Budget(), []
    for number in range(20):
        call = LingmaToolCall(str(number), "ls", b'{"a":"%b"}' % (b"x" * 500_000), result=b'"%b"' % (b"y" * 500_000))
        kept.append(budget.fit(None, call))
    assert sum(len(call.input) + len(call.result) for call in kept) <= MOST_BYTES + 20 * 100
    assert (kept[-1].input, json.loads(kept[-1].result)) == (b"{}", "(a result of 500002 bytes, not kept)")


KEYS = [
    "toolCall", "tool_call", "tool", "data", "results", "result", "toolCallId", "tool_call_id", "id", "name", "input",
    "arguments", "parameters", "toolCallStatus", "status", "error", "errorMsg", "success", "approval", "requestId",
    "sessionId", "async",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["FINISHED", "c1", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=6),
    max_leaves=20,
)


@given(st.sampled_from(TOOL_EVENTS), st.lists(JSON | st.dictionaries(st.sampled_from(KEYS), JSON), max_size=3))
def test_any_json_gives_valid_calls_without_errors(method, messages):
    calls, budget = {}, Budget()
    for params in messages:
        message = tool_events.read(method, json.dumps(params).encode())
        for event in message.events if message else ():
            after = budget.fit(calls.get(event.tool_id), complete(calls.get(event.tool_id), event))
            calls[event.tool_id] = after
    for call in calls.values():
        assert isinstance(json.loads(call.input), dict)
        assert not call.result or json.loads(call.result) is not None


@given(st.binary())
def test_odd_bytes_are_read_or_passed_over(params):
    message = tool_events.read(TOOL_SYNC, params)
    assert message is None or isinstance(message.events, list)


@pytest.mark.parametrize(
    "deep", [b"[" * 100_000, b'{"toolCall":' * 100_000, b'{"toolCallId":"c","input":"' + b"[" * 9000 + b'"}']
)
def test_deep_nesting_is_survived(deep):
    message = tool_events.read(TOOL_SYNC, deep)
    assert message is None or message.events[0].input
