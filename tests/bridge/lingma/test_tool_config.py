"""Tools that go along with the question, in the shape of the client's format."""

import json

import msgspec
import pytest

from bridge.chat.request import AUTO, Tool, ToolChoice
from bridge.lingma.dialects.a.tool_config import tool_config
from bridge.lingma.dialects.base import AskTools

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
READ = Tool("read", "Read a file", json.dumps(SCHEMA).encode())
BARE = Tool("bare")
PATCH = Tool("patch", custom=True)
NOTHING = {"type": "object", "properties": {}}


def sent(provider, tools, choice, parallel=True):
    return json.loads(msgspec.json.encode(tool_config(AskTools(provider, tuple(tools), choice, parallel))))


def test_openai_has_functions_and_custom_tools():
    config = sent("openai", [READ, BARE, PATCH], AUTO)
    assert (config["provider"], config["tool_choice"]) == ("openai", "auto")
    assert config["tools"] == [
        {"type": "function", "function": {"name": "read", "description": "Read a file", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "bare", "parameters": NOTHING}},
        {"type": "custom", "custom": {"name": "patch"}},
    ]


def test_anthropic_has_input_schemas():
    config = sent("anthropic", [READ, BARE], AUTO)
    assert (config["provider"], config["tool_choice"]) == ("anthropic", {"type": "auto"})
    assert config["tools"] == [
        {"name": "read", "description": "Read a file", "input_schema": SCHEMA},
        {"name": "bare", "input_schema": NOTHING},
    ]


@pytest.mark.parametrize(
    ("choice", "openai", "anthropic"),
    [
        (ToolChoice("none"), "none", {"type": "none"}),
        (ToolChoice("required"), "required", {"type": "any"}),
        (
            ToolChoice("named", "read"),
            {"type": "function", "function": {"name": "read"}},
            {"type": "tool", "name": "read"},
        ),
        (
            ToolChoice("named", "patch"),
            {"type": "custom", "custom": {"name": "patch"}},
            {"type": "tool", "name": "patch"},
        ),
    ],
)
def test_the_choice_is_spelled_as_each_spells_it(choice, openai, anthropic):
    assert sent("openai", [READ, PATCH], choice)["tool_choice"] == openai
    assert sent("anthropic", [READ, PATCH], choice)["tool_choice"] == anthropic


def test_single_call_belongs_to_choice_of_anthropic():
    choice = sent("anthropic", [READ], ToolChoice("required"), parallel=False)["tool_choice"]
    assert choice == {"type": "any", "disable_parallel_tool_use": True}
