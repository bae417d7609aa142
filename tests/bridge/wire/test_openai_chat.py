import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.chat.errors import Forbidden, InvalidRequest, NotFound, RateLimited, Unauthenticated
from bridge.chat.events import FinishReason, KeepAlive, TextDelta
from bridge.wire.openai.format import FORMAT
from tests.bridge.wire.turns import (
    CHAT,
    CHAT_WITH_USAGE,
    GOOD_TURNS,
    HEAD,
    LOST,
    STARTED,
    TURNS,
    blocks,
    every_error,
    finished,
    payloads,
    reply,
)


def stream(*events, asked=CHAT):
    return asked.encoder(HEAD).feed(events)


@pytest.mark.parametrize("asked", [CHAT, CHAT_WITH_USAGE], ids=["plain", "with_usage"])
@pytest.mark.parametrize("turn", GOOD_TURNS)
def test_the_official_types_accept_every_chunk(turn, asked):
    for chunk in payloads(stream(*TURNS[turn], asked=asked)):
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert (chunk["id"], chunk["created"], chunk["model"]) == (f"chatcmpl-{'9b1c' * 8}", 1795330968, "qwen-max")
        assert chunk["object"] == "chat.completion.chunk"


def test_pitfall_9_role_is_on_first_chunk_only():
    deltas = [chunk["choices"][0]["delta"] for chunk in payloads(stream(*TURNS["text"]))]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert deltas[1:] == [{"content": "Hel"}, {"content": "lo, 世界!\n"}, {}]


def test_pitfall_10_usage_is_sent_only_on_request():
    chunks = payloads(stream(*TURNS["text"]))
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)


def test_pitfall_10_requested_usage_comes_last_and_once():
    *chunks, last = payloads(stream(*TURNS["text"], asked=CHAT_WITH_USAGE))
    assert all(chunk["usage"] is None and chunk["choices"] for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (FinishReason.STOP, "stop"),
        (FinishReason.STOP_SEQUENCE, "stop"),
        (FinishReason.LENGTH, "length"),
        (FinishReason.CONTENT_FILTER, "content_filter"),
        (FinishReason.TOOL_CALLS, "tool_calls"),  # pitfall 19: never `stop`
    ],
)
def test_one_chunk_has_the_finish_reason(reason, told):
    reasons = [
        chunk["choices"][0]["finish_reason"] for chunk in payloads(stream(*TURNS["text"][:-1], finished(reason)))
    ]
    assert reasons == [None, None, None, told]
    assert json.loads(CHAT.whole(HEAD, reply(reason=reason)))["choices"][0]["finish_reason"] == told


def test_a_good_stream_ends_with_done():
    assert blocks(stream(*TURNS["text"]))[-1] == (None, "[DONE]")


def test_pitfall_6_nothing_follows_a_failure():
    found = blocks(stream(STARTED, TextDelta("Hel"), LOST, asked=CHAT_WITH_USAGE))
    assert json.loads(found[-1][1]) == {
        "error": {
            "message": "The upstream service closed the connection.",
            "type": "server_error",
            "param": None,
            "code": "upstream_error",
        }
    }
    assert all('"finish_reason":null' in data for _, data in found[:-1])


def test_pitfall_14_comments_keep_a_silent_stream_alive():
    assert stream(KeepAlive()) == b": keep-alive\n\n"


def test_pitfall_29_unicode_line_breaks_stay_in_line():
    delta = payloads(stream(*TURNS["nasty_text"]))[1]["choices"][0]["delta"]
    assert delta == {"content": TURNS["nasty_text"][1].text}


def test_the_official_type_accepts_a_whole_reply():
    whole = json.loads(CHAT.whole(HEAD, reply()))
    ChatCompletion.model_validate(whole, strict=True)
    message = whole["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []}
    assert whole["usage"]["total_tokens"] == 15


def test_a_model_name_needs_no_manners():
    head = type(HEAD)("9b1c", 'a"b\u2028', 1)
    chunks = payloads(CHAT.encoder(head).feed(TURNS["text"]))
    assert {chunk["model"] for chunk in chunks} == {'a"b\u2028'}


def error(raised):
    status, body = FORMAT.error(raised, "9b1c")
    return status, json.loads(body)["error"]


def test_all_four_keys_stand_in_every_error():
    for raised in every_error():
        assert list(error(raised)[1]) == ["message", "type", "param", "code"]


def test_message_of_401_is_what_clients_seek():
    status, told = error(Unauthenticated("No."))
    assert (status, told["type"], told["code"]) == (401, "invalid_request_error", "invalid_api_key")
    assert told["message"].startswith("Incorrect API key provided")


def test_error_has_path_and_code():
    status, told = error(InvalidRequest("No such role.", param=("messages", 0, "role"), code="invalid_value"))
    assert (status, told["param"], told["code"]) == (400, "messages[0].role", "invalid_value")


def test_unknown_model_and_quota_have_own_codes():
    assert error(NotFound("The model 'x' does not exist.", code="model_not_found"))[1]["code"] == "model_not_found"
    told = error(RateLimited("The budget is spent.", code="insufficient_quota"))[1]
    assert (told["type"], told["code"]) == ("insufficient_quota", "insufficient_quota")
    assert error(Forbidden("Not for you.", code="model_not_allowed"))[1]["code"] == "model_not_allowed"
