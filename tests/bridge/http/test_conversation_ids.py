"""Headers by which agents name their conversations."""

import pytest

from bridge.chat.request import ClientIds
from bridge.http.conversation_ids import HEADERS, identified
from tests.bridge.chats import request

UUID = b"3f2b8c1e-5d47-4a96-b0de-7c1f9e8a2d11"
PROGRAMS = {"claude-code": b"claude-cli/2.1", "codex": b"codex_cli_rs/0.169", "opencode": b"opencode/1.18"}


@pytest.mark.parametrize(("name", "agent"), HEADERS.items())
def test_the_agents_own_header_proves_the_conversation(name, agent):
    headers = {name: UUID, b"user-agent": PROGRAMS[agent.value]}
    values = (f"{name.decode()} {UUID.decode()}",)
    assert identified(request("Hi"), headers).ids == ClientIds(values, proven=True)
    for other in ({**headers, b"user-agent": b"curl/8"}, {name: UUID}):
        assert identified(request("Hi"), other).ids == ClientIds(values)
    assert not identified(request("Hi"), {**headers, name: b"main"}).ids.proven


def test_ids_of_headers_join_those_of_the_body():
    of_body = request("Hi", ids=ClientIds(("user a",), proven=True))
    assert identified(of_body, {b"x-session-id": b"b"}).ids == ClientIds(("user a", "x-session-id b"), proven=True)


def test_body_proves_only_what_its_agent_sends():
    of_body = ClientIds(("user_id a",), proven_by="claude-code")
    for headers, proven in (
        ({b"user-agent": b"claude-cli/2.1"}, True),
        ({b"user-agent": b"helpdesk/1"}, False),
        ({}, False),
    ):
        assert identified(request("Hi", ids=of_body), headers).ids == ClientIds(("user_id a",), proven=proven)


def test_request_without_id_headers_stays_as_it_is():
    asked = request("Hi")
    assert identified(asked, {b"user-agent": b"codex"}) is asked
