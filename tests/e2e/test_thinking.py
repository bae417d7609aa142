"""Reasoning, however the service tells it: apart from the text, and only for clients that ask."""

import pytest

from tests.e2e.agents import APIS, ChatAgent, MessagesAgent, call, plan
from tests.e2e.formats import send
from tests.e2e.installation import KEY

THOUGHT = "First I look.\n```py\nx = '<call:0123456789>'\n```\nThen – so be it – I say <b>yes</b>."
STYLES = ("push", "fence", "tags")


@pytest.fixture(params=APIS, ids=lambda api: api.__name__.removesuffix("Agent"))
def api(request):
    return request.param


@pytest.fixture
def agent(gateway, api, stream):
    return api(gateway, stream, tools=())


def thinking(style, *, text="Yes.", size=0):
    return plan({"think": THOUGHT, "say": text}, think_style=style, size=size)


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize("style", STYLES)
def test_reasoning_is_sent_on_request(agent, style, size):
    done = agent.ask(thinking(style, size=size), **agent.thinks)
    assert (done.thinking.strip(), done.text.strip()) == (THOUGHT, "Yes.")
    assert done.finish == agent.ends


@pytest.mark.parametrize("style", STYLES)
def test_reasoning_is_swallowed_for_all_others(agent, style):
    done = agent.ask(thinking(style))
    assert (done.thinking, done.text.strip()) == ("", "Yes.")


@pytest.mark.parametrize("style", STYLES)
def test_reasoning_and_calls_go_together_over_rounds(gateway, api, stream, style):
    agent = api(gateway, stream)
    steps = (
        {"think": THOUGHT, "say": "Look.", **call("clock")},
        {"think": "And now?", "say": "It is {{last_result}}."},
    )
    first = agent.ask(plan(*steps, think_style=style), **agent.thinks)
    assert (first.thinking.strip(), first.text.strip(), first.names) == (THOUGHT, "Look.", ["clock"])
    second = agent.answer(first, "noon", **agent.thinks)
    assert (second.text.strip(), second.session) == ("It is noon.", "reused")
    assert second.thinking.strip() == "And now?"
    [asked] = gateway.asks(first.calls[0][0])
    assert "First I look" not in asked["questionText"]


def test_earlier_reasoning_is_accepted_and_not_forwarded(gateway, agent):
    agent.ask(thinking("push"), **agent.thinks)
    agent.history[0]["content"] += " another beginning"
    question = f"[[sim: text=fine]] after reasoning {agent.name}"
    done = agent.ask(question, **agent.thinks)
    assert (done.text, done.session) == ("fine", "new")
    [asked] = gateway.asks(f"after reasoning {agent.name}")
    assert "Then – so be it" not in asked["questionText"].replace(thinking("push"), "").partition("[Assistant ")[2]


def test_signatures_of_others_are_accepted(gateway, stream):
    agent = MessagesAgent(gateway, stream, tools=())
    blocks = [
        {"type": "thinking", "thinking": "by another model", "signature": "c2lnbmF0dXJl"},
        {"type": "redacted_thinking", "data": "abc"}, {"type": "text", "text": "Hm."},
    ]  # fmt: skip
    agent.history = [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": blocks}]
    assert agent.ask("[[sim: text=fine]] go on", **agent.thinks).text == "fine"


def test_a_thinking_block_is_signed(gateway, stream):
    done = MessagesAgent(gateway, stream, tools=()).ask(thinking("tags"), **MessagesAgent.thinks)
    assert [block.type for block in done.whole.content] == ["thinking", "text"]
    assert done.whole.content[0].signature


def test_adaptive_thinking_is_given_and_disabled_is_not(gateway, stream):
    for way, wanted in (("adaptive", THOUGHT), ("disabled", "")):
        done = MessagesAgent(gateway, stream, tools=()).ask(thinking("push"), thinking={"type": way})
        assert done.thinking == wanted


def test_effort_none_is_no_reasoning(gateway, api, stream):
    agent = api(gateway, stream, tools=())
    if api is not MessagesAgent:
        none = {"reasoning_effort": "none"} if "reasoning_effort" in agent.thinks else {"reasoning": {"effort": "none"}}
        assert agent.ask(thinking("push"), **none).thinking == ""


def test_reasoning_streams_before_text(gateway, api):
    agent = api(gateway, stream=True, tools=())
    answer = send(gateway, "POST", agent.path, key=KEY, body=agent.body(thinking("fence", size=5), **agent.thinks))
    assert 0 < answer.body.index(b"First") < answer.body.index(b"Yes.")


def test_a_raw_thinking_stream_ends_with_its_signature(gateway):
    body = MessagesAgent(gateway, stream=True, tools=()).body(thinking("push", size=5), **MessagesAgent.thinks)
    answer = send(gateway, "POST", "/v1/messages", key=KEY, body=body)
    kinds = [event["delta"]["type"] for event in answer.events if event["type"] == "content_block_delta"]
    assert kinds.count("signature_delta") == 1
    assert kinds.index("signature_delta") < kinds.index("text_delta")
    assert kinds[: kinds.index("signature_delta")] == ["thinking_delta"] * kinds.index("signature_delta")


def test_cards_of_the_services_tools_are_no_text(gateway, agent):
    card = "\n```toolCall::read_file::call-1::INIT\n```\n"
    assert agent.ask(plan({"say": f"One.{card}Two."}, size=4)).text.replace("\n", "") == "One.Two."


def test_reply_of_only_reasoning_still_ends(agent):
    done = agent.ask('[[sim: text="<think>hm</think>"]] x', **agent.thinks)
    assert (done.text, done.finish) == ("", agent.ends)


def test_reasoning_tokens_are_reported(gateway, stream):
    more = {"stream_options": {"include_usage": True}} if stream else {}
    done = ChatAgent(gateway, stream, tools=()).ask(thinking("push"), **ChatAgent.thinks, **more)
    assert done.whole.usage.completion_tokens_details.reasoning_tokens > 0
