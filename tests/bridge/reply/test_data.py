"""What looks like reasoning or a card is data inside a call's arguments, and inside JSON that was asked for."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.events import TextDelta, ThinkingDelta
from bridge.chat.request import AUTO, Tool, ToolChoice
from bridge.reply.call_assembly import ToolOffer
from bridge.reply.read_options import ReadOptions
from bridge.reply.reader import Reader
from tests.bridge.reply.streams import cut, sliced

DELIMITER_ID = "n0nce12345"
OPEN, CLOSE = f"<call:{DELIMITER_ID}>", f"</call:{DELIMITER_ID}>"
WRITE = Tool("write", schema=b'{"type":"object","properties":{"content":{"type":"string"}}}')
PATCH = Tool("patch", custom=True)
SCHEMA = b'{"type":"object","properties":{"content":{"type":"string"}},"required":["content"]}'
REASONED = "<think>Hm. " + OPEN[:5] + "</think>\n"


def written(content):
    return json.dumps({"name": "write", "arguments": {"content": content}})


def quoted(content):
    return json.dumps({"content": content}, ensure_ascii=False)


def qwen(content):
    return f"<tool_call>\n<function=write>\n<parameter=content>\n{content}\n</parameter>\n</function>\n</tool_call>"


def glm(content):
    return f"<tool_call>write\n<arg_key>content</arg_key>\n<arg_value>\n{content}\n</arg_value>\n</tool_call>"


CALLS = {
    "marked": lambda content: f"{OPEN}{written(content)}{CLOSE}",
    "marked, spread": lambda content: f'{OPEN}{{\n"name":"write",\n"arguments":{quoted(content)}}}{CLOSE}',
    "in a string": lambda content: (
        f'{OPEN}{{"name":"write","arguments":{json.dumps(quoted(content), ensure_ascii=False)}}}{CLOSE}'
    ),
    "name last": lambda content: f'{OPEN}{{"arguments":{quoted(content)},"name":"write"}}{CLOSE}',
    "Hermes": lambda content: f"<tool_call>\n{written(content)}\n</tool_call>",
    "fenced": lambda content: f"```json\n{written(content)}\n```",
    "Qwen": qwen,
    "GLM": glm,
}
CONTENTS = (
    'reply = "<think>plan</think>answer"\n',
    "<think>\nreason\n</think>\n",
    "Ends.\n</think>",
    "<think>",
    "a\n````think::deep\nx\n````\nb",
    "x\n```toolCall::read::1::init\n```\ny",
    "```python|CODE_EDIT_BLOCK|/srv/me/a.py\nx=1\n```\n",
    "Sure. <thinking>a</thinking> b",
    "}\n<think>\nb</think>}",
)
MARKS = st.lists(
    st.sampled_from(
        [
            *("<think>", "</think>", "<thinking>", "</thinking>", "````think::1\n", "\n````\n", "Sure. ", '"', "\n"),
            *("```toolCall::a::b::INIT\n```\n", "```py|CODE_EDIT_BLOCK|/a/b\n", "`", " ", "}", "]", "y" * 300),
        ]
    ),
    min_size=1,
    max_size=10,
).map(lambda parts: "x" + "".join(parts) + "x")  # fmt: skip


def reader(*, stream, thinking=False, choice=AUTO, tools=(WRITE,), **options):
    ids = itertools.count(1)
    offer = ToolOffer(tools, choice, True, DELIMITER_ID, stream)
    return Reader(
        ReadOptions(offer=offer, tools=tools, stream=stream, thinking=thinking, **options),
        lambda: f"call_{next(ids)}",
        DELIMITER_ID,
    )


def read(reply, pieces):
    """The text and the reasoning that were sent."""
    events = [event for piece in pieces for event in reply.feed([TextDelta(piece)])] + reply.end()
    kinds = (TextDelta, ThinkingDelta)
    return tuple("".join(event.text for event in events if isinstance(event, kind)) for kind in kinds)


def given_content(reply):
    assert [name for _, name in reply.calls] == ["write"]
    return json.loads(reply.arguments)["content"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("thinking", [True, False], ids=["reasoning", "silent"])
@pytest.mark.parametrize("notation", CALLS)
@pytest.mark.parametrize("content", CONTENTS)
def test_arguments_keep_what_looks_like_reasoning(content, notation, thinking, stream):
    text = REASONED + "Writing.\n" + CALLS[notation](content)
    for size in (1, 3, 10_000):
        reply = reader(stream=stream, thinking=thinking)
        said, thought = read(reply, sliced(text, size))
        assert given_content(reply) == content
        assert (said, thought) == ("Writing.", "Hm. <call" if thinking else "")
        assert reply.reasoning == "Hm. <call"


@settings(max_examples=60, deadline=None)
@given(MARKS, st.sampled_from(sorted(CALLS)), st.booleans(), st.booleans(), st.data())
def test_arguments_do_not_depend_on_stream_slicing(content, notation, thinking, stream, data):
    text = "Writing.\n" + CALLS[notation](content)
    reply = reader(stream=stream, thinking=thinking)
    assert read(reply, cut(text, data)) == ("Writing.", "")
    assert given_content(reply) == content


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("notation", ["marked", "Hermes", "Qwen", "GLM"])
def test_reasoning_between_calls_is_none_of_them(notation, stream):
    call = CALLS[notation]
    text = f"{call('a')}\n<think>One more.</think>\n{call('<think>b</think>')}"
    for size in (1, 3, 10_000):
        reply = reader(stream=stream, thinking=True)
        assert read(reply, sliced(text, size)) == ("", "One more.")
        assert (len(reply.calls), reply.arguments) == (2, '{"content":"a"}{"content":"<think>b</think>"}')


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("wrap", ['{{"input":{}}}', "{}"])
def test_plain_text_tool_gets_it_all(wrap, stream):
    patch = '*** Begin\n-"<think>x</think>"\n</think>\n*** End'
    text = f'{OPEN}{{"name":"patch","arguments":{wrap.format(json.dumps(patch))}}}{CLOSE}'
    for size in (1, 3, 10_000):
        reply = reader(stream=stream, thinking=True, tools=(PATCH,))
        assert read(reply, sliced(text, size)) == ("", "")
        assert reply.arguments == patch


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("content", CONTENTS)
def test_bare_arguments_of_the_forced_tool_keep_it(content, stream):
    text = f"<think>Hm.</think>```json\n{quoted(content)}\n```"
    for size in (1, 3, 10_000):
        emulated = reader(stream=stream, choice=ToolChoice("named", "write"))
        agent = Reader(ReadOptions(forced=WRITE, tools=(WRITE,), lingma_calls="text", stream=stream), str)
        for reply in (emulated, agent):
            assert read(reply, sliced(text, size)) == ("", "")
            assert (given_content(reply), reply.reasoning) == (content, "Hm.")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("thinking", [True, False], ids=["reasoning", "silent"])
@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "Here:\n{}\n<think>Good.</think>Bye"])
@pytest.mark.parametrize("content", CONTENTS)
def test_json_keeps_what_looks_like_reasoning(content, around, thinking, stream):
    text = "<think>Hm.</think>" + around.replace("{}", quoted(content))
    for size in (1, 3, 10_000):
        reply = Reader(ReadOptions(schema=SCHEMA, stream=stream, thinking=thinking), str)
        said, thought = read(reply, sliced(text, size))
        assert (json.loads(said), reply.correction) == ({"content": content}, "")
        assert thought in ("", "Hm.", "Hm.Good.")


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_json_text_keeps_what_looks_like_reasoning(size):
    reply = Reader(ReadOptions(schema=b'{"type":"string"}', stream=False), str)
    assert read(reply, sliced('<think>Hm.</think>"a.\\n<think>b</think>"', size))[0] == '"a.\\n<think>b</think>"'


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_unwanted_call_is_sent_with_its_tags(size):
    reply = Reader(ReadOptions(calls_forbidden=True), str, DELIMITER_ID)
    assert read(reply, sliced(CALLS["marked"]("<think>b</think>c"), size))[0] == written("<think>b</think>c")


def test_many_tags_in_a_call_are_no_burden():
    reply = reader(stream=True)
    text = "<tool_call>\n<function=write>\n<parameter=content>\n" + "}\n<think>a</think>\n" * 12_000
    read(reply, [text])
    assert reply.calls == []
