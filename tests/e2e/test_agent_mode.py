"""Tools of the service's own agent: shown as operators want, never run twice, never approved unasked."""

import json

import pytest

from tests.e2e.agents import APIS, READ, ChatAgent, MessagesAgent, ResponsesAgent
from tests.e2e.formats import send
from tests.e2e.installation import KEY, METRICS_KEY, Gateway, until

LS = ("list_dir", "List a folder.", {"file_path": {"type": "string"}}, [])
RUN = ("run_in_terminal", "Run a command.", {"command": {"type": "string"}}, ["command"])
WEATHER = ("weather", "Tell the weather.", {"city": {"type": "string"}}, ["city"])
ARGUMENTS = {"file_path": "/workspace/a.txt"}
RAN = '[[sim: tools=list_dir tool_start=finished tool_shape=named text="So it is."]]'


def gateway_with(**settings):
    """A module's gateway."""

    @pytest.fixture(scope="module")
    def running(tmp_path_factory, template):
        with Gateway(tmp_path_factory.mktemp("agent"), template, **settings) as gateway:
            yield gateway

    return running


bridge = gateway_with(TOOL_MODE="bridge")
forward = gateway_with(TOOL_FORWARD_ENABLED="true", TOOL_EXECUTED="calls")
allowing = gateway_with(TOOL_MODE="bridge", TOOL_EXECUTED="omit", TOOL_APPROVAL="allow:list_dir,read_file")


@pytest.fixture(params=APIS, ids=lambda api: api.__name__.removesuffix("Agent"))
def api(request):
    return request.param


def test_requests_with_tools_run_in_agent_mode(bridge, api, stream):
    agent = api(bridge, stream, tools=(WEATHER,))
    done = agent.ask("[[sim: echo=params]]")
    asked = json.loads(done.text)
    assert (asked["mode"], asked["sessionType"], asked["chatTask"]) == ("agent", "ask", "chat")
    assert "toolConfig" not in asked
    assert done.session == "off"
    plain = api(bridge, stream, tools=())
    assert json.loads(plain.ask("[[sim: echo=params]]").text)["mode"] == "chat"


def test_a_history_with_tools_runs_in_agent_mode(bridge, stream):
    agent = ChatAgent(bridge, stream, tools=())
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    agent.history = [
        {"role": "user", "content": "?"}, {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]  # fmt: skip
    asked = json.loads(agent.ask("[[sim: echo=params]]").text)
    assert asked["mode"] == "agent"
    assert " weather call_1]\nsunny" in asked["questionText"]


def test_tools_go_along_when_they_are_forwarded(forward, api, stream):
    agent = api(forward, stream, tools=(WEATHER,))
    asked = json.loads(agent.ask("[[sim: echo=params]]").text)
    provider = "anthropic" if api is MessagesAgent else "openai"
    assert (asked["mode"], asked["toolConfig"]["provider"]) == ("agent", provider)
    assert "weather" in json.dumps(asked["toolConfig"]["tools"])
    assert asked["toolConfig"]["tool_choice"] == ("auto" if provider == "openai" else {"type": "auto"})


def test_service_tools_are_one_line_each(bridge, api, stream):
    done = api(bridge, stream, tools=(WEATHER,)).ask(RAN)
    assert [line for line in done.text.splitlines() if line] == [
        '[tool list_dir {"file_path":"/workspace/a.txt"}]', "[result of list_dir: simulated]", "So it is.",
    ]  # fmt: skip
    assert (done.calls, done.finish) == ([], api.ends)


def test_calls_of_the_service_can_be_hidden(allowing, api, stream):
    done = api(allowing, stream, tools=(WEATHER,)).ask(RAN)
    assert (done.text.strip(), done.calls, done.finish) == ("So it is.", [], api.ends)


def test_service_tools_can_be_shown_as_finished_calls(forward, api, stream):
    done = api(forward, stream, tools=(WEATHER,)).ask(RAN)
    assert done.finish == api.ends
    if api is ResponsesAgent:  # where every call is the client's to run
        assert (done.calls, "[result of list_dir: simulated]" in done.text) == ([], True)
        return
    assert (done.text.strip(), done.names, done.arguments) == ("So it is.", ["list_dir"], [ARGUMENTS])
    if api is MessagesAgent:
        assert {block.type for block in done.whole.content} == {"text", "tool_use"}


def test_service_tools_are_not_the_clients_to_run(bridge, api, stream):
    done = api(bridge, stream, tools=(LS,)).ask(RAN)
    assert (done.calls, done.finish) == ([], api.ends)
    assert "[result of list_dir: simulated]" in done.text


@pytest.mark.parametrize("shape", ["named", "nested", "snake", "data"])
def test_own_tool_call_waits_for_the_client(bridge, api, stream, shape):
    question = f"waits {shape} {api.__name__} {stream}"
    agent = api(bridge, stream, tools=(WEATHER,))
    first = agent.ask(f"[[sim: tools=weather tool_shape={shape} tool_args='{{}}' text=never]] {question}".replace(
        "tool_args='{}'", "tool_args=" + json.dumps(json.dumps({"city": "Köln"}))))  # fmt: skip
    assert (first.names, first.arguments, first.finish) == (["weather"], [{"city": "Köln"}], agent.waits)
    assert "never" not in first.text
    until(lambda: bridge.stops(question))  # it is on its way when the answer has ended
    agent.history[0]["content"] = question
    assert agent.answer(first, "sunny").finish == agent.ends
    assert first.calls[0][0] in bridge.asks(question)[-1]["questionText"]


@pytest.mark.parametrize(
    "way",
    [
        "tool_ids=request", "tool_ids=first", "tool_words=phases", "tool_lower", "tool_twice", "tool_echo",
        "tool_shape=items", "tool_shape=plain", "tool_start=running", "tool_start=running tool_async=false",
        "tool_approval=false",
    ],
)  # fmt: skip
def test_own_tool_call_waits_once_in_every_spelling(bridge, stream, way):
    args = json.dumps(json.dumps({"path": "a.txt"}))
    agent = MessagesAgent(bridge, stream, tools=(READ,))
    done = agent.ask(f"[[sim: tools=read_file tool_shape=named {way} tool_args={args} text=never size=2]] x")
    assert (done.names, done.arguments, done.finish) == (["read_file"], [{"path": "a.txt"}], "tool_use")
    assert "never" not in done.text


def test_a_forwarded_function_comes_back_as_a_call(forward, api, stream):
    agent = api(forward, stream, tools=(WEATHER,))
    args = json.dumps(json.dumps({"city": "Köln"}))
    done = agent.ask(f"[[sim: tool_forward tool_args={args} text=never]] x", **agent.named("weather"))
    assert (done.names, done.arguments, done.finish) == (["weather"], [{"city": "Köln"}], agent.waits)


@pytest.mark.parametrize("mode", ["bridge", "forward"])
def test_forced_function_may_be_answered_by_bare_arguments(request, mode, api, stream):
    agent = api(request.getfixturevalue(mode), stream, tools=(WEATHER, LS))
    done = agent.ask(told('```json\n{"city": "Köln"}\n```'), **agent.named("weather"))
    assert (done.names, done.arguments) == (["weather"], [{"city": "Köln"}])
    assert (done.text, done.finish) == ("", agent.waits)
    [(call_id, *_)] = done.calls
    assert call_id.startswith(agent.prefix)
    assert agent.answer(done, "sunny").finish == agent.ends
    assert agent.ask(told('{"city": "Köln"}'), **agent.named("weather")).calls[0][0] != call_id


@pytest.mark.parametrize(
    ("text", "forced"),
    [
        ('{"city": "Köln"} is it.', True), ('{"name": "list_dir", "arguments": {}}', True),
        ('{"city": "Köln"}', False), ("[1]", True),
    ],
)  # fmt: skip
def test_all_other_answers_stay_text(bridge, api, stream, text, forced):
    agent = api(bridge, stream, tools=(WEATHER, LS))
    done = agent.ask(told(text), **(agent.named("weather") if forced else {}))
    assert (done.text, done.calls, done.finish) == (text, [], agent.ends)


def test_text_after_service_tools_is_plain_text(bridge, api, stream):
    agent = api(bridge, stream, tools=(WEATHER,))
    knobs = "tools=list_dir tool_start=finished tool_shape=named "
    done = agent.ask(told('{"city": "Köln"}', knobs), **agent.named("weather"))
    assert done.calls == []
    assert done.text.endswith('{"city": "Köln"}')
    assert "[result of list_dir: simulated]" in done.text


def told(text, knobs=""):
    return f"[[sim: {knobs}size=3 text={json.dumps(text)}]] x"


# -- the firewall ---------------------------------------------------------------------------------------------------


def decided(gateway):
    """Everything that was said to calls, and every result: approvals, results, answers of `tool/invoke`."""
    received = gateway.received()
    approvals = [each["params"]["approval"] for each in received if each.get("method") == "tool/call/approve"]
    results = [each["params"]["success"] for each in received if each.get("method") == "tool/invokeResult"]
    answers = [each["result"] for each in received if isinstance(each.get("result"), dict)]
    return approvals, results + [answer["success"] for answer in answers if "toolCallId" in answer]


@pytest.mark.parametrize("model", ["agent", "lingma-agent"])
@pytest.mark.parametrize("asynchronous", ["true", "false"])
def test_tools_are_neither_approved_nor_reported_by_default(gateway, stream, model, asynchronous):
    knobs = f"tools=run_in_terminal,list_dir,create_file_with_text tool_shape=named tool_async={asynchronous}"
    for more in ("", " tool_approval=false", " tool_start=running", " tool_done", " tool_twice tool_lower"):
        done = ChatAgent(gateway, stream, tools=(), more={"model": model}).ask(f"[[sim: {knobs}{more} text=On.]] x")
        assert (done.text.strip().endswith("On."), done.finish) == (True, "stop")
        row = gateway.row(done.request_id)
        assert row["status"] == "ok"
    approvals, results = decided(gateway)
    assert (True in approvals, True in results) == (False, False)
    assert approvals
    assert results


def test_denial_is_in_row_log_and_metrics(gateway, api, stream):
    agent = api(gateway, stream, tools=(), more={"model": "lingma-agent"})
    done = agent.ask("[[sim: tools=run_in_terminal,list_dir tool_shape=named text=On.]] x")
    assert gateway.row(done.request_id)["tools"] == "denied run_in_terminal, list_dir"
    until(lambda: "denied run_in_terminal" in gateway.output())
    told = send(gateway, "GET", "/metrics", key=METRICS_KEY).body.decode()
    assert 'lingma_gateway_tool_decisions_total{decision="denied"}' in told
    assert 'decision="allowed"' not in told


def test_agent_mode_without_tools_shows_the_default(bridge, api, stream):
    agent = api(bridge, stream, tools=(), more={"model": "agent"})
    done = agent.ask("[[sim: tools=run_in_terminal tool_shape=named text=On.]] x")
    assert "[result of run_in_terminal: denied by the gateway, not run]" in done.text
    assert done.finish == api.ends


def test_tools_beside_the_allowed_are_denied(allowing, api, stream):
    agent = api(allowing, stream, tools=(), more={"model": "agent"})
    knobs = "tools=list_dir,run_in_terminal,read_file,search_codebase tool_shape=named"
    done = agent.ask(f"[[sim: {knobs} text=On.]] x")
    assert allowing.row(done.request_id)["tools"] == (
        "allowed list_dir, read_file; denied run_in_terminal, search_codebase"
    )
    received = allowing.received()
    names = {each["params"]["toolCallId"]: each["params"].get("name") for each in received
             if each.get("method") == "tool/call/sync"}  # fmt: skip
    approved = [each["params"] for each in received if each.get("method") == "tool/call/approve"]
    assert {names[each["toolCallId"]] for each in approved if each["approval"]} <= {"list_dir", "read_file"}
    results = [each["params"] for each in received if each.get("method") == "tool/invokeResult"]
    assert {each["name"] for each in results if each["success"]} <= {"list_dir"}  # nobody has read a file


def test_allowed_service_tool_is_not_the_clients(allowing, api, stream):
    done = api(allowing, stream, tools=(LS,)).ask("[[sim: tools=list_dir tool_shape=named text=On.]] x")
    assert (done.calls, done.finish, done.text.strip()) == ([], api.ends, "On.")


def test_invoked_tool_is_the_clients_to_run(allowing, api, stream):
    agent = api(allowing, stream, tools=(READ,))
    args = json.dumps(json.dumps({"path": "a.txt"}))
    done = agent.ask(f"[[sim: tools=read_file tool_shape=named tool_start=running tool_args={args} text=no]] x")
    assert (done.names, done.arguments, done.finish) == (["read_file"], [{"path": "a.txt"}], agent.waits)


def test_denial_is_no_error_to_anybody(bridge, stream):
    body = MessagesAgent(bridge, stream, tools=(RUN,)).body("[[sim: tools=search_web tool_shape=named text=On.]] x")
    answer = send(bridge, "POST", "/v1/messages", key=KEY, body=body)
    assert (answer.status, answer.error, answer.finish) == (200, None, "end_turn")
