"""A forced function whose arguments came as plain JSON."""

import json

import pytest

from bridge.chat.request import Tool
from bridge.reply.forced_call import forced_arguments

WEATHER = Tool("weather")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"city":"Paris"}', {"city": "Paris"}),
        ('  {"city":"Paris"}\n', {"city": "Paris"}),
        ('```json\n{"city":"Paris"}\n```', {"city": "Paris"}),
        ('{"name":"weather","arguments":{"city":"Paris"}}', {"city": "Paris"}),
        ('{"tool":"weather","input":{"city":"Paris"}}', {"city": "Paris"}),
        ('{"name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"}', {"city": "Paris"}),
        ('{"function":{"name":"weather","arguments":{"city":"Paris"}}}', {"city": "Paris"}),
        ('{"name":"weather","city":"Paris","result":1}', {"city": "Paris"}),
        ("{}", {}),
    ],
)
def test_one_json_object_calls_the_forced_function(text, arguments):
    assert json.loads(forced_arguments(text, WEATHER)) == arguments


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is sunny.",
        'Here: {"city":"Paris"}',
        '[{"city":"Paris"}]',
        '{"city":',
        '{"name":"time","arguments":{}}',
        '{"function":{"name":"time"}}',
        "```json\n{}\n``` and more",
        '{"city":"\ud83d"}',
    ],
)
def test_other_text_is_no_forced_call(text):
    assert forced_arguments(text, WEATHER) is None


def tool(name, required, /, **properties):
    schema = {"type": "object", "properties": {each: {"type": kind} for each, kind in properties.items()}}
    return Tool(name, schema=json.dumps(schema | {"required": list(required)}).encode())


GRADE = tool("grade", ["input", "score"], input="string", score="integer")
USER = tool("create_user", ["name"], name="string", age="integer")
MAP = tool("map", ["input"], input="object", mode="string")
RUN = tool("run", ["tool"], tool="string", arguments="object", result="string")


@pytest.mark.parametrize(
    ("asked", "text", "arguments"),
    [
        (GRADE, {"input": "essay text", "score": 3}, {"input": "essay text", "score": 3}),
        (GRADE, {"name": "grade", "input": {"input": "text", "score": 3}}, {"input": "text", "score": 3}),
        (USER, {"name": "Bob", "age": 3}, {"name": "Bob", "age": 3}),
        (USER, {"name": "Bob", "age": 3, "extra": 1}, {"name": "Bob", "age": 3, "extra": 1}),
        (USER, {"name": "create_user", "arguments": {"name": "Bob"}}, {"name": "Bob"}),
        (USER, {"function": {"name": "create_user", "arguments": {"name": "Bob"}}}, {"name": "Bob"}),
        (MAP, {"input": {"a": 1}, "mode": "x"}, {"input": {"a": 1}, "mode": "x"}),
        (MAP, {"tool": "map", "input": {"a": 1}}, {"input": {"a": 1}}),
        (MAP, {"tool": "map", "input": {"input": {"a": 1}}}, {"input": {"a": 1}}),
        (
            RUN,
            {"tool": "ls", "arguments": {"a": 1}, "result": "r"},
            {"tool": "ls", "arguments": {"a": 1}, "result": "r"},
        ),
        (RUN, {"name": "run", "tool": "ls", "result": "r"}, {"tool": "ls", "result": "r"}),
    ],
)
def test_parameters_named_like_parts_of_calls_stay(asked, text, arguments):
    assert json.loads(forced_arguments(json.dumps(text), asked)) == arguments


def test_call_of_another_is_none_whatever_parameters():
    assert forced_arguments('{"name":"other","arguments":{"name":"Bob"}}', USER) is None


@pytest.mark.parametrize("definition", ["allOf", "$ref"])
def test_parameters_are_found_where_schemas_are_shared(definition):
    part = json.loads(USER.schema)
    schema = {"allOf": [part]} if definition == "allOf" else {"$ref": "#/$defs/user", "$defs": {"user": part}}
    asked = Tool("create_user", schema=json.dumps(schema).encode())
    assert json.loads(forced_arguments('{"name":"Bob","age":3}', asked)) == {"name": "Bob", "age": 3}
