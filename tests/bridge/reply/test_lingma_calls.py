"""Calls of the service's own agent: sent once, never so that a client runs again what has run."""

import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.chat.events import LingmaToolCall, TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool
from bridge.reply.lingma_calls import LINE_CHARS, LingmaCalls

BASH = Tool("Bash", wire_name="bash", namespace="shell")
PATCH = Tool("apply_patch", custom=True)
LIST = b'{"path":"."}'


def calls(shown="text", *tools, **more):
    numbers = count(1)
    return LingmaCalls(shown, tools, lambda: f"new_{next(numbers)}", **more)


def call(id="c1", name="list_dir", input=LIST, state="pending", **more):  # noqa: A002
    return LingmaToolCall(id, name, input, state, **more)


def text(events):
    assert all(isinstance(event, TextDelta) for event in events)
    return "".join(event.text for event in events)


def as_call(id_, name, arguments, *more):
    return [ToolCallStarted(id_, name, *more), ToolCallDelta(arguments), ToolCallEnded()]


def test_call_and_result_are_one_line_each():
    shown = calls()
    assert text(shown.feed(call())) == '\n[tool list_dir {"path":"."}]\n'
    assert shown.feed(call(state="running")) == []
    done = call(state="finished", result=b'[{"content":"a.txt\\n  b.txt"}]')
    assert text(shown.feed(done)) == "\n[result of list_dir: a.txt b.txt]\n"
    assert (shown.feed(done), shown.end(), shown.waiting) == ([], [], False)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"state": "finished", "result": b'{"files":["a"]}'}, '{"files":["a"]}'),
        ({"state": "finished", "result": b'"plain"'}, "plain"),
        ({"state": "finished"}, "finished, nothing was reported"),
        ({"state": "failed", "error": "no such\nfile"}, "failed: no such file"),
        ({"state": "cancelled"}, "cancelled"),
        ({"state": "cancelled", "denied": True, "error": "rejected"}, "denied by the gateway, not run"),
    ],
)
def test_result_line_shows_the_outcome(more, words):
    assert text(calls().feed(call(**more))) == f'\n[tool list_dir {{"path":"."}}]\n[result of list_dir: {words}]\n'


def test_abandoned_call_is_shown_at_end_as_unfinished():
    shown = calls()
    shown.feed(call(name="tool", input=b"{}"))
    shown.feed(call(id="c2", denied=True))
    assert text(shown.end()) == (
        "\n[tool tool {}]\n[result of tool: none was reported]\n"
        "\n[result of list_dir: denied by the gateway, not run]\n"
    )


def test_lines_stay_lines_and_short():
    long = json.dumps({"text": "line\n" * 1000 + "\u2028"}).encode()
    sent = text(calls().feed(call(input=long, state="finished", result=long)))
    lines = sent.strip("\n").split("\n")
    assert [line.endswith("…]") for line in lines] == [True, True]
    assert max(map(len, sent.splitlines())) <= LINE_CHARS


def test_omitted_calls_are_not_shown_at_all():
    shown = calls("omit")
    assert shown.feed(call(state="finished", result=b'"x"')) + shown.feed(call(id="c2")) + shown.end() == []


def test_shown_calls_are_whole_and_in_order():
    shown = calls("calls")
    assert shown.feed(call(name="tool", input=b"{}")) == []
    assert shown.feed(call(id="c2")) == as_call("c2", "list_dir", '{"path":"."}')
    assert shown.feed(call(name="read_file", input=b'{"a":1}')) == as_call("c1", "read_file", '{"a":1}')
    assert shown.feed(call(state="finished", result=b'"x"')) == []
    assert (shown.end(), shown.waiting) == ([], False)


def test_call_without_arguments_is_shown_when_final():
    shown = calls("calls")
    assert shown.feed(call(input=b"{}", state="running")) == []
    assert shown.feed(call(input=b"{}", state="finished")) == as_call("c1", "list_dir", "{}")


@pytest.mark.parametrize("shown", ["text", "omit", "calls"])
@pytest.mark.parametrize("denied", [True, False])
def test_own_tool_call_waits_for_the_client(shown, denied):
    sent = calls(shown, BASH)
    pending = call(name="Bash", input=b'{"command":"ls"}', denied=denied)
    assert sent.feed(pending) == as_call("c1", "bash", '{"command":"ls"}', "shell")
    assert sent.waiting
    assert sent.feed(call(name="Bash", state="cancelled", denied=denied)) == sent.end() == []


def test_permitted_lingma_call_is_not_handed_over():
    shown = calls("omit", BASH)
    assert shown.feed(call(name="Bash", runner="service")) + shown.feed(call(name="Bash", state="running")) == []
    assert (shown.end(), shown.waiting) == ([], False)


def test_invoked_call_is_handed_over():
    shown = calls("text", BASH)
    asked = call(name="Bash", state="running", runner="client")
    assert shown.feed(asked) == as_call("c1", "bash", '{"path":"."}', "shell")


def test_waiting_call_waits_for_its_arguments():
    shown = calls("text", BASH)
    assert (shown.feed(call(name="tool", input=b"{}")), shown.waiting) == ([], False)
    assert (shown.feed(call(name="Bash", input=b"{}")), shown.waiting) == ([], False)
    assert shown.feed(call(name="Bash")) == as_call("c1", "bash", '{"path":"."}', "shell")


@pytest.mark.parametrize("shown", ["text", "omit", "calls"])
def test_own_call_shown_as_running_is_handed_over(shown):
    sent = calls(shown, BASH)
    assert sent.feed(call(name="Bash", state="running")) == []
    assert sent.feed(call(name="Bash", state="running", denied=True)) == as_call("c1", "bash", '{"path":"."}', "shell")


@pytest.mark.parametrize("state", ["cancelled", "failed"])
def test_denied_bare_call_is_handed_over_when_dropped(state):
    shown = calls("text", BASH)
    shown.feed(call(name="Bash", input=b"{}", denied=True))
    assert shown.feed(call(name="Bash", input=b"{}", state=state, denied=True)) == as_call("c1", "bash", "{}", "shell")
    assert shown.waiting


def test_silent_own_call_is_handed_over_at_end():
    shown = calls("text", BASH)
    shown.feed(call(name="Bash", input=b"{}"))
    assert shown.end() == as_call("c1", "bash", "{}", "shell")
    assert shown.waiting


@pytest.mark.parametrize("state", ["running", "finished", "failed"])
def test_declared_tool_run_by_service_waits_for_nobody(state):
    shown = calls("text", BASH)
    assert "[tool Bash" in text(shown.feed(call(name="Bash", state=state)) + shown.end())
    assert not shown.waiting


def test_parallel_calls_wait_together_and_end_the_reply():
    shown = calls("text", BASH)
    shown.feed(call(name="Bash"))
    assert shown.feed(call(id="c2")) == []
    assert shown.feed(call(id="c3", name="Bash")) == as_call("c3", "bash", '{"path":"."}', "shell")
    assert shown.end() == []


def test_client_running_a_call_gets_no_other():
    shown = calls("calls", BASH)
    assert shown.feed(call(state="finished", result=b'"x"')) + shown.feed(call(id="c2")) == []
    before, *handed_over = shown.feed(call(id="c3", name="Bash"))
    assert before == TextDelta('\n[tool list_dir {"path":"."}]\n[result of list_dir: x]\n')
    assert handed_over == as_call("c3", "bash", '{"path":"."}', "shell")
    assert shown.end() == []


@pytest.mark.parametrize("shown", ["text", "omit", "calls"])
def test_undemanded_tool_is_not_the_clients(shown):
    sent = calls(shown, BASH, PATCH, forced=PATCH)
    events = sent.feed(call(name="Bash", denied=True)) + sent.feed(call(id="c2", name="apply_patch"))
    events += sent.feed(call(state="finished", id="c3")) + sent.end()
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["apply_patch"]


def test_calls_beside_the_demanded_one_stay_text():
    sent = calls("calls", BASH, PATCH, forced=PATCH)
    events = sent.feed(call(name="Bash", denied=True)) + sent.feed(call(id="c2", state="finished")) + sent.end()
    assert "[tool Bash" in text(events)
    assert not sent.waiting


def test_single_call_is_handed_over_on_request():
    sent = calls("text", BASH, PATCH, parallel=False)
    assert sent.feed(call(name="Bash")) == as_call("c1", "bash", '{"path":"."}', "shell")
    assert sent.feed(call(id="c2", name="apply_patch")) + sent.end() == []


def test_lingma_calls_are_shown_without_client_calls():
    shown = calls("calls", BASH)
    assert shown.feed(call(state="finished")) + shown.feed(call(id="c2", name="Bash", state="finished")) == []
    assert shown.end() == as_call("c1", "list_dir", '{"path":"."}') + as_call("c2", "bash", '{"path":"."}', "shell")
    assert not shown.waiting


def test_a_custom_tool_is_given_plain_text():
    sent = calls("text", PATCH).feed(call(name="apply_patch", input=b'{"input":"*** Begin"}'))
    assert sent == as_call("c1", "apply_patch", "*** Begin", "", True)
    sent = calls("text", PATCH).feed(call(name="apply_patch", input=b'{"patch":1}'))
    assert sent[1] == ToolCallDelta('{"patch":1}')


def test_unusable_id_is_replaced():
    shown = calls("calls")
    events = shown.feed(call(id="")) + shown.feed(call(id="r:tool:x")) + shown.feed(call(id="ok-1"))
    assert [event.id for event in events if isinstance(event, ToolCallStarted)] == ["new_1", "new_2", "ok-1"]


CALLS = st.builds(
    LingmaToolCall,
    id=st.sampled_from(["", "a", "b", "c"]),
    name=st.sampled_from(["tool", "list_dir", "Bash"]),
    input=st.sampled_from([b"{}", LIST]),
    state=st.sampled_from(["pending", "running", "finished", "failed", "cancelled"]),
    result=st.sampled_from([b"", b'"r"', b"[1]"]),
    denied=st.booleans(),
)


@given(st.lists(CALLS), st.sampled_from(["text", "omit", "calls"]))
def test_calls_are_sent_once_and_whole(fed, way):
    shown = calls(way, BASH)
    events = [event for each in fed for event in shown.feed(each)] + shown.end()
    started = [event.id for event in events if isinstance(event, ToolCallStarted)]
    assert len(started) == len(set(started)) == sum(isinstance(event, ToolCallEnded) for event in events)
    assert shown.end() == []
    assert shown.waiting or way == "calls" or not started
    if shown.waiting:
        assert {event.name for event in events if isinstance(event, ToolCallStarted)} == {"bash"}
