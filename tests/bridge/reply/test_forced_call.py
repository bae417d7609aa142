"""A forced function whose arguments came as plain JSON."""

import json

import pytest

from bridge.reply.forced_call import forced_arguments


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
    assert json.loads(forced_arguments(text, "weather")) == arguments


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
    assert forced_arguments(text, "weather") is None
