"""A conversation is summed up; the summary comes back as an item and is read as what it stands for."""

import json

import pytest

from bridge.chat.errors import InvalidRequest, UpstreamFailed
from bridge.wire.responses.compact import FORMAT
from bridge.wire.responses.format import FORMAT as RESPONSES
from tests.bridge.wire.turns import HEAD, reply

ITEMS = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
    {"role": "assistant", "content": "two"},
    {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "three"},
    {"type": "message", "role": "user", "id": "msg_9", "content": "four"},
]


def parse(**fields):
    return FORMAT.parse(json.dumps({"model": "m", "input": ITEMS, **fields}).encode())


def compacted(text="The summary of 世界."):
    return json.loads(parse().reply.whole(HEAD, reply(text)))


def test_model_summarises_the_whole_conversation():
    request = parse(
        tools=[{"type": "function", "name": "look"}], tool_choice="required", stream=True, store=False
    ).request
    assert [message.role for message in request.messages[-3:]] == ["tool", "user", "user"]
    assert "Sum up" in request.messages[-1].text
    assert (request.tools, request.stream, request.tooling) == ((), False, False)


def test_user_messages_stay_and_one_item_follows():
    told = compacted()
    assert [item.get("role") or item["type"] for item in told["output"]] == ["developer", "user", "user", "compaction"]
    assert told["output"][2]["id"] == "msg_9"
    assert all(item["id"] for item in told["output"])


def test_the_summary_is_read_again():
    items = [compacted()["output"][-1], {"role": "user", "content": "five"}]
    body = json.dumps({"model": "m", "input": items}).encode()
    summary, asked = RESPONSES.parse(body).request.messages
    assert (summary.role, asked.text) == ("user", "five")
    assert summary.text.endswith("The summary of 世界.")
    assert not summary.dropped


@pytest.mark.parametrize(
    ("sign", "escaped"), [("+", r"\u002B"), ("+", r"\u002b"), ("/", r"\/"), ("/", r"\u002F"), ("=", r"\u003d")]
)
def test_escaped_summary_is_read_again(sign, escaped):
    item = compacted("ab>>>>>>ab???????")["output"][-1]
    assert sign in item["encrypted_content"]
    sent = json.dumps(item).replace(sign, escaped)
    body = f'{{"model": "m", "input": [{sent}, {{"role": "user", "content": "five"}}]}}'.encode()
    summary, asked = RESPONSES.parse(body).request.messages
    assert summary.text.endswith("ab>>>>>>ab???????")
    assert not asked.dropped


@pytest.mark.parametrize("content", [None, 5, "", "gAAAAABpM0Yj", "bGd3", {"a": 1}])
def test_foreign_summary_is_named_as_lost(content):
    items = [{"type": "compaction", "encrypted_content": content}, {"role": "user", "content": "five"}]
    (asked,) = RESPONSES.parse(json.dumps({"model": "m", "input": items}).encode()).request.messages
    assert (asked.text, asked.dropped) == ("five", ("compaction of another service",))


def test_compaction_alone_adds_nothing():
    body = json.dumps({"model": "m", "input": [{"type": "compaction", "encrypted_content": "x"}]}).encode()
    with pytest.raises(InvalidRequest):
        RESPONSES.parse(body)


def test_a_model_without_a_summary_has_failed():
    with pytest.raises(UpstreamFailed):
        compacted("")
