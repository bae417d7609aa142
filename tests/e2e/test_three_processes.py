"""Three web processes with eight places each: one gateway with twenty-four."""

import http.client
import json
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from tests.e2e.formats import ANTHROPIC, FORMATS, OPENAI, Stream, exchange, send
from tests.e2e.installation import KEY, Gateway, patiently, until

HOLD = '[[sim: text="first second" chunks=2 delay_ms=60000]] '
PROCESSES = (1, 2, 3)
PAIRS = ((1, 2), (2, 3), (3, 1))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, template):
    directory = tmp_path_factory.mktemp("three")
    with Gateway(directory, template, processes=3, wait=False, KEEPALIVE_SEC="0.2") as running:
        patiently(lambda: send(running, "GET", "/readyz").status == 200)
        yield running


@pytest.fixture
def three(gateway):
    """The gateway, with all of its processes; those a test has killed are started again."""
    for number in PROCESSES:
        if gateway.processes[number - 1].poll() is not None:
            gateway.processes[number - 1] = gateway.start(number)
    patiently(lambda: all(sees_all(gateway, number) for number in PROCESSES))
    until(lambda: gateway.in_flight() == 0)
    return gateway


@pytest.fixture(scope="module")
def acquainted(gateway):
    """Each process has heard what the others hold, which they report each second."""
    for here, there in PAIRS:
        patiently(lambda here=here, there=there: sessions(gateway, here, there, OPENAI)[1] == "reused")


def sessions(gateway, here, there, wire, stream=False):
    """A conversation that goes on in another process: the answers of both, and what became of the session."""
    question = f'[[sim: text="an answer"]] {wire} {stream} {here} {there}'
    begun = asked(gateway, here, OPENAI, question)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
    messages.append({"role": "user", "content": '[[sim: text="and on" think="a thought"]] go on'})
    answer = asked(gateway, there, wire, messages, stream=stream)
    return (begun, answer), answer.headers["x-lingma-session"]


@contextmanager
def only(gateway, number):
    """The other processes stand still, so that this one takes every connection."""
    others = [psutil.Process(each.pid) for index, each in enumerate(gateway.processes, 1) if index != number]
    for process in others:
        process.suspend()
    try:
        yield
    finally:
        for process in others:
            process.resume()


def connected(gateway, number, count=1):
    """Connections that this process has taken."""
    made = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30) for _ in range(count)]
    with only(gateway, number):
        for connection in made:
            assert exchange(connection, "GET", "/healthz").status == 200
    return made


def sees_all(gateway, number):
    (connection,) = connected(gateway, number)
    seen = ready(connection)
    connection.close()
    return seen == {"w1-i1", "w2-i1", "w3-i1"}


def ready(connection):
    told = exchange(connection, "GET", "/readyz").json()["instances"]
    return {each["name"] for each in told if each["state"] == "ready"}


class Held(Stream):
    """A stream on a connection that is there already."""

    def __init__(self, connection, prompt, wire=OPENAI, **more):
        self.connection, self.response = connection, None
        body = json.dumps(wire.body(prompt, stream=True, **more))
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        connection.request("POST", wire.path, body=body, headers=headers)


@pytest.fixture
def streams(three):
    """Streams through one process, which end with the test."""
    with ExitStack() as stack:

        def start(number, count, prompt=HOLD, wire=OPENAI):
            made = [Held(each, prompt, wire) for each in connected(three, number, count)]
            for stream in made:
                stack.enter_context(stream)
            return made

        yield start


def instance(stream):
    return stream.begin().response.headers["x-lingma-instance"]


def asked(gateway, number, wire, prompt, **more):
    (connection,) = connected(gateway, number)
    answer = exchange(connection, "POST", wire.path, key=KEY, body=wire.body(prompt, **more))
    connection.close()
    return answer


def test_every_place_is_there_for_every_process(three, streams):
    held = streams(1, 24)
    for stream in held:
        stream.until(b"first")
    served = [instance(stream) for stream in held]
    assert {name: served.count(name) for name in set(served)} == {"w1-i1": 8, "w2-i1": 8, "w3-i1": 8}


def test_place_freed_anywhere_ends_a_wait(three, streams, wire):
    held = streams(2, 24)
    for stream in held:
        stream.until(b"first")
    for name in ("w1-i1", "w3-i1", "w2-i1"):
        (waiting,) = streams(3, 1, "[[sim: text=served]] x", wire)
        waiting.until(wire.keep_alive)
        next(stream for stream in held if instance(stream) == name).hang_up()
        held = [stream for stream in held if stream.connection.sock is not None]
        assert waiting.rest().text == "served"
        held += streams(2, 1)
        held[-1].until(b"first")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_conversation_keeps_its_session_through_any_process(acquainted, three, wire, stream):
    for here, there in PAIRS:
        (begun, answer), session = sessions(three, here, there, wire, stream)
        assert (answer.status, answer.text, answer.finish, session) == (200, "and on", wire.done, "reused")
        assert begun.headers["x-lingma-instance"] == answer.headers["x-lingma-instance"] == f"w{here}-i1"
        row = three.row(answer.headers["x-request-id"])
        assert (row["status"], row["usage_source"]) == ("ok", three.row(begun.headers["x-request-id"])["usage_source"])


def test_killed_holder_costs_a_rebuild(three):
    question = '[[sim: text="an answer"]] before the end'
    begun = three.ask(OPENAI, question)
    holder = int(begun.headers["x-lingma-instance"][1]) - 1
    three.processes[holder].kill()
    three.processes[holder].wait()
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
    answer = three.ask(ANTHROPIC, [*messages, {"role": "user", "content": "[[sim: text=again]] go on"}])
    assert (answer.status, answer.text, answer.headers["x-lingma-session"]) == (200, "again", "rebuilt")


def test_signs_of_life_outlive_their_holder(three):
    """The client has seen nothing of the reply, so another process asks anew."""
    question = '[[sim: text="an answer"]] before a silent end'
    begun = three.ask(OPENAI, question)
    name = begun.headers["x-lingma-instance"]
    holder = int(name[1])
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
    messages.append({"role": "user", "content": "[[sim: text=again]] go on"})
    three.control(name, turns=[{"first_ms": 60_000}])
    (connection,) = connected(three, holder % 3 + 1)
    with Held(connection, messages) as stream:
        stream.until(OPENAI.keep_alive)
        assert three.asks("before a silent end", name)
        three.processes[holder - 1].kill()
        three.processes[holder - 1].wait()
        answer = stream.rest()
    assert (answer.text, answer.finish, answer.error) == ("again", "stop", None)
    assert three.row(stream.request_id)["session"] == "rebuilt"
    three.control(name)


def test_silent_stream_moves_from_a_gone_instance(three):
    """It is in doubt, for its service has exited; the one of its own process stays away."""
    three.control("w1-i1", start_delay_ms=60_000, turns=[{"first_ms": 60_000}])
    (connection,) = connected(three, 1)
    with Held(connection, "[[sim: text=moved]] a silent one") as stream:
        stream.until(OPENAI.keep_alive)
        assert until(lambda: three.asks("a silent one"))
        three.lingma("w1-i1").kill()
        answer = stream.rest()
    assert (answer.text, answer.finish, answer.error) == ("moved", "stop", None)
    row = three.row(stream.request_id)
    assert (row["status"], row["instance"] in {"w2-i1", "w3-i1"}) == ("ok", True)
    three.control("w1-i1")
    three.processes[0].kill()
    three.processes[0].wait()


def test_lent_turn_has_rows_and_counts_like_any(three, streams):
    held = streams(1, 8)
    for stream in held:
        stream.until(b"first")
    (stream,) = streams(1, 1, "[[sim: text=lent]] x", ANTHROPIC)
    answer = stream.rest()
    assert (answer.text, answer.finish) == ("lent", "end_turn")
    assert answer.headers["x-lingma-instance"] in {"w2-i1", "w3-i1"}
    row = three.row(answer.headers["x-request-id"])
    assert (row["status"], row["instance"]) == ("ok", answer.headers["x-lingma-instance"])
    for stream in held:
        stream.hang_up()
    until(lambda: three.in_flight() == 0)


def test_a_hang_up_stops_what_runs_elsewhere(three, streams):
    held = streams(3, 9, HOLD + "hang up")
    for stream in held:
        stream.until(b"first")
    (lent,) = [stream for stream in held if instance(stream) != "w3-i1"]
    name = instance(lent)
    lent.hang_up()
    assert until(lambda: three.stops("hang up", name))


def test_killed_process_takes_only_its_own_streams(three, streams):
    held = streams(1, 16)
    for stream in held:
        stream.until(b"first")
    victim = next(number for number in (2, 3) if any(instance(each) == f"w{number}-i1" for each in held))
    own = streams(5 - victim, 4)
    for stream in own:
        stream.until(b"first")
    three.processes[victim - 1].kill()
    gone = [stream for stream in (*held, *own) if instance(stream) == f"w{victim}-i1"]
    for stream in gone:
        assert stream.rest().error  # told in the stream, for it had begun
    for stream in (*held, *own):
        assert stream in gone or stream.until(OPENAI.keep_alive)


def test_places_borrowed_by_killed_process_are_freed(three, streams):
    held = streams(1, 24)
    for stream in held:
        stream.until(b"first")
    three.processes[0].kill()
    three.processes[0].wait()
    again = [Stream(three, OPENAI, HOLD, key=KEY) for _ in range(16)]
    for stream in again:
        stream.until(b"first")
    assert sorted(instance(stream) for stream in again) == ["w2-i1"] * 8 + ["w3-i1"] * 8
    for stream in again:
        stream.hang_up()


def test_turn_lost_before_text_is_asked_elsewhere(three, streams):
    for name in ("w2-i1", "w3-i1"):
        three.control(name, turns=[{"fault": "crash", "after": 0}])
    held = streams(1, 8)
    for stream in held:
        stream.until(b"first")
    for stream in held[1:]:
        stream.hang_up()
    (stream,) = streams(1, 1, "[[sim: text=whole]] x")
    assert stream.rest().text == "whole"
    for name in ("w2-i1", "w3-i1"):
        three.control(name)


def test_stopping_process_finishes_what_it_lent(three, streams):
    held = streams(1, 8)
    for stream in held:
        stream.until(b"first")
    lent = streams(1, 2, '[[sim: text="slow but whole" chunks=3 delay_ms=1000]] x')
    for stream in lent:
        stream.until(b"slow")
    lenders = [three.processes[number - 1] for number in {int(instance(stream)[1]) for stream in lent}]
    for process in lenders:
        process.terminate()
    assert [stream.rest().text for stream in lent] == [" but whole"] * 2
    for process in lenders:
        process.wait(30)


def test_stopping_process_ends_what_runs_elsewhere_readably(three, acquainted):
    begun = asked(three, 1, OPENAI, '[[sim: text="an answer"]] begin')
    said = [("user", '[[sim: text="an answer"]] begin'), ("assistant", begun.text), ("user", HOLD + "go on")]
    (connection,) = connected(three, 2)
    held = Held(connection, [{"role": role, "content": text} for role, text in said])
    held.until(b"first")
    assert instance(held) == "w1-i1"
    three.processes[1].terminate()
    assert "shutting down" in held.rest().error["message"]
    three.processes[1].wait(30)
    connection.close()


def test_process_with_starting_instance_is_ready_through_siblings(three):
    three.control("w2-i1", start_delay_ms=60_000)
    (connection,) = connected(three, 2)
    three.lingma("w2-i1").kill()
    until(lambda: "w2-i1" not in ready(connection))
    for wire in FORMATS:
        for stream in (False, True):
            answer = asked(three, 2, wire, "[[sim: text=elsewhere]] x", stream=stream)
            assert (answer.status, answer.text) == (200, "elsewhere")
    assert exchange(connection, "GET", "/readyz").status == 200
    connection.close()
    three.control("w2-i1")
    three.processes[1].kill()
    three.processes[1].wait()
