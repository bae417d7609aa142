"""An agent's tools, offered in the prompt and called in the model's text, on every API and streamed or not."""

import json
import re

import anthropic
import pytest

from tests.e2e.agents import APIS, TOOLS, ChatAgent, MessagesAgent, ResponsesAgent, call, client_of, hidden_plan, plan
from tests.e2e.formats import ANTHROPIC, OPENAI, Stream, send
from tests.e2e.installation import KEY, METRICS_KEY

NASTY = 'Grüße 😀\n"quoted" \\ back\t```json\n{"name":"x"}\n```\n</call:0123456789> </tool> \u2028 {{a}} [Assistant]\n'


@pytest.fixture(params=APIS, ids=lambda api: api.__name__.removesuffix("Agent"))
def api(request):
    return request.param


@pytest.fixture
def agent(gateway, api, stream):
    return api(gateway, stream)


def test_one_call_and_its_result(gateway, agent):
    first = agent.ask(
        plan({"say": "Let me look.", **call("read_file", path="a.txt")}, {"say": "It says: {{last_result}}"})
    )
    assert (first.text.strip(), first.names, first.arguments) == ("Let me look.", ["read_file"], [{"path": "a.txt"}])
    assert (first.finish, first.session) == (agent.waits, "new")
    assert first.calls[0][0].startswith(agent.prefix)
    second = agent.answer(first, "hello & goodbye")
    assert (second.text, second.calls, second.finish) == ("It says: hello & goodbye", [], agent.ends)
    assert second.session == "reused"
    [asked] = gateway.asks(first.calls[0][0])
    assert asked["isReply"] is True
    assert "Let me look" not in asked["questionText"]
    assert "Available tools" not in asked["questionText"]
    assert gateway.row(first.request_id)["tools"] == "1 parsed"


REASONED = 'reply = "<think>plan</think>answer"\n````think::1\nx\n````\n</think>'


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": NASTY, "text": NASTY * 20},
        {"path": "", "text": "}" * 40 + "</call:"},
        {"path": "Sure. <think>a</think>", "text": REASONED},
    ],
)
def test_arguments_arrive_as_they_were_written(agent, arguments):
    done = agent.ask(plan(call("write_file", **arguments)))
    assert done.arguments == [arguments]
    assert done.text == ""


def test_a_call_without_arguments(agent):
    done = agent.ask(plan(call("clock")))
    assert (done.names, done.arguments) == (["clock"], [{}])


def test_several_calls_in_a_row(agent):
    steps = [{"say": "All.", "calls": [call("read_file", path="a"), call("clock"), call("read_file", path="a")]}]
    done = agent.ask(plan(*steps, {"say": "{{results}} results, last {{last_result}}"}))
    assert (done.names, done.finish) == (["read_file", "clock", "read_file"], agent.waits)
    assert len({id_ for id_, _, _ in done.calls}) == 3
    assert agent.answer(done, "one", "two", "three").text == "3 results, last three"


def test_many_rounds_share_one_session(gateway, agent):
    done = agent.ask(plan(*(call("read_file", path=f"{number}.txt") for number in range(4)), {"say": "Done."}))
    rounds = [done]
    while done.calls:
        done = agent.answer(done, f"text of {done.arguments[0]['path']}")
        rounds.append(done)
    assert [each.session for each in rounds] == ["new", *["reused"] * 4]
    assert rounds[-1].text == "Done."
    assert agent.ask("and now?").session == "reused"


def test_choice_none_calls_no_tool(gateway, agent):
    question = f"may not {agent.name}"
    done = agent.ask(plan(call("clock")) + question, **agent.none)
    assert (done.calls, done.finish) == ([], agent.ends)
    [asked] = gateway.asks(question)
    assert "clock" not in asked["questionText"].partition(question)[2]


def test_a_tool_must_be_called(gateway, agent):
    step = call("clock") | {"flaw": "no_call"}
    done = agent.ask(plan(step, {"say": "Done."}), **agent.required)
    assert (done.names, done.text, done.finish) == (["clock"], "", agent.waits)
    assert gateway.row(done.request_id)["tools"] == "1 retried, 1 repaired"
    assert agent.answer(done, "noon").session == "reused"


def test_text_instead_of_call_follows_one_retry(gateway, agent):
    step = call("clock") | {"say": "I would rather not.", "flaw": "no_call", "times": 9}
    done = agent.ask(plan(step), **agent.required)
    assert (done.calls, done.text, done.finish) == ([], "I would rather not.", agent.ends)
    assert gateway.row(done.request_id)["tools"] == "1 retried, 1 refused"


def test_one_tool_must_be_called(gateway, agent):
    done = agent.ask(plan(call("clock")) + " this very tool", **agent.named("clock"))
    assert done.names == ["clock"]
    assert "call of the tool clock" in gateway.asks("this very tool")[-1]["questionText"]


def test_a_forced_call_may_come_as_bare_json(agent):
    done = agent.ask(plan({"say": '```json\n{"path": "a.txt"}\n```'}), **agent.named("read_file"))
    assert (done.names, done.arguments, done.text) == (["read_file"], [{"path": "a.txt"}], "")
    assert done.finish == agent.waits


def test_calls_one_at_a_time(agent):
    steps = {"calls": [call("clock"), call("read_file", path="a")]}
    done = agent.ask(plan(steps), **agent.single)
    assert done.names == ["clock"]


@pytest.mark.parametrize("flaw", ["fence", "quotes", "comma", "string", "alias", "prose"])
def test_calls_that_are_written_badly_are_understood(agent, flaw):
    arguments = {"path": "a b.txt", "text": 'it\'s "x" – {1,}'}
    done = agent.ask(hidden_plan(call("write_file", **arguments) | {"flaw": flaw}))
    assert (done.names, done.arguments, done.finish) == (["write_file"], [arguments], agent.waits)


@pytest.mark.parametrize("flaw", ["missing", "type"])
def test_misfit_call_is_repaired_before_client_sees_it(gateway, api, flaw):
    agent = api(gateway, stream=False)
    step = call("read_file", path="a.txt") | {"flaw": flaw}
    done = agent.ask(plan(step, {"say": "Good."}) + f" mend {api.__name__} {flaw}")
    assert (done.names, done.arguments) == (["read_file"], [{"path": "a.txt"}])
    assert gateway.row(done.request_id)["tools"] == "1 retried, 1 repaired"
    second = agent.answer(done, "x")
    assert (second.text, second.session) == ("Good.", "reused")


def test_white_space_around_calls_is_kept(agent):
    done = agent.ask(plan({"say": "Look.", **call("read_file", path="a.txt"), "flaw": "prose"}))
    assert (done.names, done.text) == (["read_file"], "Look.\nI wait for what comes of it.")


PATH = '"path": "a.txt"'
NATIVE = {
    "Hermes": f'<tool_call>\n{{"name": "read_file", "arguments": {{{PATH}}}}}\n</tool_call>',
    "Qwen3-Coder": "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>\n"
    "</tool_call>",
    "GLM": "<tool_call>read_file\n<arg_key>path</arg_key>\n<arg_value>a.txt</arg_value>\n</tool_call>",
    "Kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.read_file:0<|tool_call_argument_begin|>"
    f"{{{PATH}}}<|tool_call_end|><|tool_calls_section_end|>",
    "DeepSeek": f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>read_file<｜tool▁sep｜>{{{PATH}}}"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "MiniMax": '<minimax:tool_call>\n<invoke name="read_file">\n<parameter name="path">a.txt</parameter>\n</invoke>\n'
    "</minimax:tool_call>",
}


@pytest.mark.parametrize("family", NATIVE)
def test_model_notation_is_a_call_only_alone(agent, family):
    done = agent.ask(
        hidden_plan({"say": f"Look.\n\n{NATIVE[family]}"}, {"say": f"I ran\n{NATIVE[family]}\n{{{{last_result}}}}"})
    )
    assert (done.names, done.arguments) == (["read_file"], [{"path": "a.txt"}])
    assert (done.text, done.finish) == ("Look.", agent.waits)
    done = agent.answer(done, "as you said.")
    assert (done.calls, done.text, done.finish) == ([], f"I ran\n{NATIVE[family]}\nas you said.", agent.ends)


def test_call_of_undemanded_tool_is_text_once(agent):
    done = agent.ask(plan({"say": "Well.", **call("clock")}), **agent.named("read_file"))
    told = 'Well.\n\n{"name": "clock", "arguments": {}}'
    assert (done.calls, done.text, done.finish) == ([], told, agent.ends)


def test_unknown_tool_is_plain_text_without_marks(gateway, agent):
    done = agent.ask(plan(call("clock") | {"flaw": "unknown", "times": 9}))
    assert (done.calls, done.finish) == ([], agent.ends)
    assert "clock_of_another_world" in done.text
    assert "<call" not in done.text


def test_broken_off_call_ends_with_length(gateway, api):
    agent = api(gateway, stream=True)
    body = agent.body(plan(call("write_file", path="a", text="x" * 300) | {"flaw": "cut"}))
    answer = send(gateway, "POST", agent.path, key=KEY, body=body)
    assert answer.status == 200
    assert agent.cut.encode() in answer.body
    assert b"xxxx" in answer.body


def test_failed_call_is_reported_as_failed(gateway):
    agent = MessagesAgent(gateway, stream=False)
    first = agent.ask(plan(call("clock"), {"say": "So it failed: {{last_result}}"}))
    second = agent.answer(first, "no batteries", failed=True)
    assert second.text == "So it failed: no batteries"
    [asked] = gateway.asks(first.calls[0][0])
    assert re.search(rf"^\[Failed \w{{10}} clock {first.calls[0][0]}\]$", asked["questionText"], re.MULTILINE)


def test_text_and_calls_are_counted_against_the_limits(gateway, agent):
    step = {"say": "one two STOP three", **call("clock")}
    if not isinstance(agent, ResponsesAgent):  # which knows no stop sequences
        stop = {"stop": ["STOP"]} if isinstance(agent, ChatAgent) else {"stop_sequences": ["STOP"]}
        done = agent.ask(plan(step), **stop)
        assert (done.text, done.calls) == ("one two ", [])
        assert done.finish == ("stop" if isinstance(agent, ChatAgent) else "stop_sequence")


def test_a_stop_sequence_in_arguments_does_not_count(gateway, stream):
    agent = ChatAgent(gateway, stream)
    done = agent.ask(plan(call("read_file", path="STOP")), stop=["STOP"])
    assert (done.arguments, done.finish) == ([{"path": "STOP"}], "tool_calls")


def test_big_results_go_upstream_whole(gateway, agent):
    first = agent.ask(plan(call("clock"), {"say": "{{last_result}}"}))
    # White space makes it big, and stays whole: thousands of pieces are what other tests are about.
    result = "".join(f"line {number} ÄÖ{' ' * 110}\n" for number in range(300)).strip()
    assert agent.answer(first, result).text == result


def test_upstream_gets_only_what_is_new(gateway, agent):
    first = agent.ask("x" * 50_000 + plan(call("clock"), {"say": "Fine."}))
    agent.answer(first, "noon")
    [asked] = gateway.asks(first.calls[0][0])
    assert len(json.dumps(asked)) < 5000


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=str)
def test_call_streams_while_it_is_written(gateway, wire):
    api = ChatAgent if wire is OPENAI else MessagesAgent
    step = {"say": "Look.", **call("write_file", path="a.txt", text="far " * 200)}
    tools = [api.declared(tool) for tool in TOOLS]
    prompt = plan(step, fault="silence", after=30, size=10)
    with Stream(gateway, wire, prompt, key=KEY, tools=tools) as stream:
        assert b"Look." in b"".join(stream.until(b"write_file"))
        assert b"far" in b"".join(stream.until(b"far"))


def test_call_fragments_have_index_and_first_a_name(gateway):
    agent = ChatAgent(gateway, stream=True)
    step = {"calls": [call("write_file", path="a", text=NASTY), call("read_file", path="b")]}
    slowly = plan(step, size=3, delay_ms=2)  # pieces that come together are told together
    answer = send(gateway, "POST", agent.path, key=KEY, body=agent.body(slowly))
    found = [each for event in answer.events for each in event["choices"][0]["delta"].get("tool_calls", [])]
    assert [each["index"] for each in found] == sorted(each["index"] for each in found)
    for index, arguments in enumerate(({"path": "a", "text": NASTY}, {"path": "b"})):
        fragments = [each for each in found if each["index"] == index]
        assert len(fragments) >= 2  # on a busy machine pieces come together
        assert [each for each in fragments if "id" in each or "name" in each["function"]] == fragments[:1]
        assert json.loads("".join(each["function"]["arguments"] for each in fragments)) == arguments


def test_message_blocks_come_one_after_another(gateway):
    agent = MessagesAgent(gateway, stream=True)
    step = {"say": "Both.", "calls": [call("write_file", path="a", text=NASTY), call("clock")]}
    slowly = plan(step, size=3, delay_ms=2)  # pieces that come together are told together
    answer = send(gateway, "POST", agent.path, key=KEY, body=agent.body(slowly))
    blocks = [(event["type"], event["index"]) for event in answer.events if "index" in event]
    assert [index for _, index in blocks] == sorted(index for _, index in blocks)
    started = [event["content_block"] for event in answer.events if event["type"] == "content_block_start"]
    assert [block["type"] for block in started] == ["text", "tool_use", "tool_use"]
    assert [block["input"] for block in started[1:]] == [{}, {}]
    assert answer.finish == "tool_use"


def test_anthropic_tool_runner_runs_to_the_end(gateway):
    @anthropic.beta_tool
    def read_file(path: str) -> str:
        """Read a file."""
        return f"text of {path}"

    runner = client_of(gateway, anthropic.Anthropic).beta.messages.tool_runner(
        model="org_auto", max_tokens=1000, tools=[read_file],
        messages=[{"role": "user", "content": plan(call("read_file", path="a"), {"say": "So: {{last_result}}"})}],
    )  # fmt: skip
    assert [message.stop_reason for message in runner] == ["tool_use", "end_turn"]


def test_calls_are_counted_and_cost_tokens(gateway, api, stream):
    agent = api(gateway, stream)
    more = {"stream_options": {"include_usage": True}} if stream and api is ChatAgent else {}
    done = agent.ask(plan(call("write_file", path="a", text="word " * 100)), **more)
    usage = done.whole.usage
    assert (usage.completion_tokens if api is ChatAgent else usage.output_tokens) > 50
    told = send(gateway, "GET", "/metrics", key=METRICS_KEY).body.decode()
    family = "anthropic_python" if api is MessagesAgent else "openai_python"
    [line] = [line for line in told.splitlines() if 'outcome="parsed"' in line and family in line.replace("-", "_")]
    assert 'model="org_auto"' in line
    assert float(line.split()[-1]) > 0
