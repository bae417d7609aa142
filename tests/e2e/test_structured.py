"""Replies that a format demands, drafts that were replaced, reasoning without a beginning: what clients get to see."""

import json

import pytest

from tests.e2e.agents import APIS, ChatAgent, MessagesAgent, ResponsesAgent, hidden

PET = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "legs": {"type": "integer", "minimum": 0}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}
VALUE = {"name": "Rex {the first}. <think>a</think>", "legs": 4}
JSON = json.dumps(VALUE)
ASKS = {
    ChatAgent: {"response_format": {"type": "json_schema", "json_schema": {"name": "pet", "schema": PET}}},
    MessagesAgent: {"extra_body": {"output_config": {"format": {"type": "json_schema", "schema": PET}}}},
    ResponsesAgent: {"text": {"format": {"type": "json_schema", "name": "pet", "schema": PET}}},
}
ANY = {
    ChatAgent: {"response_format": {"type": "json_object"}},
    ResponsesAgent: {"text": {"format": {"type": "json_object"}}},
}
WRITTEN = {
    "plain": JSON,
    "fenced": f"```json\n{JSON}\n```",
    "in prose": f"Sure, here it is:\n\n```json\n{JSON}\n```\n\nAnything else?",
    "behind reasoning": f"<think>A dog.</think>\n{JSON}",
    "behind reasoning without a beginning": f"A dog has four.\n</think>\n\n{JSON}",
}


@pytest.fixture(params=APIS, ids=lambda api: api.__name__.removesuffix("Agent"))
def api(request):
    return request.param


@pytest.fixture
def agent(gateway, api, stream):
    return api(gateway, stream, tools=())


def saying(text, **knobs):
    told = "".join(f" {name}={json.dumps(value)}" for name, value in knobs.items())
    return f"[[sim: text={hidden(text)} first_ms=0 delay_ms=0{told}]]"


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("written", WRITTEN)
def test_required_json_is_nothing_else(agent, written, size):
    agent.more = ASKS[type(agent)]
    done = agent.ask(saying(WRITTEN[written], size=size))
    assert json.loads(done.text) == VALUE
    assert done.finish == agent.ends


@pytest.mark.parametrize("api", [*ANY], ids=lambda api: api.__name__.removesuffix("Agent"))
def test_any_object_may_be_asked_for(agent):
    agent.more = ANY[type(agent)]
    done = agent.ask(saying('Here you go: {"a": [1, 2]}.'))
    assert json.loads(done.text) == {"a": [1, 2]}


def test_a_conversation_in_json_keeps_its_session(agent):
    agent.more = ASKS[type(agent)]
    agent.ask(saying(WRITTEN["fenced"]))
    assert agent.ask(saying(WRITTEN["in prose"])).session == "reused"


def test_call_or_json_are_both_allowed(gateway, api, stream):
    agent = api(gateway, stream, more=ASKS[api])
    first = agent.ask(saying('<tool_call>{"name":"clock","arguments":{}}</tool_call>'))
    assert first.names == ["clock"]
    second = agent.answer(first, f"noon {saying(WRITTEN['fenced'])}")
    assert json.loads(second.text) == VALUE


def test_integers_follow_their_schema(gateway, api, stream):
    step = ("walk", "Walk.", {"steps": {"type": "integer"}, "speed": {"type": "number"}}, [])
    agent = api(gateway, stream, tools=(step,))
    call = '<tool_call>{"name":"walk","arguments":{"steps":2.0,"speed":2.0}}</tool_call>'
    done = agent.ask(saying(call, size=3))
    assert [json.dumps(each) for each in done.arguments] == ['{"steps": 2, "speed": 2.0}']


@pytest.mark.parametrize("text", ["Let me weigh it.\n</think>\n\nYes.", "<thinking>Let me weigh it.\n</thinking>Yes."])
def test_reasoning_is_no_part_of_the_answer(agent, text):
    done = agent.ask(saying(text, size=5), **agent.thinks)
    assert (done.text, done.thinking.strip()) == ("Yes.", "Let me weigh it.")


@pytest.mark.parametrize("stream", [False], ids=["plain"])
def test_draft_is_no_part_of_whole_answers(gateway, agent):
    question = saying("A draft.", size=2, overwrite="The final text.") + f" draft {agent.name}"
    first = agent.ask(question.replace("delay_ms=0", "delay_ms=3"))
    assert first.text == "The final text."
    assert agent.ask(saying("Fine.")).session == "reused"


@pytest.mark.parametrize("stream", [True], ids=["streamed"])
def test_stream_sends_the_replacement_of_a_draft_once(agent):
    question = saying("A draft.", size=2, overwrite="The final text.").replace("delay_ms=0", "delay_ms=3")
    assert agent.ask(question).text.count("The final text.") == 1
    assert agent.ask(saying("Fine.")).session == "reused"
