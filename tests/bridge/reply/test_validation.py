"""Arguments judged by the schema of their tool."""

import json

import pytest

from bridge.chat.request import Tool
from bridge.reply.validation import UNCHECKED, check_arguments, problem_of

READ = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
    "required": ["path"],
}


def problem(schema, arguments):
    return problem_of(Tool("t", schema=json.dumps(schema).encode()), json.dumps(arguments))


def test_valid_arguments_have_no_error():
    assert problem(READ, {"path": "a", "lines": [1]}) is None


def test_unknown_members_are_fine():
    assert problem(READ, {"path": "a", "more": 1}) is None


def test_unknown_members_are_errors_where_schema_forbids():
    assert "more" in problem({**READ, "additionalProperties": False}, {"path": "a", "more": 1})


def test_missing_field_is_named_with_the_parameters():
    sent = problem(READ, {})
    assert sent == "'path' is a required property\nThe parameters of t: (path: string, lines?: integer[])"


@pytest.mark.parametrize(
    "arguments",
    [r'{"env":{"a\ud83d":1}}', r'{"env":{"\udE00":1}}', r'{"b\ud83d":1}', r'{"env":{"a":"\ud83d","b":1}}'],
)
def test_problem_of_half_a_surrogate_can_be_told(arguments):
    schema = b'{"properties":{"env":{"additionalProperties":{"type":"string"}}},"additionalProperties":false}'
    found = problem_of(Tool("t", schema=schema), arguments)
    assert found.encode()
    assert "1 is not of type 'string'" in found or "no such property" in found


def test_the_place_of_an_error_is_named():
    assert problem(READ, {"path": "a", "lines": [1, "x"]}).startswith("lines[1]: 'x' is not of type 'integer'\n")


def test_all_errors_are_named():
    lines = problem(READ, {"lines": [1, "x", 2.5]}).splitlines()
    assert lines[:4] == [
        *("", "- 'path' is a required property", "- lines[1]: 'x' is not of type 'integer'"),
        "- lines[2]: 2.5 is not of type 'integer'",
    ]


def test_a_list_of_errors_is_bounded():
    sent = problem(READ, {"path": "a", "lines": ["x" * 1000] * 50})
    assert sent.count("\n- ") == 11
    assert "more" in sent
    assert len(sent) < 3000


def test_concerned_part_of_large_schema_is_shown():
    many = {f"p{n}": {"type": "string", "description": "w" * 90} for n in range(60)}
    schema = {"properties": {**many, "mode": {"type": "object", "properties": {"a": {"enum": [1, 2]}}}}}
    assert problem(schema, {"mode": {"a": 3}}) == "mode.a: 3 is not one of 1, 2\nAllowed there: 1 | 2"


def test_message_is_short_and_names_the_fault():
    sent = problem(READ, {"path": ["x\n" * 5000]}).splitlines()[0]
    assert sent == "path: an array is not of type 'string'"


def test_abridged_schema_is_not_held_against_a_call():
    schema = {"properties": {f"{'p' * 150}{n}": {"type": "string"} for n in range(300)}}
    tool = Tool("t", schema=json.dumps(schema).encode())
    assert not check_arguments(tool, json.dumps({f"{'p' * 150}0": 1})).checked
    assert problem(schema, {f"{'p' * 150}0": 1}) is None


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ({"items": {"allOf": [{}] * 2000}}, [0] * 2500),
        ({"items": {"anyOf": [{"type": "string"}] * 2000}}, [0] * 2500),
        ({"allOf": [{"uniqueItems": True}] * 100}, [[n] for n in range(5000)]),
        ({"items": {"enum": [[n] for n in range(100)]}}, [[99]] * 5000),
        ({"items": {"required": [str(n) for n in range(500)]}}, [{str(n): 0 for n in range(500)}] * 1000),
        ({"items": {"allOf": [{"format": "duration"}] * 100}}, ["P" + "1Y" * 400] * 1000),
        ({"items": {"$ref": "#/properties/a/items/$defs/0", "$defs": {"0": {"minimum": 0}}}}, [1] * 5000),
    ],
)
def test_work_is_bounded_for_any_schema_and_arguments(part, value):
    tool = Tool("t", schema=json.dumps({"properties": {"a": part}}).encode())
    assert check_arguments(tool, json.dumps({"a": value})) == UNCHECKED


@pytest.mark.parametrize("arguments", ["[1]", "1", '"x"', "null"])
def test_non_object_arguments_are_an_error_without_schema(arguments):
    assert problem_of(Tool("t"), arguments) == "the arguments are no JSON object"


def test_text_that_is_no_json_is_an_error():
    assert problem_of(Tool("t"), "{") == "the arguments are no valid JSON"


def test_custom_tool_text_is_never_an_error():
    assert problem_of(Tool("t", custom=True), "{") is None


@pytest.mark.parametrize(
    "schema",
    [
        *({"type": 5}, [], 1, {"properties": []}, {"$ref": "#"}, {"$ref": "#/nowhere"}, {"minimum": "x"}),
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_schema_that_cannot_be_used_rejects_nothing(schema):
    assert problem(schema, {"a": 1}) is None


@pytest.mark.parametrize("schema", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_schema_that_cannot_be_read_rejects_nothing(schema):
    assert problem_of(Tool("t", schema=schema), '{"a":1}') is None


def test_references_within_the_schema_are_followed():
    schema = {"$defs": {"s": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/s"}}}
    assert problem(schema, {"a": 1}).startswith("a: 1 is not of type 'string'\n")


def test_a_schema_of_endless_references_is_given_up():
    steps = {f"s{each}": {"allOf": [{"$ref": f"#/$defs/s{each + 1}"}] * 2} for each in range(60)}
    assert problem({"$defs": {**steps, "s60": {}}, "$ref": "#/$defs/s0"}, {}) is None


def test_patterns_are_not_run():
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}, "patternProperties": {"^(b+)+$": False}}
    assert problem(schema, {"a": "a" * 60 + "!", "b" * 60 + "!": 1}) is None


@pytest.mark.parametrize("rest", ["additionalProperties", "unevaluatedProperties"])
def test_patterns_are_not_run_for_leftover_members(rest):
    assert problem({"patternProperties": {"^(b+)+$": {}}, rest: False}, {"b" * 60 + "!": 1}) is None


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "9" * 400])
def test_indivisible_number_is_not_checked(number):
    tool = Tool("t", schema=b'{"properties":{"n":{"multipleOf":0.1}}}')
    assert problem_of(tool, f'{{"n":{number}}}') is None


def test_broken_address_in_schema_rejects_nothing():
    assert problem({"$id": "http://[", "properties": {"a": {"$ref": "x"}}}, {"a": 1}) is None
