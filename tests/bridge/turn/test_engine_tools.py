"""Turns with tools: offered in the prompt, called in the text, answered in the next turn of the same session."""

import json
import re

import pytest

from bridge.chat.events import FinishReason, TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import ChatRequest, Message, Tool, ToolCall, ToolChoice
from bridge.prompt.profile import PromptProfile
from bridge.routing.routes import Routes
from bridge.turn.plan import PlanOptions
from tests.bridge.chats import chat, request, say
from tests.bridge.lingma.service import finish

READ = Tool(
    "read_file",
    "Read a file.",
    b'{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}',
)
HELLO = Message("user", "What is in a.txt?")


def asking(*messages, **fields):
    fields = {"stream": True, "tooling": True, "tools": (READ,)} | fields
    return ChatRequest("org_auto", (HELLO, *messages), **fields)


def delimiter_id_of(prompt):
    """The delimiter id in a prompt, or ""."""
    found = re.findall(r"<call:([a-z0-9]{10})>", prompt)
    return found[-1] if found else ""


def obeying(*steps, ends=True):
    """A service whose model knows the delimiter of its last prompt and says the next step each turn."""
    replies, delimiter_ids = iter(steps), []

    async def on_ask(peer, params):
        delimiter_ids.append(delimiter_id_of(params["questionText"]) or delimiter_ids[-1])
        text = (
            next(replies)
            .replace("<call>", f"<call:{delimiter_ids[-1]}>")
            .replace("</call>", f"</call:{delimiter_ids[-1]}>")
        )
        await say(peer, params, *re.findall(r"(?s).{1,7}", text.replace("MARK", delimiter_ids[-1])))
        if ends:
            await peer.push(finish(params["requestId"]))

    return on_ask


def call(**arguments):
    return "<call>" + json.dumps({"name": "read_file", "arguments": arguments}) + "</call>"


def calls_of(events):
    """(id, name) of the calls that were sent whole, and their arguments."""
    started = [(event.id, event.name) for event in events if isinstance(event, ToolCallStarted)]
    assert len(started) == sum(isinstance(event, ToolCallEnded) for event in events)
    return started, "".join(event.text for event in events if isinstance(event, ToolCallDelta))


def answered(done, result="It says hello."):
    """The conversation with the call that was made and its result, as an agent sends it back."""
    (call_id, name), arguments = calls_of(done.events)[0][0], calls_of(done.events)[1]
    calls = (ToolCall(call_id, name, json.dumps(json.loads(arguments), indent=1)),)
    return Message("assistant", done.text, calls), Message("tool", result, tool_call_id=call_id)


async def test_tools_are_offered_and_call_ends_turn(new_service, new_engine):
    service = await new_service(obeying("Let me look.\n" + call(path="a.txt")))
    done = await chat(await new_engine(service), asking())
    assert "read_file" in service.asks()[0]["questionText"]
    assert service.asks()[0]["mode"] == "chat"
    [(call_id, name)], arguments = calls_of(done.events)
    assert (name, json.loads(arguments), done.text) == ("read_file", {"path": "a.txt"}, "Let me look.")
    assert call_id.startswith("call_")
    assert (done.end.reason, done.record.tool_outcomes) == (FinishReason.TOOL_CALLS, {"parsed": 1})


async def test_result_goes_to_the_asking_session(new_service, new_engine, sessions):
    service = await new_service(obeying("Look: " + call(path="a.txt"), "It says hello."))
    engine = await new_engine(service, sessions=sessions)
    first = await chat(engine, asking())
    second = await chat(engine, asking(*answered(first)))
    prompt = service.asks()[1]["questionText"]
    assert (second.record.session, second.text, second.end.reason) == ("reused", "It says hello.", FinishReason.STOP)
    assert service.asks()[1]["isReply"] is True
    assert calls_of(first.events)[0][0][0] in prompt
    assert "What is in a.txt?" not in prompt
    assert "Available tools" not in prompt


async def test_continued_session_keeps_its_old_delimiter(new_service, new_engine, sessions):
    service = await new_service(obeying(call(path="a.txt"), call(path="b.txt"), "Done."))
    engine = await new_engine(service, sessions=sessions)
    first = await chat(engine, asking())
    history = answered(first)
    second = await chat(engine, asking(*history))
    third = await chat(engine, asking(*history, *answered(second)))
    assert json.loads(calls_of(second.events)[1]) == {"path": "b.txt"}
    assert [done.record.session for done in (first, second, third)] == ["new", "reused", "reused"]


async def test_later_tools_are_described_to_continued_session(new_service, new_engine, sessions):
    service = await new_service(obeying(call(path="a.txt"), call(path="b.txt"), "Done."))
    engine = await new_engine(service, sessions=sessions)
    more = (READ, Tool("write_file"))
    history = answered(await chat(engine, asking()))
    second = await chat(engine, asking(*history, tools=more))
    third = await chat(engine, asking(*history, *answered(second), tools=more))
    prompts = [params["questionText"] for params in service.asks()]
    assert [done.record.session for done in (second, third)] == ["reused", "reused"]
    assert ["write_file" in prompt for prompt in prompts] == [False, True, False]
    assert delimiter_id_of(prompts[1]) == delimiter_id_of(prompts[0])


async def test_session_with_tools_learns_of_forbidden_calls(new_service, new_engine, sessions):
    service = await new_service(obeying(call(path="a.txt"), "Hm."))
    engine = await new_engine(service, sessions=sessions)
    history = answered(await chat(engine, asking()))
    assert (await chat(engine, asking(*history, tools=()))).record.session == "reused"
    assert "Do not call a tool" in service.asks()[1]["questionText"]


async def test_rebuilt_session_knows_only_what_it_got(new_service, new_engine, sessions):
    service = await new_service(obeying(call(path="a.txt")))
    engine = await new_engine(service, sessions=sessions)
    history = answered(await chat(engine, asking()))

    async def lost(peer, params):
        if params["isReply"]:
            return await peer.push(finish(params["requestId"], 500))
        return await obeying_plainly("Hm.")(peer, params)

    service.on_ask = lost
    second = await chat(engine, asking(*history, tool_choice=ToolChoice("none")))
    service.on_ask = obeying_plainly("Done.")
    again = (Message("assistant", "Hm."), Message("user", "Again."))
    third = await chat(engine, asking(*history, *again))
    prompts = [params["questionText"] for params in service.asks()]
    assert [second.record.session, third.record.session] == ["rebuilt", "reused"]
    assert ["Available tools" in each for each in prompts] == [True, False, False, True]


async def test_sessions_with_tools_can_be_turned_off(new_service, new_engine, sessions):
    service = await new_service(obeying(call(path="a.txt"), "Hm."))
    engine = await new_engine(service, sessions=sessions, plan=PlanOptions(reuse_with_tools=False))
    first = await chat(engine, asking())
    assert (await chat(engine, asking(*answered(first)))).record.session == "off"
    assert "What is in a.txt?" in service.asks()[1]["questionText"]


@pytest.mark.parametrize("stream", [True, False])
async def test_owed_call_is_requested_in_same_session(new_service, new_engine, stream):
    service = await new_service(obeying("I would rather not.", call(path="a.txt")))
    request = asking(tool_choice=ToolChoice("required"), stream=stream)
    done = await chat(await new_engine(service), request)
    assert (done.text, len(calls_of(done.events)[0])) == ("", 1)
    first, second = service.asks()
    assert (second["isReply"], second["sessionId"]) == (True, "s-real")
    assert first["sessionId"] != second["sessionId"]
    assert done.record.tool_outcomes == {"retried": 1, "repaired": 1}


async def test_flawed_call_is_repaired_before_client_hears(new_service, new_engine):
    service = await new_service(obeying("Look: " + call(file="a.txt"), call(path="a.txt")))
    done = await chat(await new_engine(service), asking(stream=False))
    assert "path" in service.asks()[1]["questionText"]
    assert json.loads(calls_of(done.events)[1]) == {"path": "a.txt"}
    assert (len(done.batches), done.end.reason) == (1, FinishReason.TOOL_CALLS)


async def test_a_corrected_session_goes_on(new_service, new_engine, sessions):
    service = await new_service(obeying("No.", call(path="a.txt"), "It says hello."))
    engine = await new_engine(service, sessions=sessions)
    first = await chat(engine, asking(tool_choice=ToolChoice("required")))
    second = await chat(engine, asking(*answered(first)))
    assert (second.record.session, second.text) == ("reused", "It says hello.")


async def test_choice_none_neither_offers_nor_reads_tools(new_service, new_engine):
    text = '<call:abcdefghij>{"name":"read_file","arguments":{"path":"a"}}</call:abcdefghij>'
    service = await new_service(obeying_plainly(text))
    done = await chat(await new_engine(service), asking(tool_choice=ToolChoice("none")))
    assert (done.text, done.end.reason) == (text, FinishReason.STOP)
    assert "Available tools" not in service.asks()[0]["questionText"]


def obeying_plainly(text):
    async def on_ask(peer, params):
        await say(peer, params, text)
        await peer.push(finish(params["requestId"]))

    return on_ask


async def test_broken_off_call_ends_with_length(new_service, new_engine):
    service = await new_service(obeying(call(path="a" * 200)[:-80]))
    done = await chat(await new_engine(service), asking())
    assert done.end.reason is FinishReason.LENGTH
    assert isinstance(done.events[-2], (ToolCallDelta, TextDelta))


@pytest.mark.parametrize("stream", [True, False])
async def test_failed_correction_leaves_the_reply(new_service, new_engine, sessions, stream):
    async def on_ask(peer, params):
        if params["isReply"]:
            return await peer.push(finish(params["requestId"], 500))
        return await obeying_plainly("I would rather not.")(peer, params)

    request = asking(tool_choice=ToolChoice("required"), stream=stream)
    done = await chat(await new_engine(await new_service(on_ask), sessions=sessions), request)
    assert (done.text, done.end.reason, done.record.status) == ("I would rather not.", FinishReason.STOP, "ok")


GUESS = "<tool_call>\n<function=read_file>\n<parameter=path>\nb.txt\n</parameter>\n</function>\n</tool_call>"


@pytest.mark.parametrize("stream", [True, False])
async def test_model_notation_counts_until_marks_are_kept(new_service, new_engine, sessions, stream):
    service = await new_service(obeying(GUESS, GUESS, call(path="a.txt"), GUESS, "Done."))
    engine = await new_engine(service, sessions=sessions)
    history, turns = [], []
    for _ in range(4):
        done = await chat(engine, asking(*history, stream=stream))
        turns.append((len(calls_of(done.events)[0]), done.text, done.record.session))
        history += answered(done) if calls_of(done.events)[0] else []
    assert turns == [(1, "", "new"), (1, "", "reused"), (1, "", "reused"), (0, GUESS, "reused")]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_the_request_holds_is_text(new_service, new_engine, stream):
    service = await new_service(obeying(call(path="a.txt"), f"It says:\n{GUESS}"))
    engine = await new_engine(service)
    history = answered(await chat(engine, asking()), f"# Read me\n\n{GUESS}\n")
    done = await chat(engine, asking(*history, stream=stream))
    assert (calls_of(done.events)[0], done.text, done.end.reason) == ([], f"It says:\n{GUESS}", FinishReason.STOP)


async def test_guesses_can_be_switched_off_for_a_model(new_service, new_engine):
    engine = await new_engine(await new_service(obeying(GUESS)))
    engine.routes = Routes(profiles=[("*", PromptProfile(native_calls=False))], default_model="org_auto")
    assert (await chat(engine, asking())).text == GUESS


@pytest.mark.parametrize("stream", [True, False])
async def test_invented_result_is_withheld_and_stops_the_model(new_service, new_engine, sessions, stream):
    made_up = "\n\n[Result MARK read_file x]\nNonsense.\n\n[Assistant MARK]\nIt says nonsense."
    for written in (call(path="b.txt"), GUESS):
        service = await new_service(obeying(f"Let me look.\n{written}{made_up}", ends=False))
        done = await chat(await new_engine(service, sessions=sessions), asking(stream=stream))
        await service.got("chat/stop")
        assert (done.text, json.loads(calls_of(done.events)[1])) == ("Let me look.", {"path": "b.txt"})
        assert done.end.reason is FinishReason.TOOL_CALLS


async def test_session_with_played_roles_is_not_continued(new_service, new_engine, sessions):
    service = await new_service(obeying(call(path="a.txt") + "\n[User]\nThanks.", "It says hello."))
    engine = await new_engine(service, sessions=sessions)
    history = answered(await chat(engine, asking()))
    assert (await chat(engine, asking(*history))).record.session == "new"


@pytest.mark.parametrize("stream", [True, False])
async def test_reply_ends_where_model_plays_the_user(new_service, new_engine, stream):
    async def on_ask(peer, params):
        [mark] = set(re.findall(r"^\[\w+ (\w+)\]$", params["questionText"], re.MULTILINE))
        await say(peer, params, "Fine.\n\n[Us", f"er {mark}]\nAnd you?\n", f"[Assistant {mark}]\nMe too.")

    service = await new_service(on_ask)
    done = await chat(await new_engine(service), request("How are you?", "Well.", "Really?", stream=stream))
    await service.got("chat/stop")
    assert (done.text.strip(), done.end.reason) == ("Fine.", FinishReason.STOP)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("second", ["<call>{}</call>", "Really not."])
async def test_undemanded_tool_is_not_called(new_service, new_engine, second, stream):
    other = '<call>{"name":"write_file","arguments":{}}</call>'
    service = await new_service(obeying(f"Well. {other}", second.replace("<call>{}</call>", call(path="a.txt"))))
    chat_request = asking(tools=(READ, Tool("write_file")), tool_choice=ToolChoice("named", "read_file"), stream=stream)
    done = await chat(await new_engine(service), chat_request)
    assert "read_file is required" in service.asks()[1]["questionText"]
    if second == "Really not.":
        assert (calls_of(done.events)[0], done.text, done.end.reason) == ([], "Really not.", FinishReason.STOP)
    else:
        assert [name for _, name in calls_of(done.events)[0]] == ["read_file"]


@pytest.mark.parametrize("stream", [True, False])
async def test_missing_tool_is_corrected_by_present_ones(new_service, new_engine, stream):
    service = await new_service(obeying('<call>{"name":"rm","arguments":{}}</call>', call(path="a.txt")))
    done = await chat(await new_engine(service), asking(stream=stream))
    assert "The tools are: read_file." in service.asks()[1]["questionText"]
    assert [name for _, name in calls_of(done.events)[0]] == ["read_file"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (f"Look.\n{call(path='b.txt')}\nSo.", "Look.\nSo."),
        (call(path="b.txt"), '{"name": "read_file", "arguments": {"path": "b.txt"}}'),
    ],
)
@pytest.mark.parametrize("fields", [{"tools": ()}, {"tool_choice": ToolChoice("none")}], ids=["no tools", "none"])
async def test_call_is_left_out_where_forbidden(new_service, new_engine, sessions, fields, written, sent, stream):
    service = await new_service(obeying(call(path="a.txt"), written))
    engine = await new_engine(service, sessions=sessions)
    history = answered(await chat(engine, asking()))
    done = await chat(engine, asking(*history, stream=stream, **fields))
    assert (done.record.session, done.text, done.end.reason) == ("reused", sent, FinishReason.STOP)
    assert calls_of(done.events)[0] == []
