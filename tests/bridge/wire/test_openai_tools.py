"""Tools, tool choice, reply formats, reasoning and images of a Chat Completions request."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.chat.errors import InvalidRequest
from bridge.chat.request import Message, Tool, ToolChoice
from bridge.wire.bodies import FieldError
from bridge.wire.openai.format import FORMAT
from bridge.wire.openai.tools import DEEPEST, ToolSelection, read_choice, read_tools

SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "世"}}}
LOOK = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True}}
WAIT = {"type": "function", "function": {"name": "wait", "parameters": None, "strict": None}}
PATCH = {"type": "custom", "custom": {"name": "patch", "description": "Patch.", "format": {"type": "text"}}}
HOSTED = {"type": "web_search", "name": 7, "search_context_size": "low"}


def parse(**fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return FORMAT.parse(json.dumps(body, ensure_ascii=False).encode()).request


def refused(**fields):
    with pytest.raises(InvalidRequest) as caught:
        parse(**fields)
    status, body = FORMAT.error(caught.value, "r")
    return status, json.loads(body)["error"]["param"]


def names(request):
    return [tool.name for tool in request.tools]


def test_tools_are_read_as_they_were_sent():
    look, wait, patch = parse(tools=[LOOK, WAIT, PATCH]).tools
    assert look == Tool("look", "Look.", json.dumps(SCHEMA, ensure_ascii=False).encode())
    assert wait == Tool("wait")
    assert patch == Tool("patch", "Patch.", custom=True)


@pytest.mark.parametrize(("size", "once"), [(1, True), (300_000, False)])
def test_same_tools_are_read_once_unless_large(size, once):
    tools = [{"type": "function", "function": {"name": "look", "description": "x" * size}}]
    first, second = parse(tools=tools).tools, parse(tools=tools).tools
    assert first == second
    assert (first is second) is once


def test_the_flat_spelling_is_understood_too():
    flat = {"type": "function", "name": "look", "description": "Look.", "parameters": SCHEMA}
    assert parse(tools=[flat]).tools == parse(tools=[LOOK]).tools


def test_custom_tool_grammar_is_shown_to_the_model():
    nested = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}}
    flat = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    told = [parse(tools=[{"type": "custom", "custom": {"name": "p", "format": form}}]) for form in (nested, flat)]
    assert told[0].tools == told[1].tools
    assert "start: x" in told[0].tools[0].description


def test_pitfall_5_hosted_tools_are_left_out():
    assert names(parse(tools=[HOSTED, LOOK, {"type": "mcp", "server_url": "u", "tools": 7}])) == ["look"]
    assert parse(tools=[HOSTED]).tooling


def test_null_and_unknown_tool_fields_are_accepted():
    spec = {"name": "look", "description": None, "parameters": None, "strict": None, "cache_control": {"a": [1]}}
    assert parse(tools=[{"type": "function", "function": spec, "defer_loading": True}]).tools == (Tool("look"),)


def tool(**spec):
    return {"type": "function", "function": spec}


@pytest.mark.parametrize(
    ("tools", "path"),
    [
        ([LOOK, "wait"], "tools[1]"),
        ([{}], "tools[0].type"),
        ([{"type": 7}], "tools[0].type"),
        ([{"type": "function"}], "tools[0].function"),
        ([{"type": "function", "function": "look"}], "tools[0].function"),
        ([{"type": "custom"}], "tools[0].custom"),
        ([tool()], "tools[0].function.name"),
        ([tool(name=None)], "tools[0].function.name"),
        ([tool(name=7)], "tools[0].function.name"),
        ([tool(name="")], "tools[0].function.name"),
        ([LOOK, tool(name="a", description=7)], "tools[1].function.description"),
        ([tool(name="a", parameters="{}")], "tools[0].function.parameters"),
        ([tool(name="a", parameters=[])], "tools[0].function.parameters"),
        ([{"type": "custom", "custom": {"description": "a"}}], "tools[0].custom.name"),
        ([LOOK, WAIT, LOOK], "tools[2].function.name"),
        ([PATCH, tool(name="patch")], "tools[1].function.name"),
    ],
)
def test_wrong_tool_is_400_with_its_path(tools, path):
    assert refused(tools=tools) == (400, path)


CHOICES = [
    (None, ToolChoice("auto")),
    ("auto", ToolChoice("auto")),
    ("none", ToolChoice("none")),
    ({"type": "none"}, ToolChoice("none")),
    ("required", ToolChoice("required")),
    ({"type": "function", "function": {"name": "look"}}, ToolChoice("named", "look")),
    ({"type": "function", "name": "look"}, ToolChoice("named", "look")),
    ({"type": "custom", "custom": {"name": "patch"}}, ToolChoice("named", "patch")),
]


@pytest.mark.parametrize(("choice", "told"), CHOICES)
def test_a_choice_in_every_spelling(choice, told):
    request = parse(tools=[LOOK, WAIT, PATCH], tool_choice=choice)
    assert request.tool_choice == told
    assert names(request) == ["look", "wait", "patch"]


ALLOWED = [LOOK, {"type": "custom", "name": "patch"}, HOSTED]


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize("is_nested", [True, False])
def test_tools_that_are_not_allowed_are_not_offered(mode, is_nested):
    allowed = {"mode": mode, "tools": ALLOWED}
    choice = {"type": "allowed_tools", **({"allowed_tools": allowed} if is_nested else allowed)}
    request = parse(tools=[LOOK, WAIT, PATCH], tool_choice=choice)
    assert names(request) == ["look", "patch"]
    assert request.tool_choice == ToolChoice(mode)


def allowing(mode="auto", tools=()):
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


UNKNOWN = {"type": "function", "function": {"name": "fly"}}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [HOSTED], "tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": UNKNOWN}, "tool_choice.function.name"),
        ({"tools": [LOOK], "tool_choice": UNKNOWN}, "tool_choice.function.name"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "name": "fly"}}, "tool_choice.name"),
        ({"tools": [LOOK], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "function": 7}}, "tool_choice.function"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"tools": [LOOK], "tool_choice": {}}, "tool_choice.type"),
        ({"tools": [LOOK, HOSTED], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tools": [LOOK], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": [LOOK]}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": allowing("often")}, "tool_choice.allowed_tools.mode"),
        ({"tools": [LOOK], "tool_choice": allowing(tools=None)}, "tool_choice.allowed_tools.tools"),
        ({"tools": [LOOK], "tool_choice": allowing(tools=[7])}, "tool_choice.allowed_tools.tools[0]"),
        (
            {"tools": [LOOK], "tool_choice": allowing(tools=[UNKNOWN])},
            "tool_choice.allowed_tools.tools[0].function.name",
        ),
        ({"tools": [LOOK], "tool_choice": allowing("required", [HOSTED])}, "tool_choice"),
    ],
)
def test_unmeetable_choice_is_400_with_its_path(fields, path):
    assert refused(**fields) == (400, path)


@pytest.mark.parametrize(("given_flag", "told"), [(None, True), (True, True), (False, False)])
def test_calls_may_be_parallel_by_default(given_flag, told):
    assert parse(tools=[LOOK], parallel_tool_calls=given_flag).parallel_tool_calls is told


def test_deprecated_functions_are_tools_called_one_by_one():
    request = parse(functions=[LOOK["function"], {"name": "wait"}], function_call={"name": "wait"})
    assert request.tools == parse(tools=[LOOK, WAIT]).tools
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice("named", "wait"), False)
    assert not request.returns_call_ids
    assert parse(functions=[{"name": "wait"}], function_call="none").tool_choice == ToolChoice("none")


def test_tools_win_over_functions():
    request = parse(tools=[LOOK], functions=[{"name": "wait"}], function_call={"name": "wait"})
    assert (names(request), request.tool_choice, request.returns_call_ids) == (["look"], ToolChoice(), True)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"functions": ["look"]}, "functions[0]"),
        ({"functions": [{"description": "a"}]}, "functions[0].name"),
        ({"functions": [{"name": "a"}, {"name": "a"}]}, "functions[1].name"),
        ({"function_call": {"name": "look"}}, "function_call.name"),
        ({"functions": [{"name": "a"}], "function_call": {}}, "function_call.name"),
        ({"functions": [{"name": "a"}], "function_call": "required"}, "function_call"),
        ({"functions": [{"name": "a"}], "function_call": 7}, "function_call"),
    ],
)
def test_wrong_function_is_400_with_its_path(fields, path):
    assert refused(**fields) == (400, path)


@pytest.mark.parametrize(
    ("effort", "told"), [(None, None), ("none", False), ("minimal", True), ("high", True), ("future", True)]
)
def test_an_effort_asks_for_the_reasoning(effort, told):
    assert parse(reasoning_effort=effort).thinking is told


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        (None, b""),
        ({"type": "text"}, b""),
        ({"type": "json_object"}, b"{}"),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, b'{"type": "object"}'),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, b"{}"),
    ],
)
def test_the_form_of_the_reply_is_a_schema(wanted, schema):
    assert parse(response_format=wanted).reply_schema == schema


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({}, "response_format.type"),
        ("json_object", "response_format"),
        ({"type": "poem"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": []}}, "response_format.json_schema.schema"),
    ],
)
def test_wrong_reply_form_is_400_with_its_path(wanted, path):
    assert refused(response_format=wanted) == (400, path)


DATA_URL, ADDRESS = "data:image/png;base64,AAAA", "https://example.com/a.png"


def image(url):
    return {"type": "image_url", "image_url": url}


def said(role, *content, **fields):
    return parse(messages=[{"role": role, "content": content, **fields}]).messages[0]


def test_images_keep_their_order_in_the_text():
    parts = [image({"url": DATA_URL, "detail": "original"}), {"type": "text", "text": "and"}, image(ADDRESS)]
    assert said("user", *parts) == Message("user", "[image]\nand\n[image]", images=(DATA_URL, ADDRESS))


def test_a_tools_result_may_hold_images():
    told = said("tool", {"type": "text", "text": "Seen:"}, image({"url": DATA_URL}), tool_call_id="call_1")
    assert told == Message("tool", "Seen:\n[image]", tool_call_id="call_1", images=(DATA_URL,))


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "image_url"}, "image_url"),
        (image(None), "image_url"),
        (image(7), "image_url"),
        (image({}), "image_url.url"),
        (image({"url": 7}), "image_url.url"),
    ],
)
def test_image_without_address_is_400_with_its_path(part, path):
    assert refused(messages=[{"role": "user", "content": [part]}]) == (400, f"messages[0].content[0].{path}")


def test_reasoning_in_the_history_is_dropped():
    told = {"role": "assistant", "content": "Hi", "reasoning_content": ["Hm."], "reasoning": {"a": 1}}
    assert parse(messages=[told]).messages == (Message("assistant", "Hi"),)


GROUP = {
    "type": "namespace",
    "name": "mail",
    "tools": [{"type": "function", "name": "send"}, {"type": "custom", "name": "draft"}],
}


def flat(*items):
    return read_tools([msgspec.Raw(json.dumps(item).encode()) for item in items], nested=False).tools


def test_namespace_tools_have_model_names_of_their_own():
    send, draft, plain = flat(GROUP, {"type": "function", "name": "send"})
    assert (send.name, send.wire_name, send.namespace, send.custom) == ("mail__send", "send", "mail", False)
    assert (draft.name, draft.custom) == ("mail__draft", True)
    assert (plain.name, plain.wire_name, plain.namespace) == ("send", "", "")


def boxed(*tools, depth):
    """Tools in as many namespaces, `n1` the innermost."""
    for level in range(1, depth + 1):
        tools = ({"type": "namespace", "name": f"n{level}", "tools": list(tools)},)
    return tools[0]


@pytest.mark.parametrize("depth", range(1, DEEPEST + 1))
def test_tools_of_an_inner_namespace_are_read(depth):
    (send,) = flat(boxed({"type": "function", "name": "send"}, depth=depth))
    assert (send.name, send.wire_name, send.namespace) == ("n1__send", "send", "n1")


def test_namespaces_too_deep_are_refused():
    with pytest.raises(FieldError) as caught:
        flat(boxed(GROUP, depth=DEEPEST))
    assert caught.value.path == ("tools", 0, *("tools", 0) * DEEPEST)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "custom", "name": "draft"}, "mail__draft"),
        ({"type": "function", "name": "send", "namespace": "mail"}, "mail__send"),
        ({"type": "function", "name": "send"}, "send"),
        ({"type": "function", "function": {"name": "mail__send"}}, "mail__send"),
    ],
)
def test_a_tool_of_a_namespace_may_be_named(choice, told):
    tools = flat(GROUP, {"type": "function", "name": "send"})
    assert read_choice(choice, True, tools) == ToolSelection(tools, ToolChoice("named", told))


def test_a_whole_namespace_may_be_allowed():
    tools = flat(GROUP, {"type": "function", "name": "look"})
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "namespace", "name": "mail"}]}
    assert read_choice(allowed, True, tools).tools == tools[:2]


class Walked(tuple):
    """Tools that count how often somebody goes through them."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize("entry", [{"type": "function", "name": "send"}, {"type": "namespace", "name": "mail"}])
def test_long_list_of_allowed_tools_walks_them_once(entry):
    """A choice may list 1900 of 1024 tools, and nobody else is served meanwhile."""
    times = []
    for length in (1, 1900):
        tools = Walked(flat(GROUP, {"type": "function", "name": "look"}))
        assert read_choice({"type": "allowed_tools", "tools": [entry] * length}, True, tools).tools[0] == tools[0]
        times.append(tools.times)
    assert times[0] == times[1]


@pytest.mark.parametrize("name", ["read", ""])
def test_name_of_several_tools_names_none(name):
    boxes = [{"type": "namespace", "name": each, "tools": [{"type": "function", "name": "read"}]} for each in "ab"]
    tools = flat(*boxes, {"type": "function", "name": "look"})
    with pytest.raises(FieldError) as caught:
        read_choice({"type": "function", "name": name}, True, tools)
    assert caught.value.path == ("tool_choice", "name")


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"type": "function"}, ("tools", 0, "name")),
        ({"type": "custom", "name": None}, ("tools", 0, "name")),
        ({"type": "namespace", "tools": []}, ("tools", 0, "name")),
        ({"type": "namespace", "name": "a", "tools": [{"type": "function"}]}, ("tools", 0, "tools", 0, "name")),
    ],
)
def test_flat_tool_misses_its_name_at_top(item, path):
    with pytest.raises(FieldError) as caught:
        flat(item)
    assert caught.value.path == path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "function", "custom", "tools", "mode", "allowed_tools", "namespace"])
            | st.text(max_size=2),
            inner | st.sampled_from(["function", "custom", "allowed_tools", "look", "namespace"]),
            max_size=5,
        )
    ),
)


def outcome(read, *arguments):
    """What was read, or the field at fault."""
    try:
        return read(*arguments)
    except FieldError as error:
        return error.path[0]


@given(JSON)
def test_any_choice_is_one_or_an_error(choice):
    tools = flat({"type": "function", "name": "look"}, GROUP)
    offer = outcome(read_choice, choice, True, tools)
    assert offer == "tool_choice" or set(offer.tools) <= set(tools)


@given(st.lists(JSON, max_size=3))
def test_tool_list_is_read_or_an_error(items):
    tools = outcome(flat, *items)
    assert tools == "tools" or len({tool.name for tool in tools}) == len(tools)
