"""A stored response is told again by the very events that told it."""

import json

import msgspec
import pytest
from hypothesis import given, settings

from bridge.chat.errors import Cancelled, InvalidRequest
from bridge.chat.events import Failed, KeepAlive, TextDelta
from bridge.chat.fold import fold
from bridge.wire.format import ReplyHead
from bridge.wire.responses import stored
from bridge.wire.responses.encoder import ResponsesReply
from bridge.wire.responses.format import FORMAT
from bridge.wire.responses.replay import number_of, replay
from tests.bridge.wire.strategies import good_turns
from tests.bridge.wire.turns import CUSTOM, GOOD_TURNS, HEAD, STARTED, TURNS, finished, payloads


def asked(**fields):
    body = {"model": "qwen-max", "input": "Hi", **fields}
    return FORMAT.parse(json.dumps(body).encode()).reply


def streamed(events, **fields):
    """What a stream told, and its record."""
    reply = asked(**fields)
    encoder = reply.encoder(ReplyHead(HEAD.request_id, HEAD.model, HEAD.created, clock=lambda: 7))
    told = b"".join(encoder.feed([event]) for event in events)
    return told, stored.unpack(reply.record())


@pytest.mark.parametrize("turn", GOOD_TURNS)
def test_stream_is_replayed_byte_for_byte(turn):
    told, kept = streamed(TURNS[turn], instructions="Be brief.\n", metadata={"a": "b"}, temperature=0.5)
    assert b"".join(replay(kept)) == told


def test_special_request_fields_are_replayed_too():
    tools = [{"type": "custom", "name": "patch"}]
    told, kept = streamed(CUSTOM, tools=tools, include=["reasoning.encrypted_content"])
    assert b"".join(replay(kept)) == told
    told, kept = streamed(TURNS["thinking"], include=["reasoning.encrypted_content"])
    assert b"".join(replay(kept)) == told


@settings(deadline=None)
@given(events=good_turns())
def test_replay_equals_what_was_sent(events):
    told, kept = streamed(events)
    assert b"".join(replay(kept)) == told


def test_a_stream_goes_on_after_any_event():
    pause = KeepAlive()
    told, kept = streamed([pause, STARTED, pause, pause, TextDelta("Hel"), pause, TextDelta("lo"), pause, finished()])
    events = payloads(told)
    for after in range(-1, len(events) + 2):
        assert payloads_of(replay(kept, after)) == events[after + 1 :]


def payloads_of(pieces):
    told = b"".join(pieces)
    return payloads(told) if told else []


def test_unstreamed_reply_has_one_delta():
    whole = ResponsesReply().whole(HEAD, fold(TURNS["text"]))
    kept = stored.unpack(stored.pack(whole, []))
    events = payloads_of(replay(kept))
    assert [event["delta"] for event in events if event["type"] == "response.output_text.delta"] == ["Hello, 世界!\n"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"] == json.loads(whole)


@pytest.mark.parametrize("after", [-1, 0, 1, 2, 7])
def test_cancelled_response_is_replayed_as_cancelled(after):
    reply = asked()
    encoder = reply.encoder(HEAD)
    told = encoder.feed([STARTED, TextDelta("Hel"), TextDelta("lo")])
    reply.cancel(HEAD)
    live = payloads(told + encoder.feed([Failed(Cancelled())]))[-1]
    *before, last = payloads_of(replay(stored.unpack(reply.record()), after))
    assert [event["type"] for event in before] == ["response.created", "response.in_progress"][after + 1 :]
    assert (last["type"], last["sequence_number"]) == ("response.failed", max(2, after + 1))
    assert last["response"] == live["response"] | {"output": []}
    assert last["response"]["status"] == "cancelled"


def test_record_of_older_version_can_be_replayed():
    whole = ResponsesReply().whole(HEAD, fold(TURNS["calls"]))
    record = msgspec.json.encode({"response": msgspec.Raw(whole), "input": []})
    assert payloads_of(replay(stored.unpack(record)))[-1]["response"] == json.loads(whole)


def test_starting_number_is_a_number():
    assert number_of({}) == -1
    assert number_of({"starting_after": "41"}) == 41
    for given_number in ("", "-1", "x", "1.5", "9" * 5000, "²"):
        with pytest.raises(InvalidRequest) as caught:
            number_of({"starting_after": given_number})
        assert caught.value.param == ("starting_after",)
