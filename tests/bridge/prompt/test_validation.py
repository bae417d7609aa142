"""Arguments judged by the schema of their tool."""

import json

import pytest

from bridge.chat.request import Tool
from bridge.prompt.validation import flaw_of

READ = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
    "required": ["path"],
}


def flaw(schema, arguments):
    return flaw_of(Tool("t", schema=json.dumps(schema).encode()), json.dumps(arguments))


def test_valid_arguments_have_no_flaw():
    assert flaw(READ, {"path": "a", "lines": [1]}) is None


def test_unknown_members_are_fine():
    assert flaw(READ, {"path": "a", "more": 1}) is None


def test_unknown_members_are_a_flaw_when_the_schema_forbids_them():
    assert "more" in flaw({**READ, "additionalProperties": False}, {"path": "a", "more": 1})


def test_a_missing_field_is_named():
    assert flaw(READ, {}) == "'path' is a required property"


def test_the_place_of_a_flaw_is_named():
    assert flaw(READ, {"path": "a", "lines": [1, "x"]}) == "lines[1]: 'x' is not of type 'integer'"


def test_a_flaw_is_one_short_line_that_still_says_what_is_wrong():
    told = flaw(READ, {"path": ["x\n" * 5000]})
    assert "\n" not in told
    assert len(told) <= 300
    assert told.endswith("is not of type 'string'")


@pytest.mark.parametrize("arguments", ["[1]", "1", '"x"', "null"])
def test_arguments_that_are_no_object_are_a_flaw_without_a_schema(arguments):
    assert flaw_of(Tool("t"), arguments) == "the arguments are no JSON object"


def test_text_that_is_no_json_is_a_flaw():
    assert flaw_of(Tool("t"), "{") == "the arguments are no valid JSON"


def test_the_text_of_a_custom_tool_is_never_a_flaw():
    assert flaw_of(Tool("t", custom=True), "{") is None


@pytest.mark.parametrize(
    "schema",
    [
        *({"type": 5}, [], 1, {"properties": []}, {"$ref": "#"}, {"$ref": "#/nowhere"}, {"minimum": "x"}),
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_schema_that_cannot_be_used_flaws_nothing(schema):
    assert flaw(schema, {"a": 1}) is None


@pytest.mark.parametrize("schema", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_schema_that_cannot_be_read_flaws_nothing(schema):
    assert flaw_of(Tool("t", schema=schema), '{"a":1}') is None


def test_references_within_the_schema_are_followed():
    schema = {"$defs": {"s": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/s"}}}
    assert flaw(schema, {"a": 1}) == "a: 1 is not of type 'string'"


def test_a_schema_of_endless_references_is_given_up():
    steps = {f"s{each}": {"allOf": [{"$ref": f"#/$defs/s{each + 1}"}] * 2} for each in range(60)}
    assert flaw({"$defs": {**steps, "s60": {}}, "$ref": "#/$defs/s0"}, {}) is None


def test_patterns_are_not_run():
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}, "patternProperties": {"^(b+)+$": False}}
    assert flaw(schema, {"a": "a" * 60 + "!", "b" * 60 + "!": 1}) is None


@pytest.mark.parametrize("rest", ["additionalProperties", "unevaluatedProperties"])
def test_patterns_are_not_run_to_find_what_is_left_over(rest):
    assert flaw({"patternProperties": {"^(b+)+$": {}}, rest: False}, {"b" * 60 + "!": 1}) is None


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "9" * 400])
def test_a_number_that_cannot_be_divided_is_not_judged(number):
    tool = Tool("t", schema=b'{"properties":{"n":{"multipleOf":0.1}}}')
    assert flaw_of(tool, f'{{"n":{number}}}') is None


def test_an_address_in_a_schema_that_is_none_flaws_nothing():
    assert flaw({"$id": "http://[", "properties": {"a": {"$ref": "x"}}}, {"a": 1}) is None
