"""By which ids clients call themselves, and what can be guessed."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Raw

from accounts.models import Usage
from bridge.chat.request import NOBODY, ClientIds
from bridge.wire.anthropic import format as anthropic
from bridge.wire.anthropic.client_ids import of_metadata
from bridge.wire.client_ids import _BY_HAND, is_random
from bridge.wire.openai import format as openai_chat
from bridge.wire.responses import format as responses

UUID = "3f2b8c1e-5d47-4a96-b0de-7c1f9e8a2d11"


@pytest.mark.parametrize(
    "text",
    [
        UUID,
        UUID.upper(),
        UUID.replace("-", ""),
        "019ac1f2-e7b3-7c0d-9a8e-5b6172839405",
        "ses_ddecb602bffeYVzRky3oDVFLTG",
        "ses_ddecc4ffaffeAIh85oujR3fMYK",
    ],
)
def test_ids_of_agents_are_random(text):
    assert is_random(text)


@given(st.uuids(version=4))
def test_uuids_drawn_by_lot_are_random(uuid):
    assume(not _BY_HAND.search(uuid.hex))
    assert is_random(str(uuid)) == (len(set(uuid.hex)) >= 8)


@pytest.mark.parametrize(
    "text",
    [
        "", "alice", "session-1", "00000000-0000-0000-0000-000000000000", "x" * 40, "1" * 32, "0123456789" * 3,
        "my-production-session-1", "alice@example.com-2026-11-28", "user_session_of_the_day", "a b" * 10,
        "abababababababababababab", f"{UUID} and more", "9f" * 300, "019ac1f2e7b34c0d9a8e",
        "Default-Session-For-All-Users-Of-Acme", "DefaultSessionForAllUsersOfAcmeCorp",
        "Helpdesk-Bot-Production-Default",
        "ses_000000000001DefaultSession", "ses_2026112810300" + "MyApplication", "ses_" + "ab12" * 6,
        "123e4567-e89b-12d3-a456-426614174000", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "{" + UUID + "}",
        "886313e1-3b8a-5372-9b90-0c9aee199e5d", "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "12345678-1234-4234-8234-123456789abc", "deadbeef-9c1d-4e2f-8a3b-5c6d7e8f9a0b",
        "a1b2c3d4-0000-4000-8000-000000000001", UUID.replace("-4a", "-1a"), UUID.replace("-b", "-7"),
    ],
)  # fmt: skip
def test_text_that_people_write_is_not_random(text):
    assert not is_random(text)


def metadata(user_id):
    return of_metadata(Raw(json.dumps({"user_id": user_id}).encode()))


@pytest.mark.parametrize(
    "user_id",
    [
        f"user_1_account_2_session_{UUID}", f"user_0a1b_account__session_{UUID}",
        json.dumps({"device_id": "d", "account_uuid": "", "session_id": UUID}),
    ],
)  # fmt: skip
def test_claude_code_names_conversations_in_two_ways(user_id):
    assert metadata(user_id) == ClientIds((f"user_id {user_id}",), proven_by=Usage.Agent.CLAUDE_CODE.value)


@pytest.mark.parametrize(
    "user_id",
    [
        UUID, f"user_{UUID}", f"session_{UUID}_1", "user_a_session_2", '{"device_id": "d"}', '{"session_id": 1}', "{",
        f"acme_session_{UUID}", f"user_x_account_y_session_{UUID}", f"user_1_account_2_session_{UUID}\n",
        "user_1_account_2_session_Helpdesk-Bot-Production-Default", '{"session_id": "ses_ddecb602bffeYVzRky3oDVFLTG"}',
    ],
)  # fmt: skip
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
def test_fields_of_openai_prove_nothing(wire, name):
    assert ids_of(wire) == ids_of(wire, **{name: None}) == NOBODY
    assert ids_of(wire, **{name: UUID}) == ClientIds((f'{name} "{UUID}"',))


def test_a_chat_may_have_any_value_there():
    assert ids_of(openai_chat.FORMAT, user=[1]).values == ("user [1]",)


def test_messages_have_metadata():
    assert ids_of(anthropic.FORMAT, metadata={"user_id": "a"}) == ClientIds(("user_id a",))
