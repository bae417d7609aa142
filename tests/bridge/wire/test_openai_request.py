import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.errors import InvalidRequest
from bridge.chat.request import ChatRequest, ClientIds, Message, ToolCall
from bridge.wire.format import ParsedRequest
from bridge.wire.openai.encoder import ChatReply
from bridge.wire.openai.format import FORMAT

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def body(*messages, **fields):
    return json.dumps({"model": "qwen-max", "messages": messages or [USER], **fields}).encode()


def parse(*messages, **fields):
    return FORMAT.parse(body(*messages, **fields)).request


def refused(raw):
    with pytest.raises(InvalidRequest) as caught:
        FORMAT.parse(raw)
    return caught.value


def texts(*messages):
    return [(message.role, message.text) for message in parse(*messages).messages]


def test_the_smallest_request():
    assert parse() == ChatRequest("qwen-max", (Message("user", "Hi"),))


def test_every_role_has_its_place():
    roles = ["developer", "system", "user", "assistant", "user", "user"]
    assert texts(*({"role": role, "content": role} for role in roles)) == [
        ("system", "developer"),
        ("system", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("user", "user"),
        ("user", "user"),
    ]


def test_parts_become_lines_of_text():
    content = [
        {"type": "text", "text": "Look:", "prompt_cache_breakpoint": {}, "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "hologram", "text": {"nested": True}, "beam": [1, None]},
        {"type": "text", "text": "What is it?"},
    ]
    assert texts({"role": "user", "content": content}) == [("user", "Look:\n[image]\n[audio]\n[file]\nWhat is it?")]


def test_one_text_part_equals_a_string():
    assert texts({"role": "user", "content": [{"type": "text", "text": "Hi"}]}) == texts(USER)


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}, {"content": []}])
@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
def test_pitfall_20_content_may_be_null_or_empty(role, content):
    assert [text for _, text in texts({"role": role, **content})] == [""]


def test_pitfall_20_calls_allow_null_content_empty_arguments():
    request = parse(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]})
    assert request.messages[1] == Message("assistant", "", (ToolCall("call_1", "look", ""),))


def test_tool_calls_keep_ids_and_any_arguments():
    custom = {"id": "fc_" + "x" * 80, "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    broken = {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"broken'}}
    calls = parse({"role": "assistant", "content": "", "tool_calls": [custom, broken]}).messages[0].tool_calls
    assert calls == (ToolCall(custom["id"], "sh", "ls"), ToolCall("toolu_1", "look", '{"broken'))


def test_tool_results_keep_their_ids():
    result = {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "42"}]}
    assert parse(result).messages == (Message("tool", "42", tool_call_id="call_1"),)


def test_the_old_function_messages_are_understood():
    call = {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}}
    request = parse(USER, call, {"role": "function", "name": "look", "content": None})
    assert request.messages[1].tool_calls == (ToolCall("look", "look", "{}"),)
    assert request.messages[2] == Message("tool", "", tool_call_id="look")
    assert request.tooling


def test_refusals_in_the_history_are_text():
    parts = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert texts(parts, {"role": "assistant", "refusal": "Never."}) == [("assistant", "No."), ("assistant", "Never.")]


DOCUMENTED = {
    "stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False},
    "max_completion_tokens": 7, "max_tokens": 9, "tools": [], "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "stop": ["END", ""], "temperature": 1, "top_p": 0.5, "frequency_penalty": -2, "presence_penalty": 2.0, "n": 1,
    "seed": -9223372036854775808, "logprobs": False, "top_logprobs": 0, "logit_bias": {"50256": -100},
    "reasoning_effort": "future", "verbosity": "low", "modalities": ["text"], "audio": None,
    "prediction": {"type": "content", "content": "x"}, "web_search_options": {}, "moderation": {},
    "metadata": {"a": "b"}, "store": True, "user": "u", "safety_identifier": "s", "service_tier": "flex",
    "prompt_cache_key": "k", "prompt_cache_options": {}, "prompt_cache_retention": "24h",
    "tool_choice": "auto", "function_call": "auto", "functions": [], "some_future_field": {"deep": [{"er": None}]},
}  # fmt: skip


def test_every_documented_field_and_any_other_is_accepted():
    assert parse(**DOCUMENTED) == ChatRequest(
        "qwen-max",
        (Message("user", "Hi"),),
        stream=True,
        max_tokens=7,
        stop=("END",),
        thinking=True,
        ids=ClientIds(('user "u"', 'safety_identifier "s"', 'prompt_cache_key "k"')),
    )
    assert FORMAT.parse(body(**DOCUMENTED)).reply == ChatReply(include_usage=True)


def test_null_means_absent_everywhere():
    assert parse(**dict.fromkeys(DOCUMENTED)) == parse()
    nulls = dict.fromkeys(["name", "refusal", "tool_call_id", "tool_calls", "function_call", "audio"])
    assert parse(USER | nulls) == parse()


def test_pitfall_29_half_an_emoji_is_accepted():
    raw = rb'{"model":"m","messages":[{"role":"user","content":"a \ud83d b \\ud83d \ud83d\ude00"}],"x":"\udc00"}'
    assert FORMAT.parse(raw).request.messages[0].text == "a \ufffd b \\ud83d 😀"


@pytest.mark.parametrize(("stop", "told"), [("a", ("a",)), ("", ()), ([], ()), (["a", "b"], ("a", "b"))])
def test_stop_is_a_string_or_a_list(stop, told):
    assert parse(stop=stop).stop == told


@pytest.mark.parametrize(
    ("fields", "tooling"),
    [
        ({}, False),
        ({"tools": [TOOL]}, True),
        ({"tools": [TOOL], "tool_choice": "none"}, True),
        ({"functions": [{"name": "look"}]}, True),
        ({"tool_choice": "auto"}, False),
        ({"tool_choice": "none"}, False),
        ({"tools": [{"type": "web_search"}]}, True),
    ],
)
def test_tooling_is_noticed_in_the_fields(fields, tooling):
    assert parse(**fields).tooling is tooling


def test_tooling_is_noticed_in_the_history():
    assert parse({"role": "assistant", "tool_calls": [CALL]}).tooling
    assert parse({"role": "tool", "tool_call_id": "a", "content": ""}).tooling
    assert not parse({"role": "assistant", "content": "a", "tool_calls": []}).tooling


MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"


@pytest.mark.parametrize(
    ("messages", "path", "code"),
    [
        ([{"content": "a"}], "messages[0].role", MISSING),
        ([{"role": None}], "messages[0].role", MISSING),
        ([USER, {"role": 7}], "messages[1].role", TYPE),
        ([{"role": "wizard"}], "messages[0].role", VALUE),
        ([{"role": "tool", "content": "a"}], "messages[0].tool_call_id", MISSING),
        ([{"role": "tool", "tool_call_id": 1}], "messages[0].tool_call_id", TYPE),
        ([{"role": "function"}], "messages[0].name", MISSING),
        (["Hi"], "messages[0]", TYPE),
        ([None], "messages[0]", TYPE),
        ([{"role": "user", "content": 7}], "messages[0].content", TYPE),
        ([{"role": "user", "content": {}}], "messages[0].content", TYPE),
        ([{"role": "user", "content": [7]}], "messages[0].content[0]", TYPE),
        ([{"role": "user", "content": [{"text": "a"}]}], "messages[0].content[0].type", MISSING),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text", MISSING),
        ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages[0].content[0].text", TYPE),
        ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls", TYPE),
        ([{"role": "assistant", "tool_calls": [{"id": "a"}]}], "messages[0].tool_calls[0].function", MISSING),
        ([{"role": "assistant", "tool_calls": [CALL | {"id": None}]}], "messages[0].tool_calls[0].id", MISSING),
    ],
)
def test_pitfall_27_wrong_message_is_400_with_path(messages, path, code):
    error = refused(body(*messages))
    told = json.loads(FORMAT.error(error, "r")[1])["error"]
    assert (error.status, told["param"], told["code"], told["type"]) == (400, path, code, "invalid_request_error")
    assert f"'{path}'" in told["message"]


@pytest.mark.parametrize(
    ("fields", "path", "code"),
    [
        ({"model": None}, "model", MISSING),
        ({"model": 7}, "model", TYPE),
        ({"messages": None}, "messages", MISSING),
        ({"messages": "Hi"}, "messages", TYPE),
        ({"messages": []}, "messages", VALUE),
        ({"n": 2}, "n", VALUE),
        ({"n": 0}, "n", VALUE),
        ({"n": "1"}, "n", TYPE),
        ({"modalities": ["text", "audio"]}, "modalities", VALUE),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "unsupported_parameter"),
        ({"stop": ["a"] * 5}, "stop", VALUE),
        ({"stop": ["a", 1]}, "stop[1]", TYPE),
        ({"stop": 1}, "stop", TYPE),
        ({"max_tokens": 0}, "max_tokens", VALUE),
        ({"max_tokens": -1, "max_completion_tokens": 5}, "max_tokens", VALUE),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens", TYPE),
        ({"max_tokens": True}, "max_tokens", TYPE),
        ({"temperature": "hot"}, "temperature", TYPE),
        ({"top_p": []}, "top_p", TYPE),
        ({"seed": "a"}, "seed", TYPE),
        ({"stream": "yes"}, "stream", TYPE),
        ({"stream_options": True}, "stream_options", TYPE),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", TYPE),
        ({"tools": {}}, "tools", TYPE),
        ({"tools": ["look"]}, "tools[0]", TYPE),
        ({"tool_choice": 7}, "tool_choice", TYPE),
        ({"tool_choice": "sometimes"}, "tool_choice", VALUE),
    ],
)
def test_pitfall_27_wrong_field_is_400_with_path(fields, path, code):
    error = refused(json.dumps({"model": "m", "messages": [USER]} | fields).encode())
    told = json.loads(FORMAT.error(error, "r")[1])["error"]
    assert (error.status, told["param"], told["code"]) == (400, path, code)
    assert f"'{path}'" in told["message"]


def test_refusal_names_what_was_expected():
    assert refused(body({"role": 7})).message == (
        "Invalid type for 'messages[0].role': expected a string, but got an integer instead."
    )
    assert refused(b'{"model":"m"}').message == "Missing required parameter: 'messages'."
    assert refused(body(stop=1)).message == (
        "Invalid type for 'stop': expected a string or an array, but got an integer instead."
    )


NO_REQUESTS = [
    b"", b"{", b"nonsense", b"[]", b'"text"', b"null", b"7", b"\xff\xfe", b'{"model":"\xff"}', b"[" * 50_000,
    b'{"x":' * 50_000, b'{"model":"m","messages":[],"x":NaN}', b'{"model":"m","max_tokens":1' + b"0" * 5000 + b"}",
    b'{"model":"m","temperature":1e999}', b'{"model":"m"} {}',
]  # fmt: skip


@pytest.mark.parametrize("raw", NO_REQUESTS, ids=lambda raw: str(raw[:24]))
def test_body_that_is_no_object_is_refused(raw):
    assert refused(raw).status == 400


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMES = st.sampled_from([
    "model", "messages", "role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "id",
    "stop", "stream", "tools", "tool_choice", "n", "tool_call_id", "function_call", "max_tokens", "refusal",
    "modalities", "functions", "stream_options", "include_usage",
])  # fmt: skip
WORDS = st.sampled_from(["user", "assistant", "tool", "system", "text", "refusal", "auto", "function"])
JSON = st.recursive(
    SCALARS | WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6)
)
REQUESTS = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(st.dictionaries(NAMES, JSON, max_size=5) | JSON, max_size=3)},
)


def outcome(parse, raw):
    try:
        return parse(raw)
    except InvalidRequest as error:
        return FORMAT.error(error, "r")[0]


@settings(deadline=None)
@given(JSON | REQUESTS | st.binary())
def test_body_is_a_request_or_an_invalid_one(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    parsed = outcome(FORMAT.parse, raw)
    assert isinstance(parsed, ParsedRequest) or parsed == 400
