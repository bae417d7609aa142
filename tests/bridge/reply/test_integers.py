"""Numbers that a tool wants whole."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.request import Tool
from bridge.reply.integers import WholeNumbers, may_want_integers, whole_number
from tests.bridge.reply.streams import cut

INTEGER = {"type": "integer"}
SCHEMA = {
    "$defs": {"deep": {"properties": {"n": INTEGER, "again": {"$ref": "#/$defs/deep"}}}},
    "properties": {
        "n": INTEGER,
        "x": {"type": "number"},
        "any": {},
        "list": {"type": "array", "items": INTEGER},
        "pair": {"prefixItems": [{"type": "number"}, INTEGER]},
        "maybe": {"anyOf": [INTEGER, {"type": "null"}]},
        "either": {"anyOf": [INTEGER, {"type": "number"}]},
        "types": {"type": ["integer", "string"]},
        "all": {"allOf": [INTEGER, {"minimum": 0}]},
        "deep": {"$ref": "#/$defs/deep"},
        "map": {"type": "object", "additionalProperties": INTEGER},
        "text": {"type": "string"},
    },
}
TOOL = Tool("t", schema=json.dumps(SCHEMA).encode())


def sent(arguments, tool=TOOL):
    numbers = WholeNumbers(tool.schema)
    return numbers.feed(arguments) + numbers.end()


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        *(("2.0", "2"), ("-3.00", "-3"), ("1e3", "1000"), ("1.5e1", "15"), ("20e-1", "2"), ("0.0", "0"), ("-0.0", "0")),
        *((each, each) for each in ("2", "2.5", "1e-1", "1e400", "true", "x", "", "12345678901234567890")),
        ("12345678901234567890.0", "12345678901234567890"),
    ],
)
def test_a_number_is_whole_or_stays(written, whole):
    assert whole_number(written) == whole


@pytest.mark.parametrize(
    "place",
    [
        *('{"n":%s}', '{"list":[1,%s]}', '{"pair":[1.5,%s]}', '{"maybe":%s}', '{"types":%s}', '{"all":%s}'),
        *('{"deep":{"again":{"again":{"n":%s}}}}', '{"map":{"whatever":%s}}', '{ "x" : {"n":2.0} , "n" : %s }'),
    ],
)
def test_integer_is_written_as_its_schema_demands(place):
    assert sent(place % "2.0") == place % "2"


@pytest.mark.parametrize(
    "arguments",
    ['{"x":2.0}', '{"any":2.0}', '{"either":2.0}', '{"pair":[2.0]}', '{"new":2.0}', '{"text":"2.0"}', '{"n":2.5}'],
)
def test_other_arguments_stay_unchanged(arguments):
    assert sent(arguments) == arguments


def test_tools_without_integers_are_not_looked_at():
    assert may_want_integers(TOOL)
    assert not may_want_integers(Tool("t", schema=b'{"type":"object"}'))
    assert not may_want_integers(Tool("t", schema=TOOL.schema, custom=True))
    assert not may_want_integers(None)


def test_strings_go_through_as_they_come():
    numbers = WholeNumbers(TOOL.schema)
    assert numbers.feed('{"text":"a long') == '{"text":"a long'
    assert numbers.feed(' text\\"') == ' text\\"'


def test_an_endless_schema_changes_nothing():
    steps = {f"s{n}": {"anyOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(40)}
    tool = Tool("t", schema=json.dumps({"$defs": {**steps, "s40": INTEGER}, "$ref": "#/$defs/s0"}).encode())
    assert sent('{"n":2.0}', tool) == '{"n":2.0}'


ARGUMENTS = (
    '{"n":2.0,"x":1.0,"list":[1e2,3,-4.0],"text":"a \\" 2.0 \\\\","deep":{"n":7.0},"map":{"\\"k":5.0},"maybe":null}'
)


@settings(deadline=None)
@given(st.data())
def test_slices_of_the_arguments_make_no_difference(data):
    numbers = WholeNumbers(TOOL.schema)
    pieces = [numbers.feed(piece) for piece in cut(ARGUMENTS, data)]
    assert "".join([*pieces, numbers.end()]) == sent(ARGUMENTS)
    assert json.loads(sent(ARGUMENTS)) == json.loads(ARGUMENTS)
    assert sent(ARGUMENTS).count(".0") == 2
