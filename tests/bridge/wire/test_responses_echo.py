"""What a response tells again of its request."""

import json

import pytest

from bridge.wire.responses.format import FORMAT
from tests.bridge.wire.test_responses_request import LOOK, NAMESPACE, SCHEMA, echoed, echoed_by


def test_response_repeats_what_the_request_set():
    asked = {
        "instructions": "Be brief. \u2028 世界", "max_output_tokens": 7, "max_tool_calls": 3, "metadata": {"a": "b"},
        "parallel_tool_calls": False, "prompt_cache_key": "k", "reasoning": {"effort": "high", "summary": "auto"},
        "safety_identifier": "s", "service_tier": "flex", "store": False, "temperature": 0.5, "truncation": "auto",
        "presence_penalty": 0.5, "frequency_penalty": -0.5,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "tool_choice": "required", "top_p": 0.9,
        "tools": [LOOK, NAMESPACE, {"type": "web_search"}], "top_logprobs": 2, "user": "u",
    }  # fmt: skip
    pretty = json.dumps({"model": "m", "input": "Hi", **asked}, indent=2).encode()
    told = echoed_by(FORMAT.parse(pretty))
    names = set(asked) - {"tools"}
    assert {name: told[name] for name in names} == {name: asked[name] for name in names}


def test_tools_are_repeated_with_every_field():
    given = [LOOK, {"type": "function", "function": {**LOOK, "strict": False, "description": "d"}}, NAMESPACE,
             {"type": "function", "name": "all", "description": "d", "parameters": SCHEMA, "strict": None},
             {"type": "web_search"}]  # fmt: skip
    given[1]["function"]["name"] = "nested"
    look, nested, group, full, hosted = echoed(tools=given)["tools"]
    assert look == {"type": "function", "name": "look", "description": None, "parameters": None, "strict": True}
    assert nested == look | {"name": "nested", "description": "d", "strict": False}
    assert group["tools"] == [look | {"name": "read", "parameters": SCHEMA}, NAMESPACE["tools"][1]]
    assert full == look | {"name": "all", "description": "d", "parameters": SCHEMA}
    assert hosted == {"type": "web_search"}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "function", "function": {"name": "look"}}, {"type": "function", "name": "look"}),
        ({"type": "allowed_tools", "tools": [LOOK]}, {"type": "allowed_tools", "mode": "auto", "tools": [LOOK]}),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [LOOK]}},
         {"type": "allowed_tools", "mode": "required", "tools": [LOOK]}),
        ({"type": "web_search"}, {"type": "web_search"}),
    ],
)  # fmt: skip
def test_tool_choice_is_repeated_flat(choice, told):
    assert echoed(tools=[LOOK], tool_choice=choice)["tool_choice"] == told


@pytest.mark.parametrize(
    ("field", "given", "told"),
    [
        ("text", {}, {"format": {"type": "text"}}),
        ("text", {"format": None, "verbosity": "low"}, {"format": {"type": "text"}, "verbosity": "low"}),
        ("text", {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
         {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "description": None, "strict": False}}),
        ("reasoning", {"effort": "low"}, {"effort": "low", "summary": None}),
        ("reasoning", {}, {"effort": None, "summary": None}),
        ("service_tier", "auto", "default"),
        ("service_tier", "future", "default"),
    ],
)  # fmt: skip
def test_repeated_parts_have_every_field(field, given, told):
    assert echoed(**{field: given})[field] == told


def test_large_parts_are_not_repeated_in_each_event():
    large = "x" * (1 << 20)
    told = echoed(instructions=large, tools=[LOOK], metadata={"a": "b"})
    assert (told["instructions"], told["metadata"], len(told["tools"])) == (None, {"a": "b"}, 1)
    assert echoed(tools=[LOOK | {"description": large}])["tools"] == []
