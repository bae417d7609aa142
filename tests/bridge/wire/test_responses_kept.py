"""What is told of a stored response later."""

import json

import msgspec
import pytest
from openai.types.responses import ResponseItemList

from bridge.chat.errors import InvalidRequest
from bridge.wire.responses import stored
from bridge.wire.responses.output_items import is_response_id, item_id, response_id, response_of_item, text_part

ID = response_id("0a" * 16)
ITEMS = [
    {"role": "user", "content": "one"},
    {"type": "message", "role": "assistant", "id": "msg_2", "content": "two"},
    {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "three"},
]


def kept(items=ITEMS, **response):
    body = json.dumps({"id": ID, "output": [], **response}).encode()
    record = stored.pack(body, [msgspec.Raw(json.dumps(item).encode()) for item in items])
    return stored.unpack(record)


def page(**query):
    return json.loads(stored.input_items(kept(), ID, query))


def test_a_record_gives_back_what_was_packed():
    assert json.loads(bytes(kept(model="m").response)) == {"id": ID, "output": [], "model": "m"}
    assert [json.loads(bytes(raw)) for raw in kept().input] == ITEMS
    assert [bytes(raw) for raw in kept(output=[{"a": 1}]).output()] == [b'{"a": 1}']


@pytest.mark.parametrize("record", [b"", b"\xff", b"{}", b"[1]", b'{"response":{},"input":5}', b"[" * 100_000])
def test_a_record_that_cannot_be_read_is_none(record):
    assert stored.unpack(record) is None


def test_items_are_listed_as_the_types_promise():
    listed = page(order="asc")
    assert ResponseItemList.model_validate(listed).data[0].content[0].text == "one"
    assert [item["type"] for item in listed["data"]] == ["message", "message", "function_call", "function_call_output"]
    assert listed["data"][1]["content"] == [text_part("two")]
    assert len({item["id"] for item in listed["data"]}) == 4


def test_listed_item_has_all_that_it_had():
    numbers = b'"weight": 1e999, "big": 123456789012345678901234567890'
    odd = b'{"type": null, "status": null, "role": "user", "content": "one", %b}' % numbers
    record = stored.unpack(stored.pack(b'{"output":[]}', [msgspec.Raw(odd)]))
    listed = stored.input_items(record, ID, {})
    assert b'"weight":1e999,"big":123456789012345678901234567890' in listed
    (item,) = json.loads(listed)["data"]
    assert (item["type"], item["status"], item["content"][0]["text"]) == ("message", "completed", "one")
    assert bytes(record.by_id(ID)[item["id"]]) == odd


def test_pages_follow_one_another_latest_first():
    first = page(limit="3")
    assert (len(first["data"]), first["has_more"]) == (3, True)
    assert first["last_id"] == "msg_2"
    rest = page(limit="3", after=first["last_id"])
    assert ([item["content"][0]["text"] for item in rest["data"]], rest["has_more"]) == (["one"], False)
    assert page(after="unknown")["data"] == []
    assert page(after="unknown")["first_id"] is None


def test_every_id_of_the_list_finds_its_item():
    ids = [item["id"] for item in page(order="asc")["data"]]
    assert [json.loads(bytes(kept().by_id(ID)[id_])) for id_ in ids] == ITEMS
    assert kept(output=[{"id": "msg_9"}]).by_id(ID)["msg_9"]
    assert "msg_9" not in kept().by_id(ID)


@pytest.mark.parametrize("limit", ["0", "101", "many", "-1", "", "9" * 5000])
def test_a_limit_that_makes_no_sense_is_refused(limit):
    with pytest.raises(InvalidRequest) as caught:
        page(limit=limit)
    assert caught.value.param == ("limit",)


def test_item_id_contains_its_response():
    assert response_of_item(item_id("msg", "0a" * 16, 17)) == ID
    assert is_response_id(ID)
    assert not any(map(is_response_id, ["", "resp_", "resp_x", ID + "0", ID.upper(), response_of_item("msg_short")]))
