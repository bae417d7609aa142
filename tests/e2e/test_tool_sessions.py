"""Conversations of agents: known again however an agent changes what nobody said, told anew when they are lost."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.agents import APIS, TOOLS, ChatAgent, MessagesAgent, ResponsesAgent, call, plan
from tests.e2e.formats import OPENAI, Stream
from tests.e2e.installation import KEY, Gateway, until

REMINDER = "<system-reminder>\nThe date is 2026-11-22. Use the tools.\n</system-reminder>"
STEPS = (call("clock"), call("read_file", path="a.txt"), {"say": "Done."})


@pytest.fixture(params=APIS, ids=lambda api: api.__name__.removesuffix("Agent"))
def api(request):
    return request.param


def begun(gateway, stream=True, system="You are an agent.", **more):
    """A Messages agent like Claude Code, after its first round."""
    agent = MessagesAgent(gateway, stream, more={"system": system, **more})
    return agent, agent.ask([{"type": "text", "text": REMINDER}, {"type": "text", "text": plan(*STEPS)}])


def test_reminders_come_and_go(gateway, stream):
    agent, done = begun(gateway, stream)
    agent.history[0]["content"] = [{"type": "text", "text": plan(*STEPS)}]
    [(id_, _, _)] = done.calls
    result = {"type": "tool_result", "tool_use_id": id_, "content": "noon"}
    agent.history.append({"role": "user", "content": [result, {"type": "text", "text": REMINDER}]})
    second = agent._go({})
    assert (second.session, second.names) == ("reused", ["read_file"])
    agent.history[-2]["content"].pop()
    assert agent.answer(second, "x").session == "reused"


def test_cache_marks_move(gateway, stream):
    agent, done = begun(gateway, stream, system=[{"type": "text", "text": "Be an agent."}])
    agent.history[0]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    second = agent.answer(done, "noon")
    del agent.history[0]["content"][-1]["cache_control"]
    agent.history[-2]["content"][0]["cache_control"] = {"type": "ephemeral"}
    agent.more["system"][0]["cache_control"] = {"type": "ephemeral"}
    assert [second.session, agent.answer(second, "x").session] == ["reused", "reused"]


def test_the_date_of_the_system_prompt_changes(gateway, stream):
    agent, done = begun(gateway, stream, system="Be an agent.\nToday's date: 2026-11-21\nCurrent time: 23:59:58")
    agent.more["system"] = "Be an agent.\nToday's date: 2026-11-22\nCurrent time: 00:00:03"
    second = agent.answer(done, "noon")
    assert [second.session, agent.answer(second, "x").session] == ["reused", "reused"]
    [told], [untold] = gateway.asks(done.calls[0][0]), gateway.asks(second.calls[0][0])
    assert "Today's date: 2026-11-22" in told["questionText"]
    assert "2026-11-22" not in untold["questionText"]


def test_a_billing_header_changes(gateway):
    header = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.0.1; cch=1a2b3"}
    agent, done = begun(gateway, system=[header, {"type": "text", "text": "Be an agent."}])
    agent.more["system"][0] = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.0.1; cch=9f8e7"}
    assert agent.answer(done, "noon").session == "reused"


def test_date_of_later_system_message_changes(gateway, stream):
    agent, done = begun(gateway, stream)
    told = {"role": "system", "content": [{"type": "text", "text": "The folder is /work.\nToday's date: 2026-11-22"}]}
    agent.history.insert(1, told)
    second = agent.answer(done, "noon")
    agent.history[1] = {"role": "system", "content": "The folder is /work.\nToday's date: 2026-11-23"}
    assert [second.session, agent.answer(second, "x").session] == ["reused", "reused"]


def test_changed_later_system_message_starts_anew(gateway, stream):
    agent, done = begun(gateway, stream)
    agent.history.insert(1, {"role": "system", "content": "Only list files."})
    second = agent.answer(done, "noon")
    agent.history[1] = {"role": "system", "content": "Delete files."}
    assert [second.session, agent.answer(second, "x").session] == ["reused", "new"]


def test_tools_change_their_order(gateway, stream):
    agent, done = begun(gateway, stream)
    agent.tools = TOOLS[::-1]
    assert agent.answer(done, "noon").session == "reused"
    assert "Read a file." not in gateway.asks(done.calls[0][0])[0]["questionText"]


def test_results_go_as_text_or_blocks(gateway):
    agent, done = begun(gateway)
    second = agent.answer(done, "noon")
    agent.history[2]["content"][0]["content"] = [{"type": "text", "text": "noon"}]
    assert agent.answer(second, "x").session == "reused"


@pytest.mark.parametrize(
    "change",
    [
        lambda agent: agent.history[0]["content"].append({"type": "text", "text": "and one word more"}),
        lambda agent: agent.history[2]["content"][0].update(content="midnight"),
        lambda agent: agent.history[2]["content"][0].update(is_error=True),
        lambda agent: agent.more.update(system="You are another agent."),
    ],
    ids=["word", "result", "failure", "system"],
)
def test_another_conversation_never_gets_the_session(gateway, change):
    agent, done = begun(gateway)
    second = agent.answer(done, "noon")
    change(agent)
    assert agent.answer(second, "x").session == "new"


def test_changed_tools_stay_in_the_same_session(gateway, api, stream):
    agent = api(gateway, stream, tools=TOOLS[1:])
    first = agent.ask(plan(*STEPS))
    agent.tools = TOOLS
    second = agent.answer(first, "noon")
    third = agent.answer(second, "x")
    assert ([second.session, third.session], second.names) == (["reused"] * 2, ["read_file"])
    [told], [untold] = gateway.asks(first.calls[0][0]), gateway.asks(second.calls[0][0])
    assert "Read a file." in told["questionText"]
    assert "Read a file." not in untold["questionText"]


def test_a_conversation_that_branches_goes_on_once(gateway):
    agent, done = begun(gateway)
    assert agent.answer(done, "noon").session == "reused"
    del agent.history[2:]
    assert agent.answer(done, "noon").session == "new"


def test_agent_answers_in_text_and_asks_again(gateway, api, stream):
    agent = api(gateway, stream)
    first = agent.ask(plan({"say": "Hello."}, call("clock"), {"say": "It is {{last_result}}."}))
    second = agent.ask("What time is it?")
    third = agent.answer(second, "noon")
    assert [first.text, second.names, third.text] == ["Hello.", ["clock"], "It is noon."]
    assert [second.session, third.session] == ["reused", "reused"]


def test_stored_responses_go_on_with_results_alone(gateway, stream):
    agent = ResponsesAgent(gateway, stream)
    first = agent.ask(plan(*STEPS))
    agent.history.clear()
    second = agent.answer(first, "noon", previous_response_id=first.whole.id)
    agent.history.clear()
    third = agent.answer(second, "x", previous_response_id=second.whole.id)
    assert [second.names, third.text] == [["read_file"], "Done."]
    assert [second.session, third.session] == ["reused", "reused"]


def test_first_tools_are_described_once(gateway, api):
    agent = api(gateway, stream=False)
    first = agent.ask(plan(*STEPS) + f" told once {agent.name}")
    second = agent.answer(first, "noon", **agent.required)
    [told], [asked] = gateway.asks(f"told once {agent.name}"), gateway.asks(first.calls[0][0])
    assert "Read a file." in told["questionText"]
    assert "Read a file." not in asked["questionText"]
    assert "must contain at least one tool call" in asked["questionText"]
    assert second.names == ["read_file"]


def test_lost_sessions_are_sent_from_the_start(mortal):
    begun = []
    for agent in [api(mortal, stream) for api in APIS for stream in (False, True)]:
        first = agent.ask(plan(*STEPS))
        begun.append((agent, first, agent.answer(first, "noon")))
    mortal.restart_lingma("w1-i1")  # once: each time it takes longer until it is back
    for agent, first, second in begun:
        third = agent.answer(second, "text of a.txt")
        assert (third.session, third.text, third.calls) == ("rebuilt", "Done.", [])
        told = mortal.asks(second.calls[0][0])[-1]["questionText"]
        assert "Read a file." in told
        assert f" clock {first.calls[0][0]}] {{}}" in told
        assert "noon" in told


def test_a_lost_session_is_noticed_by_its_failure(gateway, api, stream):
    agent = api(gateway, stream)
    first = agent.ask(plan(*STEPS))
    gateway.control(turns=[{"fault": "finish_code", "after": 0, "finish": 500}])
    second = agent.answer(first, "noon")
    gateway.control()
    assert (second.session, second.names) == ("rebuilt", ["read_file"])
    assert agent.answer(second, "x").session == "reused"


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory, template):
    with Gateway(tmp_path_factory.mktemp("forgetful"), template, SESSION_REUSE_WITH_TOOLS="false") as running:
        yield running


def test_sessions_with_tools_can_be_switched_off(forgetful, api, stream):
    agent = api(forgetful, stream)
    done = agent.ask(plan(*STEPS))
    rounds = [done]
    for result in ("noon", "x"):
        rounds.append(agent.answer(rounds[-1], result))
    assert [each.session for each in rounds] == ["off"] * 3
    assert rounds[-1].text == "Done."
    assert "Read a file." in forgetful.asks(rounds[1].calls[0][0])[-1]["questionText"]


def test_sessions_go_on_without_tools(forgetful):
    agent = ChatAgent(forgetful, stream=False, tools=())
    assert agent.ask('[[sim: text="hello"]]').session == "new"
    assert json.loads(agent.ask("[[sim: echo=history]]").text)["isReply"] is True


def test_turn_without_choice_keeps_earlier_tools(gateway, api, stream):
    agent = api(gateway, stream)
    first = agent.ask(plan(call("clock"), {"say": "It is noon."}, call("clock"), {"say": "Done."}))
    second = agent.answer(first, "noon", **agent.none)
    third = agent.ask("And now?")
    fourth = agent.answer(third, "one")
    assert [second.text, third.names, fourth.text] == ["It is noon.", ["clock"], "Done."]
    assert [each.session for each in (second, third, fourth)] == ["reused"] * 3
    assert "Do not call a tool" in gateway.asks(first.calls[0][0])[0]["questionText"]


def test_tools_may_come_later(gateway, api, stream):
    agent = api(gateway, stream, tools=())
    agent.ask(plan({"say": "Hello."}, call("clock"), {"say": "Done."}))
    agent.tools = TOOLS
    second = agent.ask("What time is it?")
    third = agent.answer(second, "noon")
    assert (second.names, third.text) == (["clock"], "Done.")
    assert [second.session, third.session] == ["reused", "reused"]


def test_concurrent_agents_keep_their_own_sessions(gateway):
    def work(number):
        agent = APIS[number % 3](gateway, stream=number % 2 == 0)
        done = agent.ask(
            plan(*(call("read_file", path=f"{number}-{step}") for step in range(3)), {"say": "{{results}}"})
        )
        paths, sessions = [], []
        while done.calls:
            paths += [arguments["path"] for arguments in done.arguments]
            done = agent.answer(done, f"text of {paths[-1]}")
            sessions.append(done.session)
        return paths == [f"{number}-{step}" for step in range(3)], sessions, done.text

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(12))) == [(True, ["reused"] * 3, "3")] * 12


def test_hang_up_during_a_call_stops_the_model(gateway, wire):
    api = ChatAgent if wire is OPENAI else MessagesAgent
    question = f"hangs up in a call {wire}"
    prompt = plan(call("write_file", path="a", text="far " * 400), size=10, delay_ms=20) + question
    tools = [api.declared(tool) for tool in TOOLS]
    with Stream(gateway, wire, prompt, key=KEY, tools=tools, model=question) as stream:
        stream.until(b"write_file")
    assert until(lambda: gateway.stops(question))
    assert gateway.row_of_model(question)["status"] == "cancelled"
