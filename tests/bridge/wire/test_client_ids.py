"""By which ids clients call themselves, and what can be guessed."""

import json

import pytest
from msgspec import Raw

from bridge.chat.request import NOBODY, ClientIds
from bridge.wire.anthropic import format as anthropic
from bridge.wire.anthropic.client_ids import of_metadata
from bridge.wire.client_ids import is_random
from bridge.wire.openai import format as openai_chat
from bridge.wire.responses import format as responses

UUID = "3f2b8c1e-5d47-4a96-b0de-7c1f9e8a2d11"


@pytest.mark.parametrize(
    "text", [UUID, UUID.upper(), UUID.replace("-", ""), "ses_2f9aK1xT0qZ8bR4vN7cD3mW6yL", "019ac1f2e7b34c0d9a8e"]
)
def test_what_was_drawn_by_lot_is_random(text):
    assert is_random(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "alice", "session-1", "00000000-0000-0000-0000-000000000000", "x" * 40, "1" * 32, "0123456789" * 3,
        "my-production-session-1", "alice@example.com-2026-11-28", "user_session_of_the_day", "a b" * 10,
        "abababababababababababab", f"{UUID} and more", "9f" * 300,
    ],
)  # fmt: skip
def test_what_people_write_is_not(text):
    assert not is_random(text)


def metadata(user_id):
    return of_metadata(Raw(json.dumps({"user_id": user_id}).encode()))


@pytest.mark.parametrize("user_id", [f"user_1_account_2_session_{UUID}", json.dumps({"session_id": UUID})])
def test_claude_code_names_its_conversation_in_two_ways(user_id):
    assert metadata(user_id) == ClientIds((f"user_id {user_id}",), proven=True)


@pytest.mark.parametrize(
    "user_id",
    [UUID, f"user_{UUID}", f"session_{UUID}_1", "user_a_session_2", '{"device_id": "d"}', '{"session_id": 1}', "{"],
)
def test_other_names_keep_apart_and_prove_nothing(user_id):
    assert metadata(user_id) == ClientIds((f"user_id {user_id}",))


@pytest.mark.parametrize("raw", [b"", b"null", b"{}", b"[]", b'"a"', b'{"user_id":null}', b'{"user_id":[1]}'])
def test_metadata_may_hold_anything(raw):
    assert of_metadata(Raw(raw)) == NOBODY


def ids_of(wire, **fields):
    fields = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}], "input": "Hi"} | fields
    return wire.parse(json.dumps(fields).encode()).request.ids


@pytest.mark.parametrize("wire", [openai_chat.FORMAT, responses.FORMAT], ids=["chat", "responses"])
@pytest.mark.parametrize("name", ["user", "safety_identifier", "prompt_cache_key"])
def test_no_field_of_openai_proves_anything(wire, name):
    assert ids_of(wire) == ids_of(wire, **{name: None}) == NOBODY
    assert ids_of(wire, **{name: UUID}) == ClientIds((f'{name} "{UUID}"',))


def test_a_chat_may_have_any_value_there():
    assert ids_of(openai_chat.FORMAT, user=[1]).values == ("user [1]",)


def test_messages_have_metadata():
    assert ids_of(anthropic.FORMAT, metadata={"user_id": "a"}) == ClientIds(("user_id a",))
