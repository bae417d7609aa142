"""The Responses API as a user of the official SDK has it: whole and streamed, continued, read again and deleted."""

import http.client

import openai
import pytest

from tests.e2e.formats import exchange, send
from tests.e2e.installation import KEY, OTHER_KEY

SAY = '[[sim: text="Hello from the other side" size=4 usage="31,7"]] Say hello'
ASK = {"model": "org_auto", "input": SAY}
FAIL = "[[sim: fault=finish_code after={after} finish={code}]] x"
ECHO = "[[sim: echo=session]] "


@pytest.fixture
def oai(gateway):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def bob(gateway):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=OTHER_KEY, max_retries=0) as client:
        yield client


def streamed(oai, **asked):
    with oai.responses.stream(**asked) as stream:
        events = list(stream)
        return events, stream.get_final_response()


def asked_with(gateway, text):
    """The only question that holds this text, as the service got it."""
    (params,) = gateway.asks(text)
    return params["questionText"]


def test_a_whole_reply(gateway, oai):
    reply = oai.responses.create(**ASK)
    assert (reply.output_text, reply.status, reply.model) == ("Hello from the other side", "completed", "org_auto")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (31, 7, 38)
    assert reply.created_at <= reply.completed_at
    row = gateway.row(reply._request_id)
    assert (row["endpoint"], row["protocol"], row["status"]) == ("/v1/responses", "openai", "ok")


def test_a_streamed_reply(oai):
    # On a busy machine pieces come together that are made within moments.
    events, reply = streamed(oai, model="org_auto", input=SAY.replace("size=4", "size=13 delay_ms=1000"))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == reply.output_text == "Hello from the other side"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert reply.usage.total_tokens == 38


@pytest.fixture
def running(oai):
    """A response that has begun, and its stream."""
    text = "[[sim: chunks=400 delay_ms=100 first_ms=0]] go on"
    with oai.responses.create(model="org_auto", input=text, stream=True, background=True) as stream:
        events = iter(stream)
        first = next(events)
        while next(events).type != "response.output_text.delta":
            pass
        yield first.response, events


def test_running_reply_is_read_in_progress(gateway, oai, bob, running):
    begun, _ = running
    assert oai.responses.retrieve(begun.id).status == "in_progress"
    assert "go on" in oai.responses.input_items.list(begun.id).data[0].content[0].text
    with pytest.raises(openai.NotFoundError):
        bob.responses.retrieve(begun.id)
    with pytest.raises(openai.NotFoundError):
        bob.responses.cancel(begun.id)
    assert send(gateway, "GET", f"/v1/responses/{begun.id}?stream=true", key=KEY).status == 400


def test_running_reply_is_not_deleted(gateway, oai, bob, running):
    begun, _ = running
    with pytest.raises(openai.BadRequestError, match="in progress"):
        oai.responses.delete(begun.id)
    with pytest.raises(openai.NotFoundError):
        bob.responses.delete(begun.id)
    oai.responses.cancel(begun.id)
    oai.responses.delete(begun.id)
    with pytest.raises(openai.NotFoundError):
        oai.responses.retrieve(begun.id)


def test_running_reply_is_cancelled(gateway, oai, running):
    begun, events = running
    done = oai.responses.cancel(begun.id)
    assert (done.id, done.status, done.error) == (begun.id, "cancelled", None)
    last = list(events)[-1]
    assert (last.type, last.response.status, last.response.error.message) == (
        "response.failed", "cancelled", "The response was cancelled.",
    )  # fmt: skip
    assert oai.responses.retrieve(begun.id).status == "cancelled"
    assert oai.responses.cancel(begun.id).status == "cancelled"
    row = gateway.row("req_" + begun.id.removeprefix("resp_"))
    assert (row["status"], row["reason"]) == ("cancelled", "cancelled")


def test_a_reply_is_read_again_and_deleted(oai):
    reply = oai.responses.create(**ASK, metadata={"topic": "greeting"})
    again = oai.responses.retrieve(reply.id)
    assert again.to_dict() == reply.to_dict()
    assert oai.responses.cancel(reply.id).id == reply.id
    oai.responses.delete(reply.id)
    with pytest.raises(openai.NotFoundError, match=reply.id):
        oai.responses.retrieve(reply.id)


def test_streamed_reply_is_readable_as_it_ends(oai):
    _, reply = streamed(oai, **ASK)
    assert oai.responses.retrieve(reply.id).output_text == "Hello from the other side"


def test_stored_reply_streams_again_from_any_event(oai):
    events, reply = streamed(oai, model="org_auto", input=SAY.replace("size=4", "size=4 delay_ms=20"))
    told = [event.to_dict() for event in oai.responses.create(**ASK, stream=True)]
    again = oai.responses.retrieve(told[-1]["response"]["id"], stream=True)
    assert [event.to_dict() for event in again] == told
    rest = oai.responses.retrieve(reply.id, stream=True, starting_after=5)
    assert [event.sequence_number for event in rest] == [event.sequence_number for event in events[6:]]
    with pytest.raises(openai.BadRequestError, match="starting_after"):
        oai.responses.retrieve(reply.id, extra_query={"stream": "true", "starting_after": "x"})


def test_compacted_conversation_continues_from_its_summary(gateway, oai):
    say = '[[sim: text="They greeted each other in Q8."]] Hello'
    first = oai.responses.create(model="org_auto", input=say, instructions="Be brief.")
    items = [{"role": "user", "content": "And again."}]
    compacted = oai.responses.compact(model="org_auto", input=items, previous_response_id=first.id)
    assert (compacted.object, [item.type for item in compacted.output]) == (
        "response.compaction", ["message", "message", "compaction"],
    )  # fmt: skip
    assert [item.content[0].text for item in compacted.output[:2]] == [say, "And again."]
    assert compacted.usage.total_tokens == compacted.usage.input_tokens + compacted.usage.output_tokens > 0
    row = gateway.row(compacted._request_id)
    assert (row["endpoint"], row["status"]) == ("/v1/responses/compact", "ok")
    kept = [item.to_dict(warnings=False) for item in compacted.output[1:]]
    oai.responses.create(model="org_auto", input=[*kept, {"role": "user", "content": "What was Q8?"}])
    assert "They greeted each other in Q8." in asked_with(gateway, "What was Q8?")


def test_compaction_of_nothing_is_refused(oai):
    with pytest.raises(openai.BadRequestError) as caught:
        oai.responses.compact(model="org_auto", previous_response_id="resp_none")
    assert caught.value.code == "previous_response_not_found"
    with pytest.raises(openai.BadRequestError, match="input"):
        oai.responses.compact(model="org_auto")


def test_a_conversation_goes_on_without_being_sent_again(gateway, oai):
    first = oai.responses.create(model="org_auto", input="the first question of Q7", instructions="Speak softly.")
    second = oai.responses.create(model="org_auto", input="the second question of Q7", previous_response_id=first.id)
    third = oai.responses.create(
        model="org_auto", input="the third question of Q7", previous_response_id=second.id, instructions="Shout."
    )
    assert third.previous_response_id == second.id
    told = asked_with(gateway, "the third question of Q7")
    assert "Speak softly." not in told  # instructions are of one request only
    items = oai.responses.input_items.list(third.id, order="asc").data
    assert [item.role for item in items] == ["user", "assistant", "user", "assistant", "user"]
    assert items[1].content[0].text == first.output_text


def test_the_items_are_listed_in_pages(oai):
    items = [{"role": "user", "content": f"number {index}"} for index in range(5)]
    reply = oai.responses.create(model="org_auto", input=items)
    pages = oai.responses.input_items.list(reply.id, limit=2)
    assert [item.content[0].text for item in pages] == [f"number {index}" for index in (4, 3, 2, 1, 0)]
    assert pages.has_more


def test_an_item_is_referred_to(gateway, oai):
    first = oai.responses.create(**ASK)
    items = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "what was R5?"}]
    oai.responses.create(model="org_auto", input=items)
    assert "Hello from the other side" in asked_with(gateway, "what was R5?")


def test_response_that_is_unstored_is_not_found(oai):
    reply = oai.responses.create(**ASK, store=False)
    with pytest.raises(openai.NotFoundError):
        oai.responses.retrieve(reply.id)
    with pytest.raises(openai.BadRequestError) as caught:
        oai.responses.create(**ASK, previous_response_id=reply.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


def test_another_key_finds_nothing(oai, bob):
    reply = oai.responses.create(**ASK)
    for ask in (bob.responses.retrieve, bob.responses.delete, bob.responses.cancel, bob.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(reply.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        bob.responses.create(**ASK, previous_response_id=reply.id)


def test_tokens_are_counted_without_a_turn(oai):
    short = oai.responses.input_tokens.count(model="org_auto", input="short").input_tokens
    long = oai.responses.input_tokens.count(model="org_auto", input="longer " * 200).input_tokens
    assert 0 < short < long


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, openai.BadRequestError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
def test_errors_before_the_first_byte_have_their_status(oai, code, kind):
    with pytest.raises(kind) as caught:
        oai.responses.create(model="org_auto", input=FAIL.format(after=0, code=code))
    assert caught.value.request_id.startswith("req_")


def test_mid_stream_failure_is_response_failed(oai):
    events = list(oai.responses.create(model="org_auto", input=FAIL.format(after=3, code=500), stream=True))
    assert events[-1].type == "response.failed"
    assert (events[-1].response.status, events[-1].response.error.code) == ("failed", "server_error")


def test_a_limit_makes_a_reply_incomplete(oai):
    reply = oai.responses.create(**ASK, max_output_tokens=2)
    assert (reply.status, reply.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert "Hello from the other side".startswith(reply.output_text)


@pytest.mark.parametrize("path", ["/v1/responses/", "/v1/responses"])
def test_a_slash_at_the_end_is_accepted(gateway, path):
    answer = send(gateway, "POST", path, key=KEY, body=ASK)
    assert answer.status == 200
    assert send(gateway, "GET", f"/v1/responses/{answer.json()['id']}/", key=KEY).json() == answer.json()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/responses", 405),
        ("GET", "/v1/responses/resp_unknown", 404),
        ("DELETE", "/v1/responses/resp_" + "0" * 32, 404),
        ("POST", "/v1/responses/resp_" + "0" * 32 + "/cancel", 404),
        ("GET", "/v1/responses/compact", 405),
        ("GET", "/v1/responses/resp_1/unknown", 404),
    ],
)
def test_missing_object_has_shape_of_its_path(gateway, method, path, status):
    answer = send(gateway, method, path, key=KEY)
    assert answer.status == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_websocket_is_refused_plainly(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    upgrade = {
        "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    answer = exchange(connection, "GET", "/v1/responses", key=KEY, headers=upgrade)
    connection.close()
    assert 400 <= answer.status < 500


def test_every_path_wants_a_key(gateway):
    for method, path in (("POST", ""), ("GET", "/resp_1"), ("POST", "/input_tokens"), ("GET", "/resp_1/input_items")):
        assert send(gateway, method, "/v1/responses" + path, body=ASK).status == 401
