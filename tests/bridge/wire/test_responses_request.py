"""Bodies of the Responses API: every kind of item, tool and field."""

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.errors import GatewayError, InvalidRequest, NotFound
from bridge.chat.request import ChatRequest, Message, Tool, ToolCall, ToolChoice
from bridge.wire.format import ReplyHead
from bridge.wire.responses.format import FORMAT
from bridge.wire.responses.references import MOST_REFERRED
from bridge.wire.responses.stored import StoredRecord
from tests.bridge.wire.turns import STARTED, payloads

HI = Message("user", "Hi")
PNG = "data:image/png;base64,AAAA"
SCHEMA = {"type": "object"}
PREVIOUS = "resp_" + "0a" * 16


def body(*items, **fields):
    return json.dumps({"model": "m", "input": list(items) or "Hi", **fields}).encode()


def parse(*items, **fields):
    return FORMAT.parse(body(*items, **fields)).request


def refused(*items, **fields):
    with pytest.raises(GatewayError) as caught:
        parse(*items, **fields)
    return caught.value


def user(*parts):
    return {"role": "user", "content": list(parts)}


def call(id_, name="look", arguments="{}", **more):
    return {"type": "function_call", "id": "fc_x", "call_id": id_, "name": name, "arguments": arguments, **more}


def output(id_, told="done", kind="function_call_output"):
    return {"type": kind, "call_id": id_, "output": told}


def assistant(text, **more):
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], **more}


REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": None}


def test_the_smallest_request():
    request = parse()
    assert request == ChatRequest("m", (HI,), can_show_executed_calls=False)
    assert parse(user({"type": "input_text", "text": "Hi"})).messages == request.messages


def test_instructions_come_first():
    items = [
        {"role": "developer", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "system", "content": "d"},
    ]
    told = [(message.role, message.text) for message in parse(*items, instructions="a").messages]
    assert told == [("system", "a"), ("system", "b"), ("user", "c"), ("system", "d")]


def test_parts_become_text_and_images():
    parts = [
        {"type": "input_text", "text": "See:", "prompt_cache_breakpoint": {}},
        {"type": "input_image", "image_url": PNG, "detail": "low"},
        {"type": "input_image", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_file", "file_id": "f"},
        {"type": "input_audio", "input_audio": {}},
        {"type": "hologram", "text": {"nested": 1}, "beam": [1]},
    ]
    (message,) = parse(user(*parts)).messages
    assert message.text == "See:\n[image]\n[image]\n[file]\n[audio]"
    assert message.images == (PNG, "https://example.com/a.png")


def test_adjacent_assistant_items_are_one_message():
    items = [user(), REASONING, assistant("I look.", phase="commentary"), call("call_1"),
             {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "*** x"},
             output("call_1"), output("call_2", kind="custom_tool_call_output"), assistant("Done.")]  # fmt: skip
    calls = (ToolCall("call_1", "look", "{}"), ToolCall("call_2", "patch", "*** x"))
    assert parse(*items).messages == (
        Message("user", ""),
        Message("assistant", "I look.", calls),
        Message("tool", "done", tool_call_id="call_1"),
        Message("tool", "done", tool_call_id="call_2"),
        Message("assistant", "Done."),
    )


def test_reasoning_alone_adds_nothing():
    assert parse(user({"type": "input_text", "text": "Hi"}), REASONING).messages == (HI,)


def test_assistant_may_refuse_or_be_empty():
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    empty = {"role": "assistant", "content": []}
    assert parse(user(), refusal).messages[1] == Message("assistant", "No.")
    assert parse(user(), empty).messages[1] == Message("assistant", "")


@pytest.mark.parametrize(
    ("told", "text", "images"),
    [
        ("", "", ()),
        ("42", "42", ()),
        (None, "", ()),
        ([], "", ()),
        ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}], "a\nb", ()),
        ([{"type": "input_image", "image_url": PNG}], "[image]", (PNG,)),
    ],
)
def test_results_may_hold_anything(told, text, images):
    message = parse(call("c" * 64), output("c" * 64, told)).messages[1]
    assert message == Message("tool", text, tool_call_id="c" * 64, images=images)


@pytest.mark.parametrize(("given", "text"), [("", ""), ("no json", "no json"), (None, ""), ({"a": 1}, '{"a":1}')])
def test_pitfall_20_arguments_may_be_anything(given, text):
    assert parse(call("c", arguments=given)).messages[0].tool_calls[0].arguments == text


HOSTED = [
    ({"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["ls"]}},
     {"type": "local_shell_call_output", "id": "c", "output": "a.txt"}, "local_shell", "a.txt"),
    ({"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
     {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "a", "stderr": "b"}]}, "shell", "a\nb"),
    ({"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file", "path": "a"}},
     {"type": "apply_patch_call_output", "call_id": "c", "output": "gone"}, "apply_patch", "gone"),
]  # fmt: skip


@pytest.mark.parametrize(("called", "came", "name", "text"), HOSTED)
def test_hosted_tool_history_keeps_what_has_text(called, came, name, text):
    said, result = parse(called, came).messages
    arguments = called.get("action") or called.get("operation")
    assert (said.tool_calls[0].id, said.tool_calls[0].name) == ("c", name)
    assert json.loads(said.tool_calls[0].arguments) == arguments
    assert result == Message("tool", text, tool_call_id="c")


def test_unknown_item_is_named_if_alone():
    error = refused({"type": "reasoning"}, {"type": "banana"})
    assert (error.param, error.code) == (("input", 1, "type"), "invalid_value")
    assert "'banana'" in error.message
    assert "says anything" in refused({"type": "reasoning"}).message


def test_items_without_text_are_left_out():
    items = [{"type": "web_search_call", "id": "ws", "action": {"query": "q"}}, {"type": "compaction", "id": "x"},
             {"type": "additional_tools", "tools": []}, {"type": "future_item", "beam": {}},
             {"type": "mcp_call", "id": "m", "name": "n", "output": "found"}]  # fmt: skip
    lost = ("compaction of another service", "item of type 'future_item'")
    assert parse(user(), *items).messages[1:] == (Message("assistant", "found", dropped=lost),)


def test_tools_are_flat_or_nested_without_hosted_ones():
    tools = [
        {"type": "function", "name": "a", "description": "A.", "parameters": SCHEMA, "strict": None},
        {"type": "function", "function": {"name": "b", "parameters": None}},
        {"type": "custom", "name": "c", "format": {"type": "text"}},
        {"type": "web_search", "filters": None},
        {"type": "tool_search"},
    ]
    request = parse(tools=tools)
    schema = json.dumps(SCHEMA).encode()
    assert request.tools == (Tool("a", "A.", schema), Tool("b"), Tool("c", custom=True))
    assert request.tooling


NAMESPACE = {
    "type": "namespace", "name": "files", "description": "x",
    "tools": [{"type": "function", "name": "read", "parameters": SCHEMA}, {"type": "custom", "name": "patch"}],
}  # fmt: skip


def test_namespace_tools_keep_their_names_in_history():
    request = parse(user(), call("c", "read", namespace="files"), output("c"), tools=[NAMESPACE])
    assert [(tool.name, tool.wire_name, tool.namespace) for tool in request.tools] == [
        ("files__read", "read", "files"),
        ("files__patch", "patch", "files"),
    ]
    assert request.messages[1].tool_calls[0].name == "files__read"


LOOK = {"type": "function", "name": "look"}
CHOICES = [
    (None, ToolChoice()),
    ("auto", ToolChoice()),
    ("none", ToolChoice("none")),
    ("required", ToolChoice("required")),
    (LOOK, ToolChoice("named", "look")),
    ({"type": "function", "function": {"name": "look"}}, ToolChoice("named", "look")),
    ({"type": "custom", "name": "patch"}, ToolChoice("named", "patch")),
    ({"type": "function", "name": "read", "namespace": "files"}, ToolChoice("named", "files__read")),
    ({"type": "allowed_tools", "mode": "required", "tools": [LOOK]}, ToolChoice("required")),
    ({"type": "web_search"}, ToolChoice()),
    ({"type": "mcp", "server_label": "x"}, ToolChoice()),
]


@pytest.mark.parametrize(("choice", "told"), CHOICES)
def test_every_form_of_a_tool_choice(choice, told):
    tools = [LOOK, {"type": "custom", "name": "patch"}, NAMESPACE, {"type": "web_search"}]
    assert parse(tools=tools, tool_choice=choice).tool_choice == told


def test_allowed_tools_are_the_only_ones_offered():
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [LOOK]}
    assert [tool.name for tool in parse(tools=[LOOK, NAMESPACE], tool_choice=choice).tools] == ["look"]


@pytest.mark.parametrize(("given", "told"), [(None, True), (True, True), (False, False)])
def test_calls_in_parallel(given, told):
    assert parse(tools=[LOOK], parallel_tool_calls=given).parallel_tool_calls is told


@pytest.mark.parametrize(
    ("reasoning", "told"),
    [
        (None, None), ({}, None), ({"effort": None, "summary": None}, None), ({"effort": "none"}, False),
        ({"effort": "minimal"}, True), ({"effort": "future"}, True), ({"summary": "auto"}, True),
        ({"effort": "none", "summary": "detailed"}, False), ({"generate_summary": "concise"}, True),
    ],
)  # fmt: skip
def test_reasoning_field_decides_whether_thinking_is_shown(reasoning, told):
    assert parse(reasoning=reasoning).thinking is told


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        (None, b""), ({}, b""), ({"format": None, "verbosity": "low"}, b""), ({"format": {"type": "text"}}, b""),
        ({"format": {"type": "json_object"}}, b"{}"),
        ({"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}, b'{"type": "object"}'),
    ],
)  # fmt: skip
def test_the_format_of_the_reply(text, schema):
    assert parse(text=text).reply_schema == schema


def test_limit_and_stream_are_read():
    request = parse(max_output_tokens=5, stream=True, stream_options={"include_obfuscation": False})
    assert (request.max_tokens, request.stream) == (5, True)


NULLS = [
    "instructions", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "max_tool_calls",
    "max_output_tokens", "temperature", "top_p", "top_logprobs", "text", "reasoning", "include", "store",
    "previous_response_id", "conversation", "prompt", "background", "truncation", "metadata", "user",
    "safety_identifier", "service_tier", "prompt_cache_key",
]  # fmt: skip


def echoed(**fields):
    """The response object of a reply to this request."""
    return echoed_by(FORMAT.parse(body(**fields)))


def echoed_by(parsed):
    head = ReplyHead("9b" * 16, parsed.request.model, 1)
    return payloads(parsed.reply.encoder(head).feed([STARTED]))[0]["response"]


def test_null_means_absent():
    request = parse(**dict.fromkeys(NULLS))
    assert request == ChatRequest("m", (HI,), can_show_executed_calls=False)
    assert echoed(**dict.fromkeys(NULLS)) == echoed()


def test_unknown_fields_are_ignored_and_background_answered():
    more = {"client_metadata": {"x": 1}, "context_management": [], "future": {"a": [1]}, "background": True}
    assert parse(**more).messages == (HI,)
    assert echoed(**more)["background"] is False


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, ("model",), "missing_required_parameter"),
        ({"input": None}, ("input",), "missing_required_parameter"),
        ({"input": []}, ("input",), "invalid_value"),
        ({"input": 7}, ("input",), "invalid_type"),
        ({"input": [7]}, ("input", 0), "invalid_type"),
        ({"input": [{}]}, ("input", 0, "type"), "missing_required_parameter"),
        ({"input": [{"type": "message"}]}, ("input", 0, "role"), "missing_required_parameter"),
        ({"input": [{"role": "robot"}]}, ("input", 0, "role"), "invalid_value"),
        ({"input": [{"role": 5}]}, ("input", 0, "role"), "invalid_type"),
        ({"input": [user("Hi")]}, ("input", 0, "content", 0), "invalid_type"),
        ({"input": [user({})]}, ("input", 0, "content", 0, "type"), "missing_required_parameter"),
        ({"input": [user({"type": "input_text"})]}, ("input", 0, "content", 0, "text"), "missing_required_parameter"),
        ({"input": [user({"type": "input_image"})]}, ("input", 0, "content", 0, "image_url"),
         "missing_required_parameter"),
        ({"input": [user({"type": "input_image", "file_id": "f"})]}, ("input", 0, "content", 0, "file_id"),
         "unsupported_parameter"),
        ({"input": [call(None)]}, ("input", 0, "call_id"), "missing_required_parameter"),
        ({"input": [call("c", None)]}, ("input", 0, "name"), "missing_required_parameter"),
        ({"input": [output(None)]}, ("input", 0, "call_id"), "missing_required_parameter"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, ("input", 0, "output"),
         "missing_required_parameter"),
        ({"tools": [{"type": "function"}]}, ("tools", 0, "name"), "missing_required_parameter"),
        ({"tool_choice": "required"}, ("tool_choice",), "invalid_value"),
        ({"temperature": "hot"}, ("temperature",), "invalid_type"),
        ({"max_output_tokens": 0}, ("max_output_tokens",), "invalid_value"),
        ({"text": {"format": {"type": "xml"}}}, ("text", "format", "type"), "invalid_value"),
        ({"reasoning": "hard"}, ("reasoning",), "invalid_type"),
        ({"prompt": {"id": "p"}}, ("prompt",), "unsupported_parameter"),
        ({"conversation": "conv_1"}, ("conversation",), "conversation_not_found"),
        ({"conversation": {"id": "conv_1"}}, ("conversation",), "conversation_not_found"),
        ({"conversation": "conv_1", "previous_response_id": PREVIOUS}, ("conversation",),
         "mutually_exclusive_parameters"),
        ({"conversation": 5}, ("conversation",), "invalid_type"),
        ({"metadata": "nonsense"}, ("metadata",), "invalid_type"),
        ({"metadata": {"a": 1}}, ("metadata", "a"), "invalid_type"),
        ({"metadata": {"a": "b" * 513}}, ("metadata", "a"), "invalid_value"),
        ({"metadata": {"a" * 65: "b"}}, ("metadata",), "invalid_value"),
        ({"metadata": {str(each): "b" for each in range(17)}}, ("metadata",), "invalid_value"),
        ({"truncation": "nonsense"}, ("truncation",), "invalid_value"),
        ({"truncation": {"type": "auto"}}, ("truncation",), "invalid_type"),
        ({"service_tier": 5}, ("service_tier",), "invalid_type"),
        ({"user": ["u"]}, ("user",), "invalid_type"),
        ({"safety_identifier": "x" * 513}, ("safety_identifier",), "invalid_value"),
        ({"prompt_cache_key": {}}, ("prompt_cache_key",), "invalid_type"),
        ({"reasoning": {"effort": 5}}, ("reasoning", "effort"), "invalid_type"),
        ({"background": "yes"}, ("background",), "invalid_type"),
        ({"max_tool_calls": 0}, ("max_tool_calls",), "invalid_value"),
        ({"presence_penalty": "high"}, ("presence_penalty",), "invalid_type"),
        ({"previous_response_id": PREVIOUS}, ("previous_response_id",), "previous_response_not_found"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ("input", 0, "id"), "invalid_value"),
        ({"input": [{"id": "msg_1"}]}, ("input", 0, "id"), "invalid_value"),
    ],
)  # fmt: skip
def test_invalid_request_is_refused_by_its_field(fields, param, code):
    error = refused(**fields)
    assert (error.param, error.code) == (param, code)
    assert error.status in (400, 404)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'"x"', b'{"model":"m","input":"\xff"}', b"[" * 100_000])
def test_body_that_is_no_object_is_refused(raw):
    with pytest.raises(InvalidRequest):
        FORMAT.parse(raw)


def kept(items=(), said=()):
    response = {"id": PREVIOUS, "output": list(said)}
    raws = [msgspec.Raw(json.dumps(item).encode()) for item in items]
    return StoredRecord(msgspec.Raw(json.dumps(response).encode()), raws)


def test_a_conversation_is_continued():
    draft = FORMAT.draft(body(output("call_1"), previous_response_id=PREVIOUS, instructions="New."))
    assert draft.needs == (PREVIOUS,)
    parsed = draft.complete({PREVIOUS: kept([user({"type": "input_text", "text": "Hi"})], [call("call_1")])})
    assert [message.role for message in parsed.request.messages] == ["system", "user", "assistant", "tool"]
    assert len(parsed.reply.items) == 3
    assert echoed_by(parsed)["previous_response_id"] == PREVIOUS


def test_a_response_may_be_continued_without_anything_new():
    draft = FORMAT.draft(json.dumps({"model": "m", "previous_response_id": PREVIOUS}).encode())
    request = draft.complete({PREVIOUS: kept([user()], [assistant("Hm.")])}).request
    assert request.messages[-1] == Message("assistant", "Hm.")


def test_reference_is_resolved_where_its_id_points():
    wanted = assistant("I said so.", id=f"msg_{'0a' * 16}1")
    draft = FORMAT.draft(body({"type": "item_reference", "id": wanted["id"]}))
    assert draft.needs == (PREVIOUS,)
    parsed = draft.complete({PREVIOUS: kept(said=[wanted])})
    assert parsed.request.messages == (Message("assistant", "I said so."),)
    assert json.loads(bytes(parsed.reply.items[0])) == wanted
    with pytest.raises(InvalidRequest, match=wanted["id"]):
        draft.complete({PREVIOUS: kept()})


def test_text_that_references_stand_for_is_bounded():
    wanted = assistant("x" * (1 << 20), id=f"msg_{'0a' * 16}1")
    reference = {"type": "item_reference", "id": wanted["id"]}
    assert FORMAT.draft(body(*[reference] * 8)).complete({PREVIOUS: kept(said=[wanted])})
    draft = FORMAT.draft(body(*[reference] * 40))
    with pytest.raises(InvalidRequest, match="32 MiB") as caught:
        draft.complete({PREVIOUS: kept(said=[wanted])})
    assert caught.value.param[0] == "input"


def test_a_request_refers_to_a_few_responses_only():
    references = [{"type": "item_reference", "id": f"msg_{index:032x}1"} for index in range(MOST_REFERRED + 1)]
    assert len(FORMAT.draft(body(*references[:-1])).needs) == MOST_REFERRED
    with pytest.raises(InvalidRequest):
        FORMAT.draft(body(*references))


def test_every_reference_costs_one_look():
    items = [assistant("a", id=f"msg_{'0a' * 16}{index:x}") for index in range(5000)]
    references = [{"type": "item_reference", "id": item["id"]} for item in items]
    reply = FORMAT.draft(body(*references)).complete({PREVIOUS: kept(said=items)}).reply
    assert len(reply.items) == 5000


def test_items_are_unprepared_for_an_unstored_reply():
    assert FORMAT.parse(body(store=False)).reply.items is None
    assert FORMAT.parse(body(store=True)).reply.items is not None


def test_a_count_needs_no_model():
    assert FORMAT.draft(b'{"input":"Hi"}', counting=True).complete({}).request.messages == (HI,)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["message", "user", "c"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "role", "content", "output", "call_id", "text", "id", "name", "arguments"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_inputs_of_any_shape_raise_no_bug(given_input):
    with suppress(InvalidRequest, NotFound):
        assert parse(input=given_input).messages


@pytest.mark.parametrize("place", ["metadata", "reasoning", "text", "tools", "input"])
def test_deep_nesting_is_refused_or_passed_on(place):
    deep = "[" * 50_000 + "]" * 50_000
    value = deep if place != "input" else f'[{{"type":"future","output":{deep}}}]'
    raw = f'{{"model":"m","input":"Hi","{place}":{value}}}'.encode()
    with suppress(InvalidRequest):
        assert FORMAT.parse(raw).request.model == "m"
