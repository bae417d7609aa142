import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.errors import InvalidRequest
from bridge.chat.request import ChatRequest, Message, ToolCall
from bridge.chat.tokens import estimate_messages
from bridge.wire.anthropic.format import FORMAT
from bridge.wire.format import ParsedRequest

USER = {"role": "user", "content": "Hi"}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
IMAGE = {"type": "image", "source": PNG}
TOOL = {"name": "look", "input_schema": {"type": "object"}}


def body(*messages, **fields):
    fields = {"model": "qwen-max", "max_tokens": 100, "messages": messages or [USER], **fields}
    return json.dumps(fields).encode()


def parse(*messages, **fields):
    return FORMAT.parse(body(*messages, **fields)).request


def count(raw):
    request = FORMAT.parse_to_count(raw)
    return estimate_messages(request.messages, request.tools)


def refused(raw, parse=FORMAT.parse):
    with pytest.raises(InvalidRequest) as caught:
        parse(raw)
    return caught.value


def user_text(*content):
    return parse({"role": "user", "content": content}).messages[0].text


def assistant(*content):
    return parse({"role": "assistant", "content": content}).messages[0]


def test_the_smallest_request():
    notation = {"call_id_prefix": "toolu_", "tool_notation": "anthropic"}
    assert parse() == ChatRequest("qwen-max", (Message("user", "Hi"),), max_tokens=100, **notation)


def test_system_is_a_string_or_blocks():
    blocks = [
        {"type": "text", "text": "Be", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "brief."},
    ]
    assert parse(system="Be\nbrief.").messages[0] == Message("system", "Be\nbrief.")
    assert parse(system=blocks) == parse(system="Be\nbrief.")
    assert parse(system="") == parse(system=[]) == parse(system=None) == parse()


def test_billing_header_of_claude_code_is_left_out():
    header = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330; cch=1f2e3;"}
    assert parse(system=[header, {"type": "text", "text": "Be brief."}]) == parse(system="Be brief.")
    assert parse(system=[header]) == parse()


@pytest.mark.parametrize("content", ["The date is …", [{"type": "text", "text": "The date is …"}]])
def test_pitfall_4_system_messages_keep_their_place(content):
    request = parse(USER, {"role": "system", "content": content}, system="Be brief.")
    assert [(m.role, m.text) for m in request.messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("system", "The date is …"),
    ]


def test_roles_need_not_alternate_or_end_with_user():
    turns = ["assistant", "user", "user", "assistant", "assistant"]
    request = parse(*({"role": role, "content": "a"} for role in turns))
    assert [message.role for message in request.messages] == turns


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}, {"content": []}])
@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_pitfall_20_content_may_be_null_or_empty(role, content):
    assert parse({"role": role, **content}).messages == (Message(role, ""),)


def test_empty_text_blocks_are_accepted():
    assert user_text({"type": "text", "text": ""}, {"type": "text", "text": "a"}) == "a"


SOURCES = [
    ({"type": "base64", "media_type": "application/pdf", "data": "AAAA"}, "[document]"),
    ({"type": "url", "url": "https://example.com/a.pdf"}, "[document]"),
    ({"type": "file", "file_id": "file_1"}, "[document]"),
    ({"type": "text", "media_type": "text/plain", "data": "Plain."}, "Plain."),
    ({"type": "content", "content": "Plain."}, "Plain."),
    ({"type": "content", "content": [{"type": "text", "text": "A"}, IMAGE]}, "A\n[image]"),
]


@pytest.mark.parametrize(("source", "text"), SOURCES)
def test_documents_keep_their_text(source, text):
    assert user_text({"type": "document", "source": source, "citations": {"enabled": True}}) == text
    assert user_text({"type": "document", "source": source, "title": "T", "context": "C"}) == f"T\nC\n{text}"


def test_images_and_search_results():
    found = {"type": "search_result", "source": "s", "title": "T", "content": [{"type": "text", "text": "Found."}]}
    assert user_text({"type": "text", "text": "See"}, IMAGE, found) == "See\n[image]\nT\nFound."


def test_unknown_blocks_give_their_text():
    assert user_text({"type": "hologram", "text": "a"}, {"type": "x", "text": 7, "content": [1, None]}) == "a"
    ran = {"type": "web_search_tool_result", "content": [{"type": "web_search_result", "text": "b"}, {"url": "u"}]}
    summary = {"type": "compaction", "content": "So far."}
    asked = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
    assert assistant(asked, ran, summary, {"type": "text", "text": "c"}).text == "b\nSo far.\nc"


def test_output_of_code_that_vendor_ran_stays():
    ran = {"type": "bash_code_execution_result", "stdout": "42\n", "stderr": "slow", "return_code": 0, "content": []}
    block = {"type": "bash_code_execution_tool_result", "tool_use_id": "s", "content": ran}
    message = assistant(block, {"type": "text", "text": "It is 42."})
    assert (message.text, message.dropped) == ("42\n\nslow\nIt is 42.", ())


@pytest.mark.parametrize(
    ("source", "text", "dropped"),
    [
        ({"type": "text", "media_type": "text/plain", "data": "Two cats."}, "Two cats.\nTwo.", 0),
        ({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}, "Two.", 1),
    ],
)
def test_page_that_vendor_fetched_stays(source, text, dropped):
    page = {"type": "document", "source": source, "title": None, "citations": {"enabled": True}}
    fetched = {"type": "web_fetch_result", "url": "https://cats.invalid", "content": page, "retrieved_at": None}
    block = {"type": "web_fetch_tool_result", "tool_use_id": "s", "content": fetched}
    message = assistant(block, {"type": "text", "text": "Two."})
    assert (message.text, len(message.dropped)) == (text, dropped)


@pytest.mark.parametrize("depth", [7, 100, 142, 143, 200, 480])
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ('{"type":"tool_result","tool_use_id":"t","content":[', "]}"),
        ('{"type":"document","source":{"type":"content","content":[', "]}}"),
        ('{"type":"hologram","content":[', "]}"),
    ],
)
def test_blocks_are_read_or_refused_at_any_depth(depth, begin, end):
    block = begin * depth + '{"type":"text","text":"x"}' + end * depth
    asked = '{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[' + block + "]}]}"
    with suppress(InvalidRequest):  # any other error is ours
        assert len(FORMAT.parse(asked.encode()).request.messages) == 1


@pytest.mark.parametrize("signature", [{"signature": ""}, {"signature": "c2ln"}, {}])
def test_pitfall_24_thinking_in_history_is_dropped(signature):
    thinking = {"type": "thinking", "thinking": "Hm.", **signature}
    redacted = {"type": "redacted_thinking", "data": "AAAA"}
    assert assistant(thinking, redacted, {"type": "text", "text": "a"}) == Message("assistant", "a")


@pytest.mark.parametrize(
    ("given_input", "told"), [({"input": {"a": 1}}, '{"a": 1}'), ({"input": {}}, "{}"), ({}, "{}")]
)
def test_tool_calls_keep_ids_and_input(given_input, told):
    call = {"type": "tool_use", "id": "call_" + "x" * 80, "name": "look", "caller": {}, **given_input}
    assert assistant({"type": "text", "text": "I look."}, call) == Message(
        "assistant", "I look.", (ToolCall(call["id"], "look", told),)
    )


RESULTS = [
    ({}, ""),
    ({"content": None}, ""),
    ({"content": ""}, ""),
    ({"content": []}, ""),
    ({"content": "42"}, "42"),
    ({"content": "42", "is_error": False}, "42"),
    ({"content": [{"type": "text", "text": "a"}, {"type": "tool_reference"}]}, "a"),
    ({"content": [{"type": "tool_reference", "tool_name": "look"}]}, "[tool look]"),
]


@pytest.mark.parametrize(("given_content", "text"), RESULTS)
def test_pitfall_20_tool_results_may_hold_anything(given_content, text):
    result = {"type": "tool_result", "tool_use_id": "toolu_1", **given_content}
    assert parse({"role": "user", "content": [result]}).messages == (Message("tool", text, tool_call_id="toolu_1"),)


def test_results_and_texts_of_message_keep_their_order():
    first, second = ({"type": "tool_result", "tool_use_id": name, "content": name} for name in "ab")
    text = {"type": "text", "text": "Go on."}
    request = parse({"role": "user", "content": [text, first, second, text, text]})
    assert [(m.role, m.text, m.tool_call_id) for m in request.messages] == [
        ("user", "Go on.", ""),
        ("tool", "a", "a"),
        ("tool", "b", "b"),
        ("user", "Go on.\nGo on.", ""),
    ]


DOCUMENTED = {
    "system": "", "stream": False, "tools": [], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "future", "display": "updates"}, "output_config": {"effort": "max", "format": {}},
    "output_format": {}, "stop_sequences": [], "temperature": 1, "top_p": 0.9, "top_k": 40,
    "metadata": {"user_id": None}, "service_tier": "auto", "speed": "fast", "inference_geo": "eu",
    "cache_control": {"type": "ephemeral", "ttl": "1h"}, "diagnostics": {}, "context_management": {"edits": []},
    "fallbacks": [], "billing_policy": {}, "compaction": {}, "container": None, "thread": None, "mcp_servers": [],
    "some_future_field": {"deep": [{"er": None}]},
}  # fmt: skip


def test_pitfall_5_documented_and_other_fields_are_accepted():
    assert parse(**DOCUMENTED) == msgspec.structs.replace(parse(), parallel_tool_calls=False)


def test_null_means_absent_everywhere():
    assert parse(**dict.fromkeys(DOCUMENTED)) == parse()


def test_stream_and_stops_are_honoured():
    request = parse(stream=True, stop_sequences=["END", "", "\n\nHuman:"])
    assert (request.stream, request.stop) == (True, ("END", "\n\nHuman:"))


TYPED_TOOL = {"type": "web_search_20250305", "name": "web_search", "defer_loading": True}


@pytest.mark.parametrize(
    ("fields", "tooling"),
    [
        ({"tools": [TOOL]}, True),
        ({"tools": [TYPED_TOOL]}, True),
        ({"tools": []}, False),
        ({"tool_choice": {"type": "auto"}}, False),
        ({"tool_choice": {"type": "none"}}, False),
    ],
)
def test_tooling_is_noticed(fields, tooling):
    assert parse(**fields).tooling is tooling


def test_tooling_is_noticed_in_the_history():
    assert parse({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}).tooling
    assert parse({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b"}]}).tooling


@pytest.mark.parametrize("thread", [{"id": "thread_1"}, {}, "thread_1"])
def test_pitfall_3_thread_is_refused_with_fallback_code(thread):
    status, raw = FORMAT.error(refused(body(thread=thread)), "9b1c")
    told = json.loads(raw)["error"]
    assert (status, told["type"]) == (400, "invalid_request_error")
    assert told["details"]["error_code"] == "thread_unsupported_request"
    assert told["message"].startswith("thread: ")


@pytest.mark.parametrize("empty", ["[ ]", "[\n  ]", "{ }", "{\r\n\t}"])
@pytest.mark.parametrize("name", ["container", "mcp_servers"])
def test_empty_state_may_hold_white_space(name, empty):
    assert FORMAT.parse(body()[:-1] + f',"{name}": {empty}}}'.encode()).request == parse()


@pytest.mark.parametrize("fields", [{"container": "c_1"}, {"container": {"id": "c"}}, {"mcp_servers": [{"url": "u"}]}])
def test_pitfall_3_other_server_state_is_refused(fields):
    assert refused(body(**fields)).param == tuple(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": None}, "model: Field required"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"max_tokens": True}, "max_tokens: Input should be an integer, not a boolean"),
        ({"max_tokens": "9"}, "max_tokens: Input should be an integer, not a string"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "messages: At least one message is required"),
        ({"messages": {}}, "messages: Input should be an array, not an object"),
        ({"system": 7}, "system: Input should be a string or an array, not an integer"),
        ({"system": [{"type": "text"}]}, "system.0.text: Field required"),
        ({"stop_sequences": "a"}, "stop_sequences: Input should be an array, not a string"),
        ({"stop_sequences": [7]}, "stop_sequences.0: Input should be a string, not an integer"),
        ({"temperature": "hot"}, "temperature: Input should be a number, not a string"),
        ({"tools": ["look"]}, "tools.0: Input should be an object, not a string"),
        ({"tool_choice": "auto"}, "tool_choice: Input should be an object, not a string"),
        ({"stream": 1}, "stream: Input should be a boolean, not an integer"),
    ],
)
def test_pitfall_27_wrong_field_is_400_with_path(fields, message):
    error = refused(body(**fields))
    assert (error.status, error.message) == (400, message)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"content": "a"}, "role: Field required"),
        ({"role": "wizard"}, "role: Input should be 'user', 'assistant' or 'system'"),
        ({"role": "user", "content": 7}, "content: Input should be a string or an array, not an integer"),
        ({"role": "user", "content": [{}]}, "content.0.type: Field required"),
        ({"role": "user", "content": [{"type": "text"}]}, "content.0.text: Field required"),
        ({"role": "user", "content": [{"type": "tool_result"}]}, "content.0.tool_use_id: Field required"),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": 7}]}]},
            "content.0.content.0.type: Input should be a string, not an integer",
        ),
        (
            {"role": "user", "content": [{"type": "document", "source": {"type": "content", "content": 7}}]},
            "content.0.source.content: Input should be a string or an array, not an integer",
        ),
        ({"role": "assistant", "content": [{"type": "tool_use", "name": "a"}]}, "content.0.id: Field required"),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": "{}"}]},
            "content.0.input: Input should be an object, not a string",
        ),
    ],
)
def test_pitfall_27_wrong_message_is_400_with_path(message, complaint):
    assert refused(body(USER, message)).message == f"messages.1.{complaint}"


def test_count_grows_with_text_system_and_tools():
    plain = count(body(max_tokens=None))
    longer = count(body({"role": "user", "content": "Hi " * 100}))
    assert 0 < plain < longer
    assert count(body(system="Be brief.")) > plain
    assert count(body(tools=[TOOL])) > plain


@pytest.mark.parametrize("fields", [{"messages": None}, {"model": None}, {"thread": {}}, {"tools": 7}, {"tools": [7]}])
def test_count_refuses_what_is_no_request(fields):
    assert refused(body(**fields), count).status == 400


NO_REQUESTS = [
    b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe", b'{"model":"\xff"}', b"[" * 50_000, b'{"x":' * 50_000,
    b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"x","content":' + b"[" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("raw", NO_REQUESTS, ids=lambda raw: str(raw[:24]))
def test_body_that_is_no_object_is_refused(raw):
    assert refused(raw).status == 400


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
NAMES = st.sampled_from([
    "role", "content", "type", "text", "source", "data", "title", "tool_use_id", "id", "name", "input", "is_error",
    "system", "tools", "tool_choice",
])  # fmt: skip
WORDS = st.sampled_from(
    ["user", "assistant", "system", "text", "document", "tool_use", "tool_result", "search_result", "content", "x"]
)
JSON = st.recursive(
    SCALARS | WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6)
)
BLOCKS = st.lists(st.fixed_dictionaries({"type": WORDS}, optional=dict.fromkeys(["text", "content", "source"], JSON)))
MESSAGES = st.lists(st.fixed_dictionaries({"role": WORDS, "content": BLOCKS | JSON}), max_size=3)
REQUESTS = st.fixed_dictionaries(
    {"model": st.just("m"), "max_tokens": st.just(1), "messages": MESSAGES}, optional={"system": JSON, "tools": JSON}
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
    assert outcome(count, raw) > 0
