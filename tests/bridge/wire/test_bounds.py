"""A small body must not become a large tree, a name no large reply, whatever the format."""

import json
import tracemalloc

import pytest

from bridge.chat.errors import GatewayError
from bridge.wire.anthropic import format as anthropic
from bridge.wire.bounds import (
    LONGEST_ID,
    LONGEST_NAME,
    LONGEST_STOP,
    MOST_MESSAGES,
    MOST_TOKENS,
    MOST_TOOLS,
    SMALL,
    is_crowded,
    shown,
)
from bridge.wire.openai import format as openai_chat
from bridge.wire.responses import format as responses

FORMATS = {"openai_chat": openai_chat.FORMAT, "anthropic": anthropic.FORMAT, "responses": responses.FORMAT}
SAID = {
    "openai_chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "anthropic": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5},
    "responses": {"input": "Hi"},
}
formats = pytest.mark.parametrize("name", FORMATS)


def body(name, **fields):
    return json.dumps({"model": "m", **SAID[name], **fields}).encode()


def raw_body(name, field, value):
    """A body with this text as the field's value: no tree of it is built here either."""
    rest = {key: each for key, each in {"model": "m", **SAID[name]}.items() if key != field}
    return json.dumps(rest).encode().removesuffix(b"}") + b', "%b": %b}' % (field.encode(), value)


def parse(name, **fields):
    return FORMATS[name].parse(body(name, **fields)).request


def refused(name, raw):
    with pytest.raises(GatewayError) as caught:
        FORMATS[name].parse(raw)
    assert caught.value.status == 400
    return caught.value


MANY = {
    "empty objects": b"[" + b"{}," * (1 << 19) + b"{}]",
    "empty lists": b"[" + b"[]," * (1 << 19) + b"[]]",
    "numbers": b"[" + b"0," * (1 << 20) + b"0]",
    "empty strings": b"[" + b'"",' * (1 << 19) + b'""]',
    "tiny messages": b"[" + b'{"role":"user","content":"a"},' * (1 << 16) + b"{}]",
}
TAKES_MANY = [
    *[("openai_chat", field) for field in ("messages", "tools", "functions", "stop", "tool_choice", "future")],
    *[("anthropic", field) for field in ("messages", "tools", "system", "stop_sequences", "tool_choice", "thread")],
    *[("responses", field) for field in ("input", "tools", "include", "tool_choice", "metadata", "conversation")],
]


@pytest.mark.parametrize("many", MANY)
@pytest.mark.parametrize(("name", "field"), TAKES_MANY)
def test_memory_stays_in_proportion_to_the_body(name, field, many):
    raw = raw_body(name, field, MANY[many])
    tracemalloc.start()
    try:
        error = refused(name, raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(raw)
    assert error.param in ((field,), ())


@pytest.mark.parametrize("string", [rb'""', rb'"\\"', rb'"\""', rb'"\\\""', rb'"[{,"', rb'"say \"[1, 2]\", {}"'])
def test_strings_count_once_whatever_they_hold(string):
    """Each with the comma behind it is two of the values that are counted."""
    for count, crowded in ((MOST_TOKENS // 2 + 1, True), (MOST_TOKENS // 2 - 1, False)):
        text = b"[" + b",".join([string] * count) + b"]"
        assert is_crowded(text + b" " * SMALL) is crowded


@formats
def test_a_large_body_of_text_is_taken(name):
    text = '{"a": ["b", {}], "c": 1}, ' * (1 << 17)
    field, value = ("input", text) if name == "responses" else ("messages", [{"role": "user", "content": text}])
    assert parse(name, **{field: value}).messages[0].text == text


@formats
@pytest.mark.parametrize("model", ["m" * (LONGEST_NAME + 1), "a\nb", "\x1b[31m", "\u202eabc"])
def test_a_model_that_cannot_be_shown_is_refused(name, model):
    assert refused(name, body(name, model=model)).param == ("model",)


@formats
def test_model_may_have_any_printable_name(name):
    for model in ("m" * LONGEST_NAME, "通义 灵码", "org/auto:latest[1m]"):
        assert parse(name, model=model).model == model


def tool(name, called):
    if name == "anthropic":
        return {"name": called, "input_schema": {"type": "object"}}
    return {"type": "function", "function": {"name": called}}


@formats
def test_tools_are_counted(name):
    tools = [tool(name, f"t{index}") for index in range(MOST_TOOLS + 1)]
    assert len(parse(name, tools=tools[:-1]).tools) == MOST_TOOLS
    assert refused(name, body(name, tools=tools)).param == ("tools",)


def test_the_tools_of_all_namespaces_are_counted():
    inside = [{"type": "function", "name": f"t{index}"} for index in range(MOST_TOOLS)]
    groups = [{"type": "namespace", "name": each, "tools": inside} for each in ("a", "b")]
    assert parse("responses", tools=groups[:1]).tools
    assert refused("responses", body("responses", tools=groups)).param[0] == "tools"


@formats
@pytest.mark.parametrize("called", ["t" * (LONGEST_NAME + 1), "a\nb"])
def test_the_name_of_a_tool_is_bounded(name, called):
    error = refused(name, body(name, tools=[tool(name, called)]))
    assert (error.param[:2], error.param[-1]) == (("tools", 0), "name")


def called_with(name, id_):
    """A history with one call of this id."""
    if name == "responses":
        return {"input": [{"type": "function_call", "call_id": id_, "name": "t", "arguments": "{}"}]}
    if name == "anthropic":
        call = {"type": "tool_use", "id": id_, "name": "t", "input": {}}
        return {"messages": [{"role": "assistant", "content": [call]}]}
    call = {"id": id_, "type": "function", "function": {"name": "t", "arguments": "{}"}}
    return {"messages": [{"role": "assistant", "tool_calls": [call]}]}


@formats
def test_ids_of_calls_are_bounded(name):
    longest = "x" * LONGEST_ID
    assert parse(name, **called_with(name, longest)).messages[-1].tool_calls[0].id == longest
    assert refused(name, body(name, **called_with(name, longest + "x"))).param[-1] in ("id", "call_id")


@formats
def test_messages_are_counted(name):
    field = "input" if name == "responses" else "messages"
    many = [{"role": "user", "content": "a"}] * (MOST_MESSAGES + 1)
    assert len(parse(name, **{field: many[:-1]}).messages) == MOST_MESSAGES
    assert refused(name, body(name, **{field: many})).param == (field,)


@pytest.mark.parametrize(("name", "field", "most"), [("openai_chat", "stop", 4), ("anthropic", "stop_sequences", 16)])
def test_stop_sequences_are_few_and_short(name, field, most):
    sequence = "s" * LONGEST_STOP
    assert parse(name, **{field: [sequence] * most}).stop == (sequence,) * most
    assert refused(name, body(name, **{field: ["a"] * (most + 1)})).param == (field,)
    assert refused(name, body(name, **{field: ["a", sequence + "s"]})).param == (field, 1)


@formats
def test_a_large_tool_choice_is_refused(name):
    raw = raw_body(name, "tool_choice", b'{"type":"auto","tools":["%b"]}' % (b"x" * (1 << 17)))
    if name == "anthropic":  # its other fields are not looked at
        assert FORMATS[name].parse(raw).request.tool_choice.mode == "auto"
    else:
        assert refused(name, raw).param == ("tool_choice",)


WHOLE = [
    *[("openai_chat", field) for field in ("max_tokens", "max_completion_tokens", "n", "seed", "top_logprobs")],
    *[("anthropic", field) for field in ("max_tokens", "top_k")],
    *[("responses", field) for field in ("max_output_tokens", "max_tool_calls", "top_logprobs")],
]
LIMITS = {"max_tokens", "max_completion_tokens", "max_output_tokens"}


@pytest.mark.parametrize("spelt", [b"1", b"1.0", b"1e0", b"0.1e1"])
@pytest.mark.parametrize(("name", "field"), WHOLE)
def test_whole_number_may_have_a_point(name, field, spelt):
    request = FORMATS[name].parse(raw_body(name, field, spelt)).request
    if field in LIMITS:
        assert (request.max_tokens, type(request.max_tokens)) == (1, int)


@pytest.mark.parametrize("spelt", [b"1.5", b"10.5", b"1e-1", b'"1"', b"true", b"1e300", b"[]", b"1" * 5000])
@pytest.mark.parametrize(("name", "field"), WHOLE)
def test_fractions_are_refused_by_name(name, field, spelt):
    error = refused(name, raw_body(name, field, spelt))
    assert error.param == (field,)
    assert "integer" in error.message.lower() or "number" in error.message.lower()


def test_the_budget_of_thinking_is_a_whole_number():
    assert parse("anthropic", thinking={"type": "enabled", "budget_tokens": 1024.0}).thinking
    error = refused("anthropic", body("anthropic", thinking={"type": "enabled", "budget_tokens": 10.5}))
    assert error.param == ("thinking", "budget_tokens")


def test_words_of_a_client_are_cut_in_ours():
    assert shown("abc") == "abc"
    assert shown("\x1b[31m\n") == "\ufffd[31m\ufffd"
    assert len(shown("x" * 1000)) == 64
