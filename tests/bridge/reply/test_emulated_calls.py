"""Which calls may be sent, and when the model is asked once more."""

import itertools
import json

import pytest

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import AUTO, Tool, ToolChoice
from bridge.reply.call_assembly import ToolOffer
from bridge.reply.emulated_calls import EmulatedCalls
from tests.bridge.reply.streams import sliced

DELIMITER_ID = "n0nce12345"
SCHEMA = b'{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}'
READ = Tool("read", schema=SCHEMA)
TIME = Tool("time")


def emulation(choice=AUTO, *, parallel=True, stream=True, tools=(READ, TIME)):
    ids = itertools.count(1)
    return EmulatedCalls(ToolOffer(tools, choice, parallel, DELIMITER_ID, stream), lambda: f"call_{next(ids)}")


def call(name, **arguments):
    return f"<call:{DELIMITER_ID}>" + json.dumps({"name": name, "arguments": arguments}) + f"</call:{DELIMITER_ID}>"


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls_of(events):
    """(id, name, arguments) of the calls that were sent to their end."""
    calls, name, arguments = [], None, ""
    for event in events:
        match event:
            case ToolCallStarted():
                name, arguments = (event.id, event.name), ""
            case ToolCallDelta():
                arguments += event.text
            case ToolCallEnded():
                calls.append((*name, json.loads(arguments)))
            case _:
                pass
    return calls


def whole(reply, text):
    return reply.feed(text) + reply.end()


def test_text_and_calls_stream_as_they_come():
    reply = emulation()
    assert text_of(reply.feed("Let me look. ")).rstrip() == "Let me look."
    events = reply.feed(call("read", path="a.txt"))
    assert calls_of(events + reply.end()) == [("call_1", "read", {"path": "a.txt"})]
    assert (reply.correction, reply.calls, reply.outcomes) == ("", 1, {"parsed": 1})


def test_arguments_stream_before_the_call_is_complete():
    reply = emulation()
    half = call("read", path="a" * 50)[:-40]
    events = reply.feed(half)
    assert isinstance(events[0], ToolCallStarted)
    assert any(isinstance(event, ToolCallDelta) for event in events)


def test_second_call_is_omitted_where_one_is_allowed():
    events = whole(emulation(parallel=False), call("read", path="a") + call("time") + "and so on")
    assert calls_of(events) == [("call_1", "read", {"path": "a"})]
    assert text_of(events).strip() == ""


def test_misfit_call_is_repaired_once():
    reply = emulation()
    assert calls_of(whole(reply, call("read", file="a"))) == []
    assert "path" in reply.correction
    reply.retry()
    events = whole(reply, "Sorry! " + call("read", path="a"))
    assert (text_of(events), calls_of(events)) == ("", [("call_2", "read", {"path": "a"})])
    assert reply.outcomes == {"retried": 1, "repaired": 1}


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("stream", [True, False])
def test_text_before_a_repaired_call_is_sent(stream, pieces):
    reply = emulation(stream=stream)
    malformed = call("read", file="a")
    events = [
        event for text in (["Now:", malformed] if pieces == 2 else ["Now:" + malformed]) for event in reply.feed(text)
    ]
    events += reply.end()
    reply.retry()
    events += whole(reply, "Sorry! " + call("read", path="a"))
    assert (text_of(events), len(calls_of(events))) == ("Now:", 1)


def test_call_that_stays_wrong_is_the_clients():
    reply = emulation()
    whole(reply, call("read", file="a"))
    reply.retry()
    events = whole(reply, call("read", file="b"))
    assert (calls_of(events), reply.correction) == ([("call_2", "read", {"file": "b"})], "")
    assert reply.outcomes == {"retried": 1, "invalid": 1}


def test_call_that_stays_malformed_is_none():
    reply = emulation()
    unreadable = f'<call:{DELIMITER_ID}>{{"name":"read","arguments":[</call:{DELIMITER_ID}>'
    whole(reply, unreadable)
    reply.retry()
    events = whole(reply, unreadable)
    assert (calls_of(events), reply.correction, reply.calls) == ([], "", 0)
    assert '"read"' in text_of(events)
    assert DELIMITER_ID not in text_of(events)


def test_a_call_that_breaks_off_unsent_is_repaired():
    reply = emulation(stream=False)
    assert whole(reply, call("read", path="a" * 100)[:-60]) == []
    assert ("cut off" in reply.correction, reply.cut_off) == (True, False)
    reply.retry()
    assert len(calls_of(whole(reply, call("read", path="a")))) == 1


@pytest.mark.parametrize(
    ("choice", "reply", "sent"),
    [(AUTO, "Now: " + call("read", file="a"), "Now:"), (ToolChoice("required"), "No.", "No.")],
)
def test_original_reply_is_sent_without_a_correction(choice, reply, sent):
    first = emulation(choice, stream=False)
    whole(first, reply)
    first.retry()
    first.feed("Well")
    assert text_of(first.best_effort()).strip() == sent


def test_uncorrected_reply_has_no_best_effort():
    reply = emulation(stream=False)
    reply.feed("Half of a")
    assert reply.best_effort() == []


def test_text_instead_of_repaired_call_is_sent():
    reply = emulation()
    whole(reply, "Now: " + call("read", file="a"))
    reply.retry()
    assert text_of(whole(reply, "I cannot.")).endswith("I cannot.")


def test_sent_part_of_a_call_cannot_be_repaired():
    reply = emulation()
    text = call("read", file="a" * 50)
    sent = reply.feed(text[:60])
    assert sent
    sent += reply.feed(text[60:]) + reply.end()
    assert len(calls_of(sent)) == 1
    assert (reply.correction, reply.outcomes) == ("", {"invalid": 1})


def test_waiting_client_gets_every_call_repaired():
    reply = emulation(stream=False)
    text = call("read", file="a" * 50)
    assert reply.feed(text[:60]) + reply.feed(text[60:]) + reply.end() == []
    assert reply.correction


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("named", "read")])
def test_missing_call_is_requested_once(choice):
    reply = emulation(choice)
    assert reply.feed("I would rather talk.") == []
    assert (reply.end(), bool(reply.correction)) == ([], True)
    reply.retry()
    assert calls_of(whole(reply, call("read", path="a"))) == [("call_1", "read", {"path": "a"})]


def test_model_that_will_not_call_may_answer():
    reply = emulation(ToolChoice("required"))
    whole(reply, "No.")
    reply.retry()
    assert text_of(whole(reply, "")) == "No."
    assert reply.outcomes == {"retried": 1, "refused": 1}


def test_text_before_a_missing_call_comes_with_it():
    reply = emulation(ToolChoice("required"))
    assert reply.feed("Well, ") == []
    events = whole(reply, call("time"))
    assert (text_of(events), len(calls_of(events))) == ("Well,", 1)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("parallel", [True, False])
def test_call_of_another_tool_is_not_the_demanded(stream, parallel):
    reply = emulation(ToolChoice("named", "read"), stream=stream, parallel=parallel)
    assert calls_of(whole(reply, "Well. " + call("time"))) == []
    assert "a call of the tool read is required" in reply.correction
    reply.retry()
    assert calls_of(whole(reply, call("time") + call("read", path="a") + call("time"))) == [
        ("call_3", "read", {"path": "a"})
    ]
    assert reply.calls == 1


def test_model_that_twice_calls_another_calls_none():
    reply = emulation(ToolChoice("named", "read"))
    whole(reply, "Well. " + call("time"))
    reply.retry()
    events = whole(reply, call("time"))
    sent = 'Well.\n\n{"name": "time", "arguments": {}}'
    assert (text_of(events).strip(), calls_of(events), reply.calls, reply.correction) == (sent, [], 0, "")


def test_another_call_that_breaks_off_is_none_either():
    reply = emulation(ToolChoice("named", "time"))
    whole(reply, call("time") + call("read", path="a" * 99)[:-60])
    assert (reply.calls, reply.cut_off) == (1, False)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "second",
    [call("read", path="b" * 99)[:-60], f'<call:{DELIMITER_ID}>{{"name":"re', call("rm"), call("read", file="a")],
    ids=["cut off", "cut off in its name", "unknown", "misfit"],
)
def test_flaw_of_an_ignored_call_costs_nothing(second, stream):
    reply = emulation(parallel=False, stream=stream)
    events = whole(reply, call("read", path="a") + second)
    assert calls_of(events) == [("call_1", "read", {"path": "a"})]
    assert (reply.cut_off, reply.correction, reply.outcomes) == (False, "", {"parsed": 1})


@pytest.mark.parametrize("first", [call("rm"), call("read", file="a")], ids=["unknown", "misfit"])
def test_correction_is_of_the_call_not_run(first):
    reply = emulation(stream=False)
    whole(reply, call("time") + first + call("read", path="b" * 99)[:-60])
    assert ("cut off" in reply.correction, reply.cut_off) == (False, False)
    reply.retry()
    assert [name for _, name, _ in calls_of(whole(reply, call("read", path="a")))] == ["time", "read"]


def test_demand_for_any_call_is_met_by_any():
    reply = emulation(ToolChoice("required"))
    assert calls_of(whole(reply, call("time"))) == [("call_1", "time", {})]


@pytest.mark.parametrize("stream", [True, False])
def test_unknown_tool_is_corrected_by_existing_names(stream):
    reply = emulation(stream=stream)
    whole(reply, "Now: " + call("rm", path="a"))
    assert all(word in reply.correction for word in ("no tool rm", "read, time"))
    reply.retry()
    assert calls_of(whole(reply, call("read", path="a"))) == [("call_1", "read", {"path": "a"})]


def test_unknown_tool_is_corrected_by_demanded_name():
    reply = emulation(ToolChoice("named", "read"))
    whole(reply, call("rm"))
    assert "a call of the tool read is required" in reply.correction


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("second", "sent"), [("Look. {}\n\nSo.", "Look.\n\nSo."), ("{}", "")])
def test_tool_that_stays_unknown_is_not_shown(stream, second, sent):
    reply = emulation(stream=stream)
    first = whole(reply, call("rm", path="a"))
    reply.retry()
    events = first + whole(reply, second.format(call("rm", path="a")))
    assert calls_of(events) == []
    assert text_of(events) == (sent or '{"name": "rm", "arguments": {"path": "a"}}')


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_words_around_a_correction_are_two_paragraphs(stream):
    reply = emulation(stream=stream)
    first = whole(reply, "Let me look." + call("rm", path="a"))
    reply.retry()
    reply.discard()  # the connection was lost, and it is asked again
    events = first + whole(reply, "I cannot remove it.")
    assert text_of(events) == "Let me look.\n\nI cannot remove it."
    reply = emulation(stream=stream)
    first = whole(reply, call("rm", path="a"))
    reply.retry()
    assert text_of(first + whole(reply, "I cannot remove it.")) == "I cannot remove it."


def test_use_of_the_marks_is_known():
    used, guessed = emulation(), emulation()
    whole(used, call("time"))
    whole(guessed, '<tool_call>{"name":"time"}</tool_call>')
    assert (used.marked, guessed.marked, guessed.calls) == (True, False, 1)


def test_misfit_guessed_call_is_repaired():
    reply = emulation()
    assert whole(reply, "<function=read>\n<parameter=file>\na\n</parameter>\n</function>") == []
    assert "path" in reply.correction


def test_bare_arguments_of_forced_tool_are_its_call():
    reply = emulation(ToolChoice("named", "read"))
    events = whole(reply, '```json\n{"path":"a"}\n```')
    assert (text_of(events), calls_of(events)) == ("", [("call_1", "read", {"path": "a"})])


def test_a_call_that_breaks_off_is_not_completed():
    reply = emulation()
    events = whole(reply, call("read", path="a" * 100)[:-60])
    assert (calls_of(events), reply.cut_off) == ([], True)


FLAWS = {
    "a quote": ('{"path":"echo "hi" now"}', '{"path":"echo "hi" now"}', "instead of 'h'"),
    "octal": ('{"path":"ls","n":0755}', '{"path":"ls","n":0755}', "'0755' is no JSON value"),
    "left out": ('{"path":"ls",...}', '{"path":"ls"...}', "instead of '.'"),
    "two strings": ('{"path":"ls" + "x"}', '{"path":"ls"+ "x"}', "instead of '+'"),
    "no string": ('{"path":`ls`}', '{"path":`ls`}', "a value is expected"),
    "not a number": ('{"n":NaN}', '{"n":NaN}', "'NaN' is no JSON value"),
    "not closed": (
        '{"path":"ls}',
        f'{{"path":"ls}}}}</call:{DELIMITER_ID}>',
        "a string in its arguments is not closed",
    ),
}


def malformed(arguments):
    return f'<call:{DELIMITER_ID}>{{"name":"read","arguments":{arguments}}}</call:{DELIMITER_ID}>'


def sent_arguments(events):
    return "".join(event.text for event in events if isinstance(event, ToolCallDelta))


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("problem", FLAWS)
def test_error_in_a_sent_call_is_shown(problem, size):
    arguments, sent, _ = FLAWS[problem]
    text = malformed(arguments)
    reply = emulation()
    events = [event for at in range(0, 45, size) for event in reply.feed(text[at : min(45, at + size)])]
    assert isinstance(events[0], ToolCallStarted)
    events += reply.feed(text[45:]) + reply.end()
    assert sent_arguments(events) == sent
    assert isinstance(events[-1], ToolCallEnded)
    assert (reply.cut_off, reply.calls, reply.correction, reply.outcomes) == (False, 1, "", {"invalid": 1})


@pytest.mark.parametrize("problem", FLAWS)
def test_error_in_an_unsent_call_is_named(problem):
    arguments, sent, reason = FLAWS[problem]
    reply = emulation(stream=False)
    assert whole(reply, "Well. " + malformed(arguments)) == []
    assert reason in reply.correction
    assert "cut off" not in reply.correction
    assert f"You wrote:\n{sent}\n" in reply.correction
    reply.retry()
    assert calls_of(whole(reply, call("read", path="a"))) == [("call_2", "read", {"path": "a"})]
    assert reply.outcomes == {"retried": 1, "repaired": 1}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_call_that_stays_malformed_is_the_clients(stream):
    reply = emulation(stream=stream, choice=ToolChoice("required"))
    whole(reply, "No.")
    reply.retry()
    events = whole(reply, malformed('{"path":"a "b""}'))
    assert (sent_arguments(events), isinstance(events[-1], ToolCallEnded)) == ('{"path":"a "b""}', True)
    assert (reply.cut_off, reply.calls, reply.outcomes) == (False, 1, {"retried": 1, "invalid": 1})


def test_call_behind_a_malformed_one_is_sent():
    reply = emulation()
    text = malformed('{"path":"a "b""}')
    events = reply.feed(text[:50]) + whole(reply, text[50:] + call("time"))
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["read", "time"]
    assert (reply.calls, reply.cut_off, reply.outcomes) == (2, False, {"invalid": 1, "parsed": 1})


def test_error_in_another_call_is_no_concern():
    reply = emulation(ToolChoice("named", "time"))
    events = whole(reply, malformed('{"path":"a "b""}') + call("time"))
    assert (calls_of(events), reply.outcomes) == ([("call_2", "time", {})], {"refused": 1, "parsed": 1})


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{n:1, $b_2 : [1,]}", '{"n":1,"$b_2":[1]}'),
        ('{"a":01,"b":+1,"c":.5,"d":1.,"e":-.5e3,"f":00}', '{"a":1,"b":1,"c":0.5,"d":1.0,"e":-0.5e3,"f":0}'),
        ('{"a":0x1f,"b":-0X2,"c":+-0x1f}', '{"a":31,"b":-2,"c":-31}'),
        ('{"a":+12,"b":+3600.5,"c":+1e5,"d":[+-1]}', '{"a":12,"b":3600.5,"c":1e5,"d":[-1]}'),
        ('{// one\n"a":/* two */1, // three\n}', '{"a":1}'),
        ('{"a":"// no","b":["/*"]}', '{"a":"// no","b":["/*"]}'),
    ],
)
def test_call_of_one_possible_meaning_is_repaired(written, meant, size):
    reply = emulation(tools=(Tool("read"),))
    events = [event for piece in sliced(malformed(written), size) for event in reply.feed(piece)] + reply.end()
    assert (sent_arguments(events), reply.outcomes) == (meant, {"parsed": 1})


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("words", ["", "I will. "])
@pytest.mark.parametrize(
    ("choice", "name"), [(ToolChoice("named", "read"), "time"), (AUTO, "rm"), (ToolChoice("required"), "rm")]
)
def test_call_refused_twice_is_text_once(choice, name, words, stream):
    reply = emulation(choice, stream=stream)
    events = whole(reply, words + call(name, a="ö"))
    reply.retry()
    events += whole(reply, words + call(name, a="ö"))
    assert calls_of(events) == []
    before, _, source = text_of(events).rpartition("{" + f'"name": "{name}"')
    assert before == ("I will.\n\n" if words else "")
    assert json.loads("{" + f'"name": "{name}"{source}') == {"name": name, "arguments": {"a": "ö"}}


def test_plain_text_call_refused_twice_is_text():
    patch = Tool("patch", custom=True)
    reply = emulation(ToolChoice("named", "read"), tools=(READ, patch))
    whole(reply, call("patch", input='a "b"'))
    reply.retry()
    assert json.loads(text_of(whole(reply, call("patch", input='a "b"')))) == {"name": "patch", "arguments": 'a "b"'}
