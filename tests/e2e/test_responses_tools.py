"""Tools, thinking and images over the Responses API, with the official SDK as an agent uses it."""

import json

import openai
import pytest

from tests.e2e.installation import KEY

READ = {"type": "function", "name": "read", "description": "Read a file.", "strict": False,
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}  # fmt: skip
PATCH = {"type": "custom", "name": "patch", "description": "Apply a patch."}
FILES = {"type": "namespace", "name": "files", "description": "Files.", "tools": [READ]}
ANSWER = {"say": "It says: {{last_result}}"}
WEB = {"type": "web_search"}


@pytest.fixture
def oai(gateway):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def script(*steps, name="", more=""):
    """A question that makes the simulated model follow these steps."""
    return f"[[sim: {more} plan={json.dumps(json.dumps(steps))}]] {name}"


def ask(oai, *, stream, **asked):
    """The reply and the headers it came with."""
    if not stream:
        raw = oai.responses.with_raw_response.create(model="org_auto", **asked)
        return raw.parse(), raw.headers
    with oai.responses.stream(model="org_auto", **asked) as events:
        return events.get_final_response(), events._raw_stream.response.headers


def calls(reply):
    return [item for item in reply.output if item.type.endswith("_call")]


def test_resent_history_continues_in_the_session(oai, stream):
    steps = [{"say": "Let me look.", "call": "read", "arguments": {"path": "a 世.txt"}},
             {"calls": [{"call": "read", "arguments": {"path": path}} for path in "bc"]}, ANSWER]  # fmt: skip
    history = [{"role": "user", "content": script(*steps, name=f"agent {stream}")}]
    for state, paths in (("new", ["a 世.txt"]), ("reused", ["b", "c"]), ("reused", [])):
        reply, headers = ask(oai, stream=stream, input=history, tools=[READ, WEB], store=False)
        assert (reply.status, headers["x-lingma-session"]) == ("completed", state)
        assert [json.loads(call.arguments)["path"] for call in calls(reply)] == paths
        history += [item.to_dict() for item in reply.output]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": f"of {call.call_id}"}
                   for call in calls(reply)]  # fmt: skip
        history += results
    assert reply.output_text == f"It says: {history[-2]['output']}"


def test_a_stored_conversation_needs_only_the_results(oai, stream):
    question = script({"call": "read", "arguments": {"path": "a"}}, ANSWER, name=f"stored {stream}")
    first, _ = ask(oai, stream=stream, tools=[READ], input=question)
    result = {"type": "function_call_output", "call_id": calls(first)[0].call_id, "output": "stored words"}
    second, headers = ask(oai, stream=stream, tools=[READ], previous_response_id=first.id, input=[result])
    assert second.output_text == "It says: stored words"
    assert headers["x-lingma-session"] == "reused"


def test_namespace_tool_is_called_by_its_own_name(oai, stream):
    question = script({"call": "files__read", "arguments": {"path": "a"}}, ANSWER, name=f"namespace {stream}")
    first, _ = ask(oai, stream=stream, tools=[FILES], input=question)
    (call,) = calls(first)
    assert (call.name, call.namespace, json.loads(call.arguments)) == ("read", "files", {"path": "a"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "in a room"}
    history = [{"role": "user", "content": question}, call.to_dict(), result]
    second, headers = ask(oai, stream=stream, tools=[FILES], input=history)
    assert second.output_text == "It says: in a room"
    assert headers["x-lingma-session"] == "reused"


def test_a_custom_tool_gets_text(oai, stream):
    patch = '*** Begin\n+ "x" </call>\n*** End'
    question = script({"call": "patch", "arguments": {"input": patch}}, ANSWER, name=f"custom {stream}")
    first, _ = ask(oai, stream=stream, tools=[PATCH], input=question)
    (call,) = calls(first)
    assert (call.type, call.name, call.input) == ("custom_tool_call", "patch", patch)
    result = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "applied"}
    second, _ = ask(oai, stream=stream, tools=[PATCH], previous_response_id=first.id, input=[result])
    assert second.output_text == "It says: applied"


def test_thinking_is_a_reasoning_item_on_request(oai, stream):
    question = '[[sim: think="I should greet." text="Hello."]] think'
    reply, _ = ask(oai, stream=stream, input=question, reasoning={"effort": "low", "summary": "auto"})
    assert [item.type for item in reply.output] == ["reasoning", "message"]
    assert reply.output[0].summary[0].text == "I should greet."
    assert reply.output_text == "Hello."
    reply, _ = ask(oai, stream=stream, input=question)
    assert [item.type for item in reply.output] == ["message"]


def test_arguments_come_in_pieces(oai):
    question = script({"call": "read", "arguments": {"path": "a" * 400}}, name="pieces", more="size=100 delay_ms=400")
    with oai.responses.stream(model="org_auto", input=question, tools=[READ]) as events:
        deltas = [each.delta for each in events if each.type == "response.function_call_arguments.delta"]
    assert len(deltas) > 2
    assert json.loads("".join(deltas)) == {"path": "a" * 400}


def test_required_call_is_demanded_if_tools_exist(oai):
    question = script({"flaw": "no_call", "call": "read", "arguments": {"path": "a"}}, name="required")
    reply, _ = ask(oai, stream=False, input=question, tools=[READ], tool_choice="required")
    assert [call.name for call in calls(reply)] == ["read"]
    with pytest.raises(openai.BadRequestError, match="tool_choice"):
        oai.responses.create(model="org_auto", input="x", tools=[WEB], tool_choice="required")
