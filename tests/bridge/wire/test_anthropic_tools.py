"""Tools, tool choice, thinking, reply formats and images of an Anthropic request."""

import json

import pytest

from bridge.chat.errors import InvalidRequest
from bridge.chat.request import Message, Tool, ToolChoice
from bridge.chat.tokens import estimate_messages
from bridge.wire.anthropic.format import FORMAT

LOOK = {"name": "look", "description": "Look.", "input_schema": {"type": "object"}}
DEFERRED = {"name": "later", "input_schema": {}, "defer_loading": True, "$schema": "s", "cache_control": None}
TYPED = {"type": "bash_20250124", "name": "bash"}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}


def parse(**fields):
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return FORMAT.parse(json.dumps(body).encode()).request


def refused(**fields):
    with pytest.raises(InvalidRequest) as caught:
        parse(**fields)
    status, body = FORMAT.error(caught.value, "r")
    return status, json.loads(body)["error"]["message"].partition(":")[0]


def content(*blocks, role="user"):
    return parse(messages=[{"role": role, "content": blocks}]).messages


def test_tools_are_read_as_they_were_sent():
    request = parse(tools=[LOOK, {"type": "custom", "name": "bare"}, {**LOOK, "type": None, "name": "typeless"}])
    look = Tool("look", "Look.", b'{"type": "object"}')
    assert request.tools == (look, Tool("bare"), Tool("typeless", "Look.", b'{"type": "object"}'))


def test_pitfall_5_deferred_tools_are_accepted_without_typed():
    request = parse(tools=[TYPED, LOOK, SEARCH, DEFERRED, {"type": "mcp_toolset", "mcp_server_name": "s"}])
    assert [tool.name for tool in request.tools] == ["look", "later"]
    assert request.tooling


def test_toolsets_that_clients_run_are_named():
    kinds = ("computer_toolset_20260801", "browser_toolset_20260801", "mcp_toolset")
    assert parse(tools=[{"type": kind} for kind in kinds]).left_out == kinds[:2]


@pytest.mark.parametrize("tools", [None, []])
def test_absent_tools_are_no_tooling(tools):
    request = parse(tools=tools)
    assert (request.tools, request.tooling) == ((), False)


@pytest.mark.parametrize(
    ("tools", "path"),
    [
        ([LOOK, "wait"], "tools.1"),
        ([{"input_schema": {}}], "tools.0.name"),
        ([{"name": 7, "input_schema": {}}], "tools.0.name"),
        ([{"name": "", "input_schema": {}}], "tools.0.name"),
        ([{"name": "a", "input_schema": "{}"}], "tools.0.input_schema"),
        ([{"name": "a", "description": 7}], "tools.0.description"),
        ([{"type": 7}], "tools.0.type"),
        ([LOOK, DEFERRED, LOOK], "tools.2"),
    ],
)
def test_wrong_tool_is_400_with_its_path(tools, path):
    assert refused(tools=tools) == (400, path)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, ToolChoice("auto")),
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "any", "name": None}, ToolChoice("required")),
        ({"type": "tool", "name": "look"}, ToolChoice("named", "look")),
        ({"type": "none"}, ToolChoice("none")),
    ],
)
def test_a_choice_in_every_spelling(choice, told):
    request = parse(tools=[LOOK, SEARCH], tool_choice=choice)
    assert (request.tool_choice, [tool.name for tool in request.tools]) == (told, ["look"])


@pytest.mark.parametrize(("given_flag", "told"), [(None, True), (False, True), (True, False)])
def test_calls_may_be_parallel_by_default(given_flag, told):
    choice = {"type": "any", "disable_parallel_tool_use": given_flag}
    assert parse(tools=[LOOK], tool_choice=choice).parallel_tool_calls is told


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool", "name": "look"}}, "tool_choice"),
        ({"tools": [], "tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [SEARCH], "tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [LOOK, SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}, "tool_choice.name"),
        ({"tools": [LOOK], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [LOOK], "tool_choice": {"type": "tool", "name": 7}}, "tool_choice.name"),
        ({"tools": [LOOK], "tool_choice": {}}, "tool_choice.type"),
        ({"tools": [LOOK], "tool_choice": {"type": "required"}}, "tool_choice.type"),
        (
            {"tools": [LOOK], "tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}},
            "tool_choice.disable_parallel_tool_use",
        ),
    ],
)
def test_unmeetable_choice_is_400_with_its_path(fields, path):
    assert refused(**fields) == (400, path)


@pytest.mark.parametrize(
    ("thinking", "told"),
    [
        (None, None),
        ({"type": "enabled", "budget_tokens": 31999}, True),
        ({"type": "enabled"}, True),
        ({"type": "adaptive", "display": "omitted"}, True),
        ({"type": "disabled"}, False),
        ({"type": "between_tools"}, False),
        ({"type": "future"}, None),
        ({}, None),
    ],
)
def test_thinking_is_sent_on_request(thinking, told):
    assert parse(thinking=thinking).thinking is told


SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("fields", "schema"),
    [
        ({"output_config": {"effort": "low"}}, b""),
        ({"output_config": {"format": None}, "output_format": None}, b""),
        ({"output_config": {"effort": "low", "format": SCHEMA}}, b'{"type": "object"}'),
        ({"output_format": SCHEMA}, b'{"type": "object"}'),
        ({"output_config": {"format": {"type": "future"}}}, b""),
    ],
)
def test_the_form_of_the_reply_is_a_schema(fields, schema):
    assert parse(**fields).reply_schema == schema


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_config": {"format": {"type": "json_schema", "schema": []}}}, "output_config.format.schema"),
        ({"output_format": {"type": "json_schema", "schema": "{}"}}, "output_format.schema"),
        ({"output_config": 7}, "output_config"),
        ({"thinking": True}, "thinking"),
    ],
)
def test_wrong_reply_form_is_400_with_its_path(fields, path):
    assert refused(**fields) == (400, path)


PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
LINKED = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}, "cache_control": {}}
DATA_URL, ADDRESS = "data:image/png;base64,AAAA", "https://example.com/a.png"


def text(words):
    return {"type": "text", "text": words}


def test_images_keep_their_order_in_the_text():
    assert content(LINKED, text("and"), PNG) == (Message("user", "[image]\nand\n[image]", images=(ADDRESS, DATA_URL)),)


def result(*blocks, **fields):
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": blocks, **fields}


def test_images_belong_to_their_result_or_text():
    assert content(text("a"), LINKED, result(text("b"), PNG), PNG, text("c")) == (
        Message("user", "a\n[image]", images=(ADDRESS,)),
        Message("tool", "b\n[image]", tool_call_id="toolu_1", images=(DATA_URL,)),
        Message("user", "[image]\nc", images=(DATA_URL,)),
    )


UPLOAD = {"type": "container_upload", "file_id": "file_1"}


@pytest.mark.parametrize("blocks", [(UPLOAD, result()), (result(), UPLOAD), (UPLOAD, result(), UPLOAD)])
def test_block_lost_beside_results_is_named(blocks):
    (message,) = content(*blocks)
    lost = ("block of type 'container_upload'",) * blocks.count(UPLOAD)
    assert message == Message("tool", "", tool_call_id="toolu_1", dropped=lost)


def test_images_in_documents_and_search_results_are_kept():
    document = {"type": "document", "source": {"type": "content", "content": [PNG]}}
    found = {"type": "search_result", "source": "s", "title": "T", "content": [LINKED]}
    assert content(document, found)[0].images == (DATA_URL, ADDRESS)


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (None, "source.type"),
        ({}, "source.type"),
        ({"type": "file", "file_id": "file_1"}, "source.file_id"),
        ({"type": "carrier_pigeon"}, "source.type"),
        ({"type": "base64", "media_type": "image/png"}, "source.data"),
        ({"type": "base64", "data": "AAAA"}, "source.media_type"),
        ({"type": "base64", "media_type": "image/png", "data": 7}, "source.data"),
        ({"type": "url"}, "source.url"),
        ("AAAA", "source"),
    ],
)
def test_unobtainable_image_is_400_with_its_path(source, path):
    block = {"type": "image", "source": source}
    assert refused(messages=[{"role": "user", "content": [block]}]) == (400, f"messages.0.content.0.{path}")
    inside = [{"role": "user", "content": [text("a"), result(block)]}]
    assert refused(messages=inside) == (400, f"messages.0.content.1.content.0.{path}")


@pytest.mark.parametrize(("flag", "told"), [(True, True), (False, False), (None, False), ("yes", False)])
def test_failed_result_is_marked_and_its_text_kept(flag, told):
    assert content(result(text("boom"), is_error=flag)) == (
        Message("tool", "boom", tool_call_id="toolu_1", is_error=told),
    )


def count(**fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    request = FORMAT.parse_to_count(json.dumps(body).encode())
    return estimate_messages(request.messages, request.tools)


def test_an_image_counts_the_same_whatever_its_size():
    small, large = ({**PNG, "source": {**PNG["source"], "data": "A" * size}} for size in (4, 400_000))
    counted = [count(messages=[{"role": "user", "content": [image]}]) for image in (small, large)]
    assert counted[0] == counted[1]
    assert 1500 <= counted[0] < 1600


def test_every_tool_counts_with_its_description_and_schema():
    longer = {**LOOK, "description": "Look " * 100}
    assert count() < count(tools=[LOOK]) < count(tools=[LOOK, DEFERRED]) < count(tools=[longer, DEFERRED])
