import json

import pytest
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from pydantic import TypeAdapter

from bridge.chat.errors import InvalidRequest, NotFound, Unauthenticated
from bridge.chat.events import FinishReason, KeepAlive, Started, TextDelta, ThinkingDelta
from bridge.wire.anthropic.format import FORMAT
from tests.bridge.wire.turns import HEAD, LOST, MESSAGES, STARTED, TURNS, blocks, every_error, finished, payloads, reply

EVENT = TypeAdapter(RawMessageStreamEvent)
OUTSIDE_THE_UNION = {"ping", "error"}


def stream(*events):
    return MESSAGES.encoder(HEAD).feed(events)


@pytest.mark.parametrize("turn", TURNS)
def test_the_official_types_accept_every_event(turn):
    for event in payloads(stream(*TURNS[turn])):
        if event["type"] not in OUTSIDE_THE_UNION:
            assert EVENT.validate_python(event).type == event["type"]


@pytest.mark.parametrize("turn", TURNS)
def test_pitfall_7_every_event_has_its_event_line(turn):
    for name, data in blocks(stream(*TURNS[turn])):
        assert name == json.loads(data)["type"]


def test_pitfall_12_the_order_is_whole():
    assert [name for name, _ in blocks(stream(*TURNS["text"]))] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_an_empty_reply_has_no_blocks():
    names = [name for name, _ in blocks(stream(*TURNS["empty"]))]
    assert names == ["message_start", "message_delta", "message_stop"]
    assert json.loads(MESSAGES.whole(HEAD, reply("")))["content"] == []


def test_the_message_starts_empty():
    message = payloads(stream(STARTED))[0]["message"]
    assert (message["content"], message["stop_reason"], message["stop_sequence"]) == ([], None, None)
    assert (message["id"], message["model"], message["role"]) == (f"msg_{'9b1c' * 8}", "qwen-max", "assistant")


@pytest.mark.parametrize(("estimate", "told"), [(12, 12), (0, 1)])
def test_pitfall_22_input_tokens_come_first_and_nonzero(estimate, told):
    usage = payloads(stream(Started("i", "m", "new", 0, estimate)))[0]["message"]["usage"]
    assert usage == {
        "input_tokens": told,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    }


def test_pitfall_12_ending_has_usage_correcting_the_estimate():
    ending = payloads(stream(*TURNS["text"]))[-2]
    assert ending["usage"]["input_tokens"] == 10
    assert ending["usage"]["output_tokens"] == 5


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (FinishReason.STOP, "end_turn"),
        (FinishReason.LENGTH, "max_tokens"),
        (FinishReason.CONTENT_FILTER, "refusal"),
        (FinishReason.TOOL_CALLS, "tool_use"),  # pitfall 19: never `end_turn`
    ],
)
def test_stop_reason_is_given(reason, told):
    delta = payloads(stream(STARTED, finished(reason)))[1]["delta"]
    assert delta == {"stop_reason": told, "stop_sequence": None}
    assert json.loads(MESSAGES.whole(HEAD, reply(reason=reason)))["stop_reason"] == told


def test_stop_sequence_is_given_with_its_text():
    delta = payloads(stream(*TURNS["stop_sequence"]))[-2]["delta"]
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": "3"}
    whole = json.loads(MESSAGES.whole(HEAD, reply(reason=FinishReason.STOP_SEQUENCE, stop_sequence="3")))
    assert whole["stop_sequence"] == "3"


def test_pitfall_6_failure_is_the_last_event():
    *before, (name, data) = blocks(stream(STARTED, TextDelta("Hel"), LOST))
    told = {"type": "api_error", "message": "The upstream service closed the connection. Please retry your request."}
    assert name == "error"
    assert json.loads(data) == {"type": "error", "error": told, "request_id": f"req_{'9b1c' * 8}"}
    assert {name for name, _ in before} == {"message_start", "content_block_start", "content_block_delta"}


def test_pitfall_14_pings_keep_a_silent_stream_alive():
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    assert stream(KeepAlive()) == ping
    assert stream(*TURNS["kept_alive"]).startswith(ping + b"event: message_start\n")


def test_pitfall_24_no_thinking_is_made_up():
    silent = [turn for name, turn in TURNS.items() if not any(isinstance(event, ThinkingDelta) for event in turn)]
    assert len(silent) > 10
    assert all(b"thinking" not in stream(*turn) for turn in silent)


def test_pitfall_29_unicode_line_breaks_stay_in_line():
    assert payloads(stream(*TURNS["nasty_text"]))[2]["delta"]["text"] == TURNS["nasty_text"][1].text


def test_the_official_type_accepts_a_whole_reply():
    whole = json.loads(MESSAGES.whole(HEAD, reply()))
    Message.model_validate(whole, strict=True)
    assert whole["content"] == [{"type": "text", "text": "Hello!"}]


def error(raised):
    status, body = FORMAT.error(raised, "9b1c")
    return status, json.loads(body)


def test_errors_have_dialects_shape_and_request_id():
    for raised in every_error():
        _, body = error(raised)
        assert (body["type"], body["request_id"]) == ("error", "req_9b1c")
        assert list(body["error"]) == ["type", "message"]


def test_message_of_401_is_what_clients_seek():
    status, body = error(Unauthenticated("No."))
    assert (status, body["error"]) == (401, {"type": "authentication_error", "message": "invalid x-api-key"})


def test_overload_is_529_and_missing_instance_503():
    told = {e.kind: (error(e)[0], error(e)[1]["error"]["type"]) for e in every_error()}
    assert told["overloaded"] == (529, "overloaded_error")
    assert told["unavailable"] == (503, "overloaded_error")
    assert told["rate_limited"] == (429, "rate_limit_error")
    assert told["timeout"] == (504, "timeout_error")
    assert told["too_large"] == (413, "request_too_large")


def test_a_message_begins_with_its_path_once():
    told = error(NotFound("The model 'x' does not exist.", param=("model",)))[1]["error"]["message"]
    assert told == "model: The model 'x' does not exist."
    assert error(InvalidRequest("model: Field required", param=("model",)))[1]["error"]["message"] == (
        "model: Field required"
    )


def test_the_official_type_accepts_a_count():
    assert MessageTokensCount.model_validate_json(FORMAT.token_count(17)).input_tokens == 17
