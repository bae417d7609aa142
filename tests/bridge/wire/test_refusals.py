"""Every refusal names the field that is wrong, in words of the API, whatever a client sends."""

import json

import pytest

from bridge.chat.errors import GatewayError
from bridge.wire.anthropic import format as anthropic
from bridge.wire.openai import format as openai_chat
from bridge.wire.responses import format as responses

FORMATS = {"openai_chat": openai_chat.FORMAT, "anthropic": anthropic.FORMAT, "responses": responses.FORMAT}
formats = pytest.mark.parametrize("name", FORMATS)
SCHEMA = {"type": "object"}
OPENAI_TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
WHOLE = {
    "openai_chat": {
        "model": "m",
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:"}},
                {"type": "file", "file": {"filename": "a", "file_data": "x"}},
            ]},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ],
        "tools": [OPENAI_TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"schema": {}}}, "stop": ["a"], "max_tokens": 5,
        "stream_options": {"include_usage": True}, "modalities": ["text"], "n": 1, "seed": 7, "reasoning_effort": "low",
    },
    "anthropic": {
        "model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
                {"type": "document", "source": {"type": "text", "data": "x", "media_type": "text/plain"}},
            ]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [
                {"type": "text", "text": "x"}]}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 5}, "stop_sequences": ["a"], "top_k": 5,
        "output_config": {"format": {"type": "json_schema", "schema": {}}},
    },
    "responses": {
        "model": "m", "instructions": "i",
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:"},
                {"type": "input_file", "filename": "a", "file_data": "x"},
            ]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
            {"type": "local_shell_call", "call_id": "d", "action": {"command": ["ls"]}},
            {"type": "shell_call_output", "call_id": "d", "output": [{"stdout": "x"}]},
            {"type": "compaction", "encrypted_content": "x"}, {"type": "reasoning", "summary": []},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {}},
                  {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}],
        "tool_choice": {"type": "function", "name": "f"}, "text": {"format": {"type": "json_schema", "schema": {}}},
        "reasoning": {"effort": "low"}, "metadata": {"a": "b"}, "include": ["x"], "max_output_tokens": 5,
        "truncation": "auto", "service_tier": "auto", "user": "u", "conversation": None, "prompt": None,
    },
}  # fmt: skip
ODD = [
    None, True, 5, 1.5, -1, 10**30, "", "banana", "\x1b[31m", "a" * 300, [], [[]], [5], [None], [{"type": "banana"}],
    {}, {"type": "banana"}, {"type": []}, {"id": 5},
]  # fmt: skip
GONE = object()


def places(value, path=()):
    """The paths of everything in it."""
    yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*path, step))


def changed(value, path, odd):
    """The value with something odd at the path."""
    if not path:
        return odd
    copy = json.loads(json.dumps(value))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if odd is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = odd
    return copy


def refusal(name, raw):
    """The error, and its message as the client reads it; None if the body is taken."""
    try:
        FORMATS[name].parse(raw)
    except GatewayError as exc:
        status, told = FORMATS[name].error(exc, "9b1c")
        assert status in (400, 404)
        return exc, json.loads(told)["error"]["message"]
    return None


@formats
def test_the_example_is_taken(name):
    assert FORMATS[name].parse(json.dumps(WHOLE[name]).encode()).request.messages


@formats
def test_refusal_names_the_field_readably(name):
    for path in places(WHOLE[name]):
        for odd in [*ODD, *([GONE] if path else [])]:
            found = refusal(name, json.dumps(changed(WHOLE[name], path, odd)).encode())
            if found is None:
                continue
            error, message = found
            assert 0 < len(message) < 400
            assert message.isprintable(), (path, odd)
            assert not any(word in message for word in ("Error", "<class", "NoneType", "codec", "dict", "$."))
            if path and error.param:
                at = (path[0], error.param[0])
                assert at[0] == at[1] or at == ("tools", "tool_choice"), (path, odd, message)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"model":"m\xff"}', "not valid UTF-8 (byte 11)"),
        (b'{"max_tokens":5,"model":"\xe4b"}', "not valid UTF-8 (byte 25)"),
        (b"{", "truncated"),
        (b'{"model":"m",}', "trailing comma"),
        (b"[" * 100_000, "object"),
        (b'{"model":' * 100_000, "nested too deeply"),
    ],
)
@formats
def test_bytes_that_are_no_json_are_refused(name, raw, words):
    error, message = refusal(name, raw)
    assert words in message or error.param
    assert "codec" not in message
