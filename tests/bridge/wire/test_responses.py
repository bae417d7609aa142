"""The events and objects of the Responses API, and what the official client makes of them."""

import json
from itertools import zip_longest

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from bridge.chat.errors import ContentFiltered, InvalidRequest, Overloaded, RateLimited, Unavailable, UpstreamFailed
from bridge.chat.events import Failed, FinishReason, KeepAlive, TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.fold import fold
from bridge.wire.format import ReplyHead
from bridge.wire.responses.encoder import ResponsesReply
from bridge.wire.responses.format import FORMAT
from tests.bridge.wire.strategies import good_turns, turns
from tests.bridge.wire.turns import (
    CUSTOM,
    GOOD_TURNS,
    HEAD,
    LOST,
    STARTED,
    TURNS,
    WAITING,
    blocks,
    every_error,
    finished,
    payloads,
)  # fmt: skip

MINE = {
    "custom_call": CUSTOM,
    "namespaced_call": [STARTED, ToolCallStarted("call_n1", "read", "mcp__files"), ToolCallDelta("{}"),
                        ToolCallEnded(), WAITING],
    "error_before_anything": [LOST],
}  # fmt: skip
ALL = TURNS | MINE
EVENT = TypeAdapter(ResponseStreamEvent)
ENDINGS = ("response.completed", "response.incomplete", "response.failed")
RESPONSE_ID = f"resp_{'9b1c' * 8}"


def stream(*events, head=HEAD, asked=None):
    return (asked or ResponsesReply()).encoder(head).feed(events)


def told(turn):
    return payloads(stream(*ALL[turn]))


def whole(turn, head=HEAD, asked=None):
    return json.loads((asked or ResponsesReply()).whole(head, fold(ALL[turn])))


def with_own_ids(turn):
    """The calls of one reply never share an id, and the client insists on it."""
    return [
        msgspec.structs.replace(event, id=f"{event.id}{index}") if isinstance(event, ToolCallStarted) else event
        for index, event in enumerate(turn)
    ]


class Served:
    body = b""


@pytest.fixture(scope="module")
def client():
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    with httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=Served.body))
    ) as http:
        yield openai.OpenAI(api_key="k", base_url="http://gateway/v1", http_client=http, max_retries=0)


def put_together(client, body):
    Served.body = body
    with client.responses.stream(model="m", input="x") as events:
        return events.get_final_response()


def without_parsed(item):
    """What the client's helper adds of its own."""
    if isinstance(item, dict):
        return {name: without_parsed(value) for name, value in item.items() if not name.startswith("parsed")}
    return [without_parsed(each) for each in item] if isinstance(item, list) else item


@pytest.mark.parametrize("turn", ALL)
def test_stream_bytes_are_golden(turn, assert_golden):
    assert_golden(f"responses/{turn}.sse", stream(*ALL[turn]))


@pytest.mark.parametrize("turn", ["text", "calls", "thinking", "cut_off", "empty", "filtered"])
def test_whole_reply_bytes_are_golden(turn, assert_golden):
    assert_golden(f"responses/{turn}.json", ResponsesReply().whole(HEAD, fold(TURNS[turn])) + b"\n")


@pytest.mark.parametrize("turn", ALL)
def test_the_official_types_accept_every_event(turn):
    for event in told(turn):
        if event["type"] != "keepalive":
            assert EVENT.validate_python(event).type == event["type"]


@settings(deadline=None, max_examples=15)
@given(turn=good_turns().map(with_own_ids))
def test_stream_equals_the_whole_reply_for_clients(client, turn):
    one = json.loads(ResponsesReply().whole(HEAD, fold(turn)))
    assert without_parsed(put_together(client, stream(*turn)).to_dict(mode="json")) == one
    Response.model_validate(one, strict=True)


@settings(deadline=None)
@given(events=turns(), cuts=st.lists(st.booleans(), max_size=40))
def test_batches_of_events_make_no_difference(events, cuts):
    encoder = ResponsesReply().encoder(HEAD)
    pieces, batch = [], []
    for event, cut in zip_longest(events, cuts[: len(events)], fillvalue=False):
        batch.append(event)
        if cut:
            pieces.append(encoder.feed(batch))
            batch = []
    pieces.append(encoder.feed(batch))
    assert b"".join(pieces) == stream(*events)


@settings(deadline=None)
@given(events=turns())
def test_any_stream_is_framed_numbered_and_closed(events):
    found = blocks(stream(*events))
    names = [name for name, _ in found]
    data = [json.loads(text) for _, text in found]
    assert names == [event["type"] for event in data]
    assert [event["sequence_number"] for event in data] == list(range(len(data)))
    assert names[0] == "response.created"
    assert [name for name in names if name in ENDINGS] == names[-1:]
    added = [event["output_index"] for event in data if event["type"] == "response.output_item.added"]
    assert added == list(range(len(added)))


@settings(deadline=None)
@given(events=good_turns())
def test_items_come_singly_and_keep_their_ids(events):
    data = payloads(stream(*events))
    items = [event for event in data if event["type"].startswith("response.output_item.")]
    assert [event["type"].rpartition(".")[2] for event in items] == ["added", "done"] * (len(items) // 2)
    added, done = items[::2], items[1::2]
    assert [(e["item"]["id"], e["output_index"]) for e in added] == [(e["item"]["id"], e["output_index"]) for e in done]
    assert data[-1]["response"]["output"] == [event["item"] for event in done]
    assert {event["response"]["id"] for event in data if "response" in event} == {RESPONSE_ID}


# What breaks if a rule is broken: one test for each line of that table.


def test_breaks_helpers_created_precedes_even_a_keepalive():
    events = told("kept_alive")
    assert [event["type"] for event in events[:4]] == [
        "response.created", "keepalive", "response.in_progress", "keepalive",
    ]  # fmt: skip
    created = events[0]["response"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)


def test_breaks_helpers_item_is_added_before_its_content():
    added = {}
    for event in told("calls"):
        if event["type"] == "response.output_item.added":
            added[event["output_index"]] = event["item"]
            assert event["item"]["status"] == "in_progress"
            assert event["item"].get("content", event["item"].get("summary", [])) == []
            assert event["item"].get("arguments", "") == ""
        elif "item_id" in event:
            assert added[event["output_index"]]["id"] == event["item_id"]
    assert [item["type"] for item in added.values()] == ["reasoning", "message", *["function_call"] * 3]


def test_breaks_helpers_part_is_added_before_its_text():
    names = [event["type"] for event in told("text")]
    assert names == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip


def test_breaks_codex_every_done_item_is_whole():
    done = [event["item"] for event in told("calls") if event["type"] == "response.output_item.done"]
    assert done == whole("calls")["output"]
    assert done[0]["summary"] == [{"type": "summary_text", "text": "Both."}]
    assert done[1]["content"] == [{"type": "output_text", "text": "Let me look.", "annotations": [], "logprobs": []}]
    assert [(item["call_id"], item["arguments"]) for item in done[2:]] == [
        ("call_a1", '{"city":"Paris"}'), ("call_b2", "{}"), ("toolu_3", '{"text":"世界 \u2028 \\"\\n😀"}'),
    ]  # fmt: skip
    assert {item["status"] for item in done} == {"completed"}


@pytest.mark.parametrize("turn", GOOD_TURNS)
def test_breaks_opencode_good_end_has_output_and_usage(turn):
    ending = told(turn)[-1]
    response = ending["response"]
    assert ending["type"] == f"response.{response['status']}"
    assert response["output"]
    assert response["usage"]["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert (response["usage"]["input_tokens"], response["usage"]["total_tokens"]) == (10, 15)
    assert response == whole(turn)


def test_reasoning_tokens_are_counted():
    assert told("thinking")[-1]["response"]["usage"]["output_tokens_details"] == {"reasoning_tokens": 3}


def test_thinking_is_sent_as_a_summary():
    names = [event["type"] for event in told("thinking")]
    assert names[2:9] == [
        "response.output_item.added", "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta", "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done", "response.reasoning_summary_part.done", "response.output_item.done",
    ]  # fmt: skip
    assert told("thinking")[8]["item"].get("encrypted_content") is None


def test_encrypted_content_is_given_on_request():
    body = {"model": "m", "input": "x", "include": ["reasoning.encrypted_content", "new.things"]}
    head, asked = ReplyHead(HEAD.request_id, "m", 1), FORMAT.parse(json.dumps(body).encode()).reply
    events = payloads(stream(*TURNS["thinking"], head=head, asked=asked))
    items = [event["item"] for event in events if "item" in event]
    assert items[0].get("encrypted_content") is None
    assert items[1].get("encrypted_content")
    assert events[-1]["response"]["output"][0] == items[1] == whole("thinking", head, asked)["output"][0]


def test_breaks_codex_call_has_its_namespace():
    item = told("namespaced_call")[-2]["item"]
    assert (item["name"], item["namespace"], item["call_id"]) == ("read", "mcp__files", "call_n1")
    assert "namespace" not in whole("one_call")["output"][0]


def test_pitfall_21_item_id_is_not_call_id():
    item = whole("one_call")["output"][0]
    assert (item["id"][:3], item["call_id"]) == ("fc_", "call_a1")


def test_a_custom_tool_gets_plain_text():
    events = told("custom_call")
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    item = events[-2]["item"]
    assert "".join(deltas) == item["input"] == '*** Begin\n"x"'
    assert (item["type"], item["id"][:4]) == ("custom_tool_call", "ctc_")


@pytest.mark.parametrize("turn", ["cut_off", "cut_off_at_once"])
def test_cut_off_call_is_incomplete_and_never_done(turn):
    events = told(turn)
    assert "response.function_call_arguments.done" not in [event["type"] for event in events]
    assert events[-2]["item"]["status"] == "incomplete"
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_breaks_codex_half_custom_call_is_never_done():
    """Its input is plain text: half of a script runs, where half of a JSON object does not parse."""
    *begun, _, _ = CUSTOM
    events = payloads(stream(*begun, finished(FinishReason.LENGTH)))
    told_of = [event["type"] for event in events]
    assert "response.output_item.done" not in told_of
    assert "response.custom_tool_call_input.done" not in told_of
    (item,) = events[-1]["response"]["output"]
    assert (told_of[-1], item["status"], item["input"]) == ("response.incomplete", "incomplete", '*** Begin\n"x"')


@pytest.mark.parametrize(("turn", "reason"), [("length", "max_output_tokens"), ("filtered", "content_filter")])
def test_a_reply_that_was_cut_is_incomplete(turn, reason):
    response = told(turn)[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert response["output"][-1]["status"] == "incomplete"
    assert response["completed_at"] is None


def test_a_reply_of_nothing_is_an_empty_message():
    (item,) = whole("empty")["output"]
    assert item["content"][0]["text"] == ""


def test_pitfall_13_failure_leaves_a_half_call_open():
    events = told("broken_call")
    assert "response.output_item.done" not in [event["type"] for event in events]
    failed = events[-1]["response"]
    assert (events[-1]["type"], failed["status"], failed["usage"]) == ("response.failed", "failed", None)
    assert failed["error"] == {"code": "server_error", "message": "The upstream service closed the connection."}
    assert failed["output"][0]["status"] == "incomplete"


def test_failure_without_response_is_an_error_event():
    (event,) = told("error_before_anything")
    assert (event["type"], event["sequence_number"], event["code"]) == ("error", 0, "upstream_error")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpstreamFailed("x"), "server_error"),
        (Unavailable("x"), "server_error"),
        (Overloaded("x", retry_after=3), "rate_limit_exceeded"),
        (RateLimited("x"), "rate_limit_exceeded"),
        (RateLimited("x", code="insufficient_quota"), "insufficient_quota"),
        (InvalidRequest("x", code="context_length_exceeded"), "context_length_exceeded"),
        (ContentFiltered("x"), "invalid_prompt"),
    ],
)
def test_codex_learns_whether_to_retry(error, code):
    failed = payloads(stream(STARTED, Failed(error)))[-1]["response"]["error"]
    assert failed["code"] == code
    assert ("try again in 3s" in failed["message"]) == (error.retry_after == 3)


def test_pitfall_14_events_keep_a_silent_stream_alive():
    assert stream(STARTED, KeepAlive()).endswith(
        b'event: keepalive\ndata: {"type":"keepalive","sequence_number":2}\n\n'
    )


def test_pitfall_29_unicode_line_breaks_stay_in_line():
    text = TURNS["nasty_text"][1].text
    assert [event["delta"] for event in told("nasty_text") if "delta" in event] == [text]
    assert told("nasty_text")[-1]["response"]["output"][0]["content"][0]["text"] == text


def test_end_time_is_from_the_clock():
    head = ReplyHead(HEAD.request_id, "m", 1795330968, clock=lambda: 1795330970.6)
    done = payloads(stream(STARTED, TextDelta("x"), finished(), head=head))[-1]["response"]
    assert (done["created_at"], done["completed_at"]) == (1795330968, 1795330970)


def test_stored_response_is_the_sent_one():
    encoder = ResponsesReply().encoder(HEAD)
    ending = payloads(encoder.feed(TURNS["calls"]))[-1]
    assert json.loads(encoder.response) == ending["response"]


@pytest.mark.parametrize("turn", ["broken", "broken_call"])
def test_failed_reply_stores_no_response(turn):
    encoder = ResponsesReply().encoder(HEAD)
    encoder.feed(TURNS[turn])
    assert encoder.response == b""


def test_errors_have_the_shape_of_the_dialect():
    for error in every_error():
        status, body = FORMAT.error(error, "9b1c")
        assert 400 <= status < 600
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_the_client_shows_a_reply_that_was_cut(client):
    Served.body = stream(*TURNS["cut_off"])
    events = list(client.responses.create(model="m", input="x", stream=True))
    assert (events[-1].type, events[-1].response.output[-1].status) == ("response.incomplete", "incomplete")


def test_the_reasons_that_complete_a_reply():
    done = [FinishReason.STOP, FinishReason.STOP_SEQUENCE, FinishReason.TOOL_CALLS]
    statuses = [payloads(stream(STARTED, TextDelta("x"), finished(reason)))[-1]["type"] for reason in done]
    assert statuses == ["response.completed"] * 3
