"""JSON schemas of tools as short text."""

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.request import Tool
from bridge.prompt.tool_signature import MAX_SIGNATURE, examples, shortened, signature, tool_list


def rendered(properties, required=(), **root):
    schema = {"type": "object", "properties": properties, "required": list(required), **root}
    return signature(json.dumps(schema).encode())


def test_parameters_have_name_and_type():
    properties = {"path": {"type": "string"}, "limit": {"type": "integer"}, "all": {"type": "boolean"}}
    assert rendered(properties, ["path"]) == "(path: string, limit?: integer, all?: boolean)"


@pytest.mark.parametrize("schema", [b"", b"{}", b'{"type":"object"}', b'{"type":"object","properties":{}}'])
def test_a_tool_without_parameters(schema):
    assert signature(schema) == "()"


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"enum": ["a", 1, None]}, '"a" | 1 | null'),
        ({"const": "x"}, '"x"'),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "array", "items": {"type": "number"}}, "number[]"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, '("a" | "b")[]'),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}]}, "[string, null]"),
        ({"type": "array", "items": {"properties": {"a": {"enum": [1, 2]}}}}, "{a?: 1 | 2}[]"),
        ({"type": "array"}, "any[]"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
        ({"oneOf": [{"type": "string"}, {"type": "string"}]}, "string"),
        (
            {"allOf": [{"type": "object", "properties": {"a": {}}}, {"anyOf": [{}, {"const": 1}]}]},
            "{a?: any} & (any | 1)",
        ),
        ({"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}, "{b: string}"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "{[key]: string}"),
        ({"type": "object"}, "object"),
        ({"type": "integer", "default": 5}, "integer = 5"),
        ({"type": "string", "description": "Where  it\n lies"}, "string /* Where it lies */"),
        ({}, "any"),
        (True, "any"),
        (False, "never"),
        ("nonsense", "any"),
    ],
)
def test_types_are_written_as_in_typescript(field, text):
    assert rendered({"x": field}, ["x"]) == f"(x: {text})"


def test_references_are_followed():
    defs = {"Edit": {"type": "object", "properties": {"old": {"type": "string"}}, "required": ["old"]}}
    properties = {"edits": {"type": "array", "items": {"$ref": "#/$defs/Edit"}}}
    assert rendered(properties, ["edits"], **{"$defs": defs}) == "(edits: {old: string}[])"


@pytest.mark.parametrize("ref", ["#/$defs/Gone", "#Anchor", "https://example.com/schema", "#/required/0", ""])
def test_references_that_lead_nowhere_are_anything(ref):
    assert rendered({"x": {"$ref": ref}}, ["x"]) == "(x: any)"


def test_a_schema_that_contains_itself_ends():
    tree = {"type": "object", "properties": {side: {"$ref": "#/$defs/T"} for side in ("left", "right")}}
    text = rendered({"tree": {"$ref": "#/$defs/T"}}, **{"$defs": {"T": tree}})
    assert text == "(tree?: T) where T = {left?: T, right?: T}"


def test_two_levels_of_optional_models_are_written_out():
    def optional(ref):
        return {"anyOf": [{"$ref": f"#/$defs/{ref}"}, {"type": "null"}], "default": None}

    defs = {
        "City": {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}},
        "Place": {"type": "object", "properties": {"city": optional("City")}},
        "Person": {"type": "object", "properties": {"home": optional("Place"), "work": optional("Place")}},
    }
    text = rendered({"who": optional("Person")}, **{"$defs": defs})
    place = "{city?: {names?: string[]} | null} | null"
    assert text == f"(who?: {{home?: {place}, work?: {place}}} | null)"


def test_depth_alone_leaves_nothing_out():
    node = {"type": "string", "minLength": 7}
    for _ in range(25):
        node = {"type": "object", "properties": {"a": node}}
    text = rendered({"a": node})
    assert text.count("a?: ") == 26
    assert "string /* at least 7 characters */" in text


def test_long_part_is_written_once():
    steps = {
        f"S{n}": {"type": "object", "properties": {f"{way}_{n}": {"$ref": f"#/$defs/S{n + 1}"} for way in "ab"}}
        for n in range(12)
    }
    text = rendered({"x": {"$ref": "#/$defs/S0"}}, **{"$defs": {**steps, "S12": {"const": "here"}}})
    assert text.startswith("(x?: S0) where S0 = {a_0?: S1, b_0?: S1}, S1 = ")
    assert text.endswith('S12 = "here"')


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"type": "string", "minLength": 1, "maxLength": 5}, "string /* 1 to 5 characters */"),
        ({"type": "string", "format": "date", "description": "When"}, "string /* date; When */"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 9}, "integer /* >= 0, < 9 */"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1.5}, "number /* > 0, <= 1.5 */"),
        ({"type": "integer", "multipleOf": 5, "default": 10}, "integer = 10 /* multiple of 5 */"),
        ({"type": "array", "minItems": 1, "uniqueItems": True}, "any[] /* at least 1 item, no two equal */"),
        ({"type": "array", "minItems": 2, "maxItems": 2}, "any[] /* 2 items */"),
        ({"type": "array", "items": {"type": "string", "maxLength": 1}}, "(string /* at most 1 character */)[]"),
        ({"type": "array", "prefixItems": [{"type": "null"}], "items": False}, "[null] /* no more items */"),
        ({"type": "object", "minProperties": 1}, "object /* at least 1 property */"),
        ({"type": "object", "additionalProperties": False}, "{}"),
        ({"required": ["a"]}, "{a: any}"),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, "{a?: any, [key]: any}"),
        (
            {"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            "{a?: any} & ({a: any} | {b: any})",
        ),
        ({"$ref": "#/$defs/P", "type": "integer", "minimum": 3}, "integer & integer /* >= 3 */"),
        ({"type": "string", "nullable": True}, "string | null"),
        ({"type": "string", "pattern": "^a+$"}, "string"),
    ],
)
def test_enforced_constraints_are_all_written(field, text):
    assert rendered({"x": field}, ["x"], **{"$defs": {"P": {"type": "integer"}}}) == f"(x: {text})"


def test_endless_schemas_are_listed_within_bounds():
    steps = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(40)}
    schema = json.dumps({"$defs": steps, "$ref": "#/$defs/s0"}).encode()
    text = tool_list(tuple(Tool(f"t{n}", schema=schema) for n in range(500)), 100)
    assert text.count("\n") == 499
    assert len(text) < 500 * 2000


def test_a_reference_to_itself_ends():
    assert rendered({"x": {"$ref": "#/$defs/X"}}, **{"$defs": {"X": {"$ref": "#/$defs/X"}}}) == "(x?: any)"


@pytest.mark.parametrize("schema", [b"{", b"[]", b"\xff", b"[" * 5000, b'"text"', b"1" * 5000])
def test_broken_schema_is_written_as_unknown(schema):
    assert signature(schema) == "({...})"


def test_a_huge_schema_is_cut():
    text = rendered({f"parameter_{n}": {"type": "string", "description": "word " * 30} for n in range(5000)})
    assert text.startswith("(parameter_0?: string, parameter_1?")
    assert len(text) <= MAX_SIGNATURE + 10


def test_descriptions_give_way_first():
    text = rendered({f"p{n}": {"type": "string", "description": "word " * 30} for n in range(100)})
    assert "p99?: string" in text


def test_strange_names_are_quoted():
    assert rendered({"a b": {"type": "string"}, 'x": {': {}}) == '("a b"?: string, "x\\": {"?: any)'


def test_a_description_cannot_end_its_comment():
    assert rendered({"x": {"type": "null", "description": "a */ b"}}) == "(x?: null /* a * / b */)"


KEYWORDS = (
    *("type", "properties", "required", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$defs"),
    *("default", "description", "additionalProperties", "prefixItems"),
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["object", "array", "#", "#/items"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYWORDS) | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(deadline=None)
@given(anything)
def test_any_client_schema_can_be_written(schema):
    data = json.dumps(schema).encode()
    assert len(signature(data)) <= MAX_SIGNATURE + 10
    assert len(examples((Tool("t", schema=data),), 1)[0]) < 1100


@given(st.binary(max_size=30))
def test_malformed_schemas_have_a_signature_too(data):
    assert signature(data).startswith("(")


def test_a_tool_is_one_line():
    tool = Tool("Read", "Reads\n\na file.", b'{"properties":{"path":{"type":"string"}},"required":["path"]}')
    assert tool_list((tool, Tool("now")), 100) == "- Read(path: string): Reads a file.\n- now()"


def test_a_custom_tool_takes_plain_text():
    assert tool_list((Tool("patch", "Apply.", custom=True),), 100) == "- patch(input: string /* plain text */): Apply."


def test_long_descriptions_are_cut_between_words():
    assert shortened("one two, three four", 13) == "one two..."
    assert shortened("one", 3) == "one"


def test_examples_are_calls_that_the_schema_allows():
    schema = {
        "properties": {
            "file_path": {"type": "string"},
            "mode": {"enum": ["r", "w"]},
            "lines": {"type": "array", "items": {"type": "integer"}},
            "note": {"type": "string"},
        },
        "required": ["file_path", "mode", "lines"],
    }
    (body,) = examples((Tool("Read", schema=json.dumps(schema).encode()),), 2)
    assert json.loads(body) == {"name": "Read", "arguments": {"file_path": "src/main.py", "mode": "r", "lines": [1]}}


ONE = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}


@pytest.mark.parametrize(
    "root",
    [
        {"$ref": "#/definitions/One", "definitions": {"One": ONE}},
        {"allOf": [{"properties": {"more": {}}}, ONE]},
        {"anyOf": [ONE, {"type": "object", "required": ["else"]}]},
        {"$ref": "#", **ONE},
    ],
)
def test_example_has_what_any_root_requires(root):
    (body,) = examples((Tool("t", schema=json.dumps(root).encode()),), 1)
    assert json.loads(body)["arguments"] == {"count": 1}


def test_tools_with_required_parameters_are_the_better_examples():
    tools = (Tool("now"), Tool("patch", custom=True))
    assert [json.loads(body)["name"] for body in examples(tools, 1)] == ["patch"]


def test_few_tools_share_what_many_have():
    long, short = Tool("long", "word " * 400), Tool("short", "Reads.")
    alone, beside = (tool_list(tools, 600) for tools in ((long,), (long, short)))
    assert alone == f"- long(): {'word ' * 400}".rstrip()
    assert beside == f"{alone}\n- short(): Reads."
    many = tool_list(tuple(Tool(f"t{index}", long.description) for index in range(20)), 600).split("\n")
    assert {len(line.partition(": ")[2]) for line in many} == {597}


def test_descriptions_of_parameters_fit_together_or_are_cut():
    def rule(name, length):
        return {name: {"type": "string", "description": "x" * (length - 4) + " end"}}

    assert "x end */" in rendered(rule("a", 900) | rule("b", 600))
    several = rendered(rule("a", 900) | rule("b", 900))
    assert " end" not in several
    assert several.count("...") == 2


def test_large_tools_are_listed_but_not_cached():
    tools = (Tool("read", "x" * (1 << 21)),)
    held = sys.getrefcount(tools)
    assert tool_list(tools, 100) == "- read(): " + "x" * 797 + "..."
    assert examples(tools, 1) == ('{"name":"read","arguments":{}}',)
    assert sys.getrefcount(tools) == held


def test_large_literal_is_read_only_at_its_start():
    assert rendered({"a": {"const": [*range(1000)]}}, "a").endswith('19, "..."])')
    assert rendered({"a": {"const": {"b": [[["c"]]]}}}, "a") == '(a: {"b": ["..."]})'
    assert rendered({"a": {"const": "x" * 1000}}, "a") == f'(a: "{"x" * 199}...)'


def test_large_part_often_referenced_is_cheap():
    part = {"properties": {"a": {"const": "x" * (1 << 20)}}, "required": [*map(str, range(100_000))]}
    schema = {"properties": {f"p{n}": {"$ref": "#/$defs/part"} for n in range(390)}, "$defs": {"part": part}}
    tool = Tool("t", schema=json.dumps(schema | {"required": [*schema["properties"]]}).encode())
    assert len(signature(tool.schema)) <= MAX_SIGNATURE + 5
    assert len(examples((tool,), 1)[0]) <= 1100
