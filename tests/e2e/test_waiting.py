"""Places, the queue before them, and signs of life while a client waits."""

import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.agents import CLOCK, ChatAgent, MessagesAgent, call, plan
from tests.e2e.formats import ANTHROPIC, OPENAI, Stream, send
from tests.e2e.installation import KEY, METRICS_KEY, OTHER_KEY, Gateway, until

HOLD = '[[sim: text="first second" chunks=2 delay_ms=60000]] '


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, template):
    """One place, one place to wait, and not for long."""
    limits = {"MAX_IN_FLIGHT": "1", "MAX_QUEUE": "1", "QUEUE_TIMEOUT_SEC": "0.7"}
    with Gateway(tmp_path_factory.mktemp("narrow"), template, **limits) as running:
        yield running


@pytest.fixture(scope="module")
def patient(tmp_path_factory, template):
    """One place, six to wait, and signs of life every 0.2 s."""
    limits = {"MAX_IN_FLIGHT": "1", "MAX_QUEUE": "6", "KEEPALIVE_SEC": "0.2"}
    with Gateway(tmp_path_factory.mktemp("patient"), template, **limits) as running:
        yield running


@pytest.fixture
def taken():
    """Takes the one place of a gateway until the test is over."""
    streams = []

    def take(gateway, question="taken"):
        # Who had it before may have left only now, and where nobody waits for long it is not free yet.
        def took():
            streams.append(Stream(gateway, OPENAI, HOLD + question, key=KEY))
            return streams[-1].status == 200 and streams[-1]

        stream = until(took)
        stream.until(b"first")
        return stream

    yield take
    for stream in streams:
        stream.hang_up()


def refused(answer, wire):
    kind = "rate_limit_error" if wire.name == "openai" else "overloaded_error"
    assert (answer.status, answer.error["type"]) == (wire.busy, kind)
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert "x-should-retry" not in answer.headers
    return answer


def test_turn_that_waits_too_long_gets_retry_after(narrow, wire, stream, taken):
    taken(narrow)
    answer = refused(narrow.ask(wire, "x", stream=stream), wire)
    row = narrow.row(answer.headers["x-request-id"])
    assert (row["status"], row["reason"], row["instance"]) == ("refused", "overloaded", "")
    assert 0 < row["queue_ms"] <= row["total_ms"]


def test_a_full_queue_refuses_at_once(narrow, wire, stream, taken):
    taken(narrow)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: narrow.ask(wire, "x", stream=stream), range(4)))
    assert len([refused(answer, wire) for answer in answers]) == 4
    assert len([answer for answer in answers if "queue is full" in answer.error["message"]]) >= 1


def test_retry_after_varies_between_callers(narrow, taken):
    taken(narrow)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: narrow.ask(OPENAI, "x"), range(24)))
    assert len({answer.headers["retry-after"] for answer in answers}) > 1


def test_token_counts_and_model_lists_never_wait(narrow, taken):
    taken(narrow)
    assert send(narrow, "POST", "/v1/messages/count_tokens", key=KEY, body=ANTHROPIC.body("x")).status == 200
    assert send(narrow, "GET", "/v1/models", key=KEY).status == 200


def test_a_hang_up_frees_the_place(narrow, wire, taken):
    taken(narrow).hang_up()
    assert until(lambda: narrow.ask(wire, "[[sim: text=next]] x").text == "next")


def test_waiting_turn_is_served_when_place_frees(patient, wire, stream, taken):
    holder = taken(patient)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patient.ask, wire, "[[sim: text=served]] x", stream=stream)
        until(lambda: queue_length(patient) == 1)
        holder.hang_up()
        answer = waiting.result()
    assert (answer.status, answer.text, answer.finish) == (200, "served", wire.done)
    assert patient.row(answer.headers["x-request-id"])["queue_ms"] > 0


def queue_length(gateway):
    answer = send(gateway, "GET", "/metrics", key=METRICS_KEY)
    line = next(line for line in answer.body.decode().splitlines() if line.startswith("lingma_gateway_queue_length"))
    return float(line.split()[-1])


def test_waiting_requests_are_served_in_order(patient, taken):
    holder = taken(patient, "order")
    waiting = []
    for number in range(3):
        stream = Stream(patient, OPENAI, f"[[sim: text=done]] order {number}", key=KEY)
        stream.until(OPENAI.keep_alive)  # it waits now
        waiting.append(stream)
    holder.hang_up()
    assert [stream.rest().text for stream in waiting] == ["done"] * 3
    asked = [ask["questionText"].split()[-1] for ask in patient.asks("[[sim: text=done]] order")]
    assert asked == ["0", "1", "2"]
    for stream in waiting:
        stream.hang_up()


def test_single_request_gets_the_next_place(patient, taken):
    holder = taken(patient, "turns")
    waiting = []
    for number, key in enumerate([KEY, KEY, KEY, OTHER_KEY]):
        stream = Stream(patient, OPENAI, f"[[sim: text=done]] turns {number}", key=key)
        stream.until(OPENAI.keep_alive)  # it waits now
        waiting.append(stream)
    holder.hang_up()
    assert [stream.rest().text for stream in waiting] == ["done"] * 4
    asked = [ask["questionText"].split()[-1] for ask in patient.asks("[[sim: text=done]] turns")]
    assert asked == ["3", "0", "1", "2"]
    for stream in waiting:
        stream.hang_up()


def test_one_key_leaves_room_in_the_queue(patient, taken):
    holder, waiting = taken(patient), []
    for _ in range(3):
        waiting.append(Stream(patient, OPENAI, HOLD, key=KEY))
        waiting[-1].until(OPENAI.keep_alive)
    assert "share of the queue" in refused(patient.ask(OPENAI, "x", stream=True), OPENAI).error["message"]
    waiting.append(Stream(patient, OPENAI, "[[sim: text=mine]] x", key=OTHER_KEY))
    waiting[-1].until(OPENAI.keep_alive)
    holder.hang_up()
    assert waiting[-1].rest().text == "mine"
    for stream in waiting:
        stream.hang_up()


def test_waiting_stream_gets_keepalives_then_the_answer(patient, wire, taken):
    holder = taken(patient)
    with Stream(patient, wire, "[[sim: text=served]] x", key=KEY) as waiting:
        for _ in range(3):
            waiting.until(wire.keep_alive)
        holder.hang_up()
        answer = waiting.rest()
    assert (answer.text, answer.finish) == ("served", wire.done)


def test_client_that_left_the_queue_is_not_served(patient, wire, taken):
    holder = taken(patient)
    question = f"leaves the queue {wire}"
    with Stream(patient, wire, f"[[sim: text=x]] {question}", key=KEY, model=question) as waiting:
        waiting.until(wire.keep_alive)
    row = patient.row_of_model(question)
    assert (row["status"], row["reason"], row["instance"]) == ("cancelled", "client_closed", "")
    holder.hang_up()
    assert patient.ask(wire, "[[sim: text=after]] x").text == "after"
    assert patient.asks(question) == []


@pytest.mark.parametrize("silence", ["first_ms=2500", "first_ms=0 delay_ms=2500 chunks=2"])
def test_silent_model_is_covered_by_keepalives(patient, wire, silence):
    answer = patient.ask(wire, f'[[sim: text="slow model" {silence}]] x', stream=True)
    assert (answer.text, answer.finish) == ("slow model", wire.done)
    assert answer.body.count(wire.keep_alive) >= 2


def test_withheld_text_is_covered_by_keepalives(patient, wire):
    api = ChatAgent if wire is OPENAI else MessagesAgent
    tools = {"tools": [api.declared(CLOCK)], **api.required}
    prompt = plan({"say": "Let me think about it for a while.", **call("clock")}, size=4, delay_ms=250)
    answer = patient.ask(wire, prompt, stream=True, **tools)
    assert (answer.text.strip(), answer.finish) == ("Let me think about it for a while.", api.waits)
    assert answer.body.count(wire.keep_alive) >= 2


def test_a_whole_reply_holds_no_signs_of_life(patient, wire):
    answer = patient.ask(wire, "[[sim: text=slow first_ms=700]] x")
    assert (answer.status, answer.text) == (200, "slow")
    assert wire.keep_alive not in answer.body


def test_late_whole_reply_failure_keeps_its_status(patient, wire):
    answer = patient.ask(wire, "[[sim: first_ms=700 fault=finish_code after=0 finish=429]] x")
    assert answer.status == 429


def test_failure_after_keepalives_is_in_the_stream(patient, wire):
    answer = patient.ask(wire, "[[sim: first_ms=2500 fault=finish_code after=0 finish=429]] x", stream=True)
    assert (answer.status, answer.error["type"], answer.finish) == (200, "rate_limit_error", None)


@pytest.fixture(scope="module")
def starting(tmp_path_factory, template):
    """Its one instance never comes."""
    slow = {"LINGMA_SIMULATOR_START_DELAY_MS": "600000", "LINGMA_START_TIMEOUT_SEC": "600", "QUEUE_TIMEOUT_SEC": "0.3"}
    with Gateway(tmp_path_factory.mktemp("starting"), template, wait=False, **slow) as running:
        until(lambda: answers(running))
        yield running


def test_missing_instance_is_503_with_reasons(starting, wire, stream):
    answer = starting.ask(wire, "x", stream=stream)
    kind = "service_unavailable_error" if wire.name == "openai" else "overloaded_error"
    assert (answer.status, answer.error["type"]) == (503, kind)
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    ready = send(starting, "GET", "/readyz")
    assert (ready.status, ready.json()["instances"][0]["state"]) == (503, "starting")
    assert send(starting, "GET", "/healthz").status == 200


def answers(gateway):
    try:
        return send(gateway, "GET", "/healthz").status == 200
    except (OSError, http.client.HTTPException):
        return False
