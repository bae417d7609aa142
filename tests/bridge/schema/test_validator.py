"""Values judged by a schema: as a known library judges them, but within a bound of steps."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bridge.schema.validator import MOST_VIOLATIONS, TooMuch, violations

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, 2.5]) | st.text("ab", max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
COUNTS, NUMBERS = st.integers(0, 3), st.integers(-2, 3)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "object", "array"])


def keywords(inner):
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            **{f"{least}{what}": COUNTS for least in ("min", "max") for what in ("Items", "Length", "Properties")},
            **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), NUMBERS),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "uniqueItems": st.booleans(),
        },
    )


SCHEMAS = st.recursive(
    st.booleans() | st.fixed_dictionaries({"const": VALUES}) | st.fixed_dictionaries({"type": TYPES}),
    lambda inner: (
        keywords(inner)
        | st.just({"$ref": "#/$defs/x"})
        | st.builds(lambda v: {"enum": v}, st.lists(VALUES, min_size=1))
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(SCHEMAS, SCHEMAS, VALUES)
def test_value_is_checked_by_the_standard(schema, other, value):
    if "$ref" in json.dumps(other):
        other = {}
    root = {"$defs": {"x": other}, "allOf": [schema]}
    assert (violations(root, value) == []) == Draft202012Validator(root).is_valid(value)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", "2026-11-28", "28.11.2026"),
        ("time", "08:30:00Z", "half past eight"),
        ("date-time", "2026-11-28T08:30:00+01:00", "2026-11-28"),
        ("duration", "P1DT2H", "two days"),
        ("email", "a@example.com", "a"),
        ("uri", "https://example.com/a", "example.com"),
        ("hostname", "example.com", "-a b"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("ipv4", "127.0.0.1", "1.2.3"),
        ("ipv6", "::1", "127.0.0.1"),
        ("color", "red", None),
    ],
)
def test_formats_are_checked(name, good, bad):
    schema = {"type": "string", "format": name}
    assert violations(schema, good) == []
    assert bad is None or f"is not of format '{name}'" in str(violations(schema, bad)[0])


def test_intended_branch_reports_the_fault():
    person = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["name"]}
    schema = {"properties": {"who": {"anyOf": [person, {"type": "null"}]}}}
    assert [*map(str, violations(schema, {"who": {"age": "x"}}))] == [
        *("who: 'name' is a required property", "who.age: 'x' is not of type 'integer'"),
    ]


def test_branches_are_unnamed_when_none_was_intended():
    schema = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert [*map(str, violations(schema, "x"))] == ["'x' fits none of what is allowed"]


def test_violations_are_reported_up_to_a_number():
    assert len(violations({"items": {"type": "string"}}, [0] * 1000)) == MOST_VIOLATIONS


def test_anchor_is_not_taken_for_the_whole():
    schema = {"properties": {"a": {"$ref": "#name"}}, "required": ["a"], "$defs": {"n": {"$anchor": "name"}}}
    assert violations(schema, {"a": {}}) == violations(schema, {"a": "x"}) == []


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#"}] * 2}, {"anyOf": [{"$ref": "#"}] * 2}])
def test_self_referring_schema_is_given_up(schema):
    with pytest.raises(TooMuch):
        violations(schema, 1)
