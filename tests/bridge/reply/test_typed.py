"""Parameters that were written as plain text, and what they become."""

import json

import pytest

from bridge.chat.request import Tool
from bridge.reply.calls.typed import Parameters

SCHEMA = {
    "type": "object",
    "$defs": {
        "Many": {"anyOf": [{"type": "array"}, {"type": "null"}]},
        "Round": {"$ref": "#/$defs/Round"},
        "An Id": {"type": "string"},
    },
    "properties": {
        "text": {"type": "string"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "flag": {"type": "boolean"},
        "many": {"$ref": "#/$defs/Many"},
        "either": {"type": ["string", "array"]},
        "choice": {"enum": ["1", "2"]},
        "both": {"allOf": [{"type": "integer"}, {"minimum": 1}]},
        "round": {"$ref": "#/$defs/Round"},
        "spaced": {"$ref": "#/$defs/An%20Id"},
        "listed": {"$ref": "#/properties/maybe/anyOf/0"},
        "any": {},
    },
}


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        *(("text", each, each) for each in ("5", "null", "true", '{"a":1}', " x\n", "", '"q"')),
        *(("maybe", "null", None), ("maybe", "hello", "hello"), ("maybe", "5", "5")),
        *(("count", "5", 5), ("count", " -5\n", -5), ("count", "five", "five"), ("count", "", "")),
        *(("share", "0.5", 0.5), ("share", "2", 2), ("flag", "true", True), ("flag", "False", False)),
        *(("many", '["a"]', ["a"]), ("many", "['a',]", ["a"]), ("many", "null", None)),
        *(("either", "ls -l", "ls -l"), ("either", '["ls"]', ["ls"]), ("either", "5", "5")),
        *(("choice", "1", "1"), ("both", "7", 7), ("spaced", "5", "5"), ("listed", "5", "5")),
        *((name, "5", 5) for name in ("any", "round", "unheard of")),
        *((name, text, text) for name in ("any", "unheard of") for text in ("hello", "True", "{'a': 1}", "NaN")),
    ],
)
def test_text_becomes_what_the_schema_wants(name, written, value):
    sent = json.loads(Parameters(Tool("t", schema=json.dumps(SCHEMA).encode())).value(name, written))
    assert (sent, type(sent)) == (value, type(value))


def test_root_may_refer_to_its_parameters():
    schema = {"$ref": "#/definitions/Look", "definitions": {"Look": SCHEMA | {"$defs": {}}}}
    assert Parameters(Tool("t", schema=json.dumps(schema).encode())).value("text", "5") == '"5"'


@pytest.mark.parametrize(("is_string", "value"), [(True, "5"), (False, 5), (None, 5)])
def test_models_choice_counts_where_schema_allows_it(is_string, value):
    parameters = Parameters(Tool("t", schema=json.dumps(SCHEMA).encode()))
    assert json.loads(parameters.value("any", "5", is_string=is_string)) == value
    assert json.loads(parameters.value("count", "5", is_string=is_string)) == 5


@pytest.mark.parametrize("schema", [b"", b"[]", b"nonsense", b'{"properties":[]}', b'{"properties":{"a":{"type":7}}}'])
def test_silent_schema_leaves_the_text(schema):
    assert [Parameters(Tool("t", schema=schema)).value("a", text) for text in ("5", "x")] == ["5", '"x"']
