"""Two machines that share a database and a Redis: a turn goes to its session, or to a free place, over TLS."""

import pytest

from accounts.ledger.trace import decoded
from tests.e2e.formats import ANTHROPIC, OPENAI, Stream, send
from tests.e2e.installation import KEY, until
from tests.e2e.watching import watching
from tests.trials.machines import machines

HOLD = '[[sim: text="first second" chunks=2 delay_ms=60000]] '


@pytest.fixture(scope="module")
def both(tmp_path_factory, template):
    with machines(tmp_path_factory.mktemp("machines"), template, KEEPALIVE_SEC="0.5", MAX_IN_FLIGHT="2") as two:
        yield two


@pytest.fixture
def pair(both):
    """The two, which know each other; one that a test has killed is started again."""
    for gateway in both:
        if gateway.processes[0].poll() is not None:
            gateway.processes[0] = gateway.start(1)
    for gateway, other in (both, both[::-1]):
        until(lambda gateway=gateway: send(gateway, "GET", "/readyz").status == 200)
        until(lambda gateway=gateway, other=other: handed(gateway, other), 60)
    return both


def conversation(gateway, other, wire=OPENAI, stream=False, named=""):
    """A conversation whose second turn comes to the other machine: both answers."""
    question = f'[[sim: text="an answer"]] {wire} {stream} {named}'
    begun = gateway.ask(OPENAI, question)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
    messages.append({"role": "user", "content": '[[sim: text="and on" think="a thought"]] go on'})
    return begun, other.ask(wire, messages, stream=stream)


def handed(gateway, other):
    return conversation(gateway, other, named="handed")[1].headers["x-lingma-session"] == "reused"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_conversation_keeps_its_session_on_either_machine(pair, wire, stream):
    for here, there in (pair, pair[::-1]):
        begun, answer = conversation(here, there, wire, stream)
        assert (answer.status, answer.text, answer.finish) == (200, "and on", wire.done)
        assert answer.headers["x-lingma-session"] == "reused"
        assert answer.headers["x-lingma-instance"] == begun.headers["x-lingma-instance"]


def test_row_says_where_the_turn_came_from(pair):
    north, south = pair
    _, answer = conversation(north, south, named="row")
    row = north.row(answer.headers["x-request-id"])
    assert (row["instance"], row["status"], row["session"]) == ("north-w1-i1", "ok", "reused")
    assert (decoded(row["trace"]).by, row["client"]) == ("south/web-1", "127.0.0.1")


def test_full_machine_hands_over_to_the_other(pair):
    north, _ = pair
    held = [Stream(north, OPENAI, HOLD, key=KEY) for _ in range(2)]
    for stream in held:
        stream.until(b"first")
    until(lambda: north.in_flight() == 2)
    answer = north.ask(ANTHROPIC, "[[sim: text=elsewhere]] x")
    assert (answer.text, answer.headers["x-lingma-instance"]) == ("elsewhere", "south-w1-i1")
    for stream in held:
        stream.hang_up()
    until(lambda: north.in_flight() == 0)


def test_waiting_turn_goes_where_a_place_becomes_free(pair, wire):
    north, _ = pair
    held = [Stream(gateway, OPENAI, HOLD, key=KEY) for gateway in pair for _ in range(2)]
    for stream in held:
        stream.until(b"first")
    until(lambda: north.in_flight() == 4)
    with Stream(north, wire, "[[sim: text=served]] x", key=KEY) as waiting:
        waiting.until(wire.keep_alive)  # which binds it to nobody
        held[2].hang_up()
        answer = waiting.rest()
    assert (answer.text, answer.finish, answer.error) == ("served", wire.done, None)
    row = north.row(answer.headers["x-request-id"])
    assert (row["status"], row["instance"], decoded(row["trace"]).by) == ("ok", "south-w1-i1", "north/web-1")
    for stream in held:
        stream.hang_up()
    until(lambda: north.in_flight() == 0)


def test_lost_login_is_made_good_by_the_other(pair):
    north, _ = pair
    north.control(turns=[{"fault": "finish_code", "after": 0, "finish": 401}])
    answer = north.ask(OPENAI, "[[sim: text=elsewhere]] another login")
    assert north.asks("another login")
    assert (answer.status, answer.text, answer.headers["x-lingma-instance"]) == (200, "elsewhere", "south-w1-i1")
    assert north.row(answer.headers["x-request-id"])["status"] == "ok"
    north.control()


def test_a_hang_up_goes_over(pair):
    north, south = pair
    question = "[[sim: text=begun]] to be left"
    begun = north.ask(OPENAI, question)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
    stream = Stream(south, OPENAI, [*messages, {"role": "user", "content": HOLD + "hang up"}], key=KEY)
    stream.until(b"first")
    stream.hang_up()
    assert until(lambda: north.stops("hang up", "w1-i1"))


def test_live_page_shows_both_machines(pair):
    north, south = pair
    question = "[[sim: text=begun]] to be seen"
    begun = north.ask(OPENAI, question)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
    goes_on = [*messages, {"role": "user", "content": HOLD + "seen"}]
    with Stream(south, OPENAI, goes_on, key=KEY) as stream, watching(north) as found:
        stream.until(b"first")
        snapshot = found(lambda it: len(it["processes"]) == 2 and it["turns"])
    assert [each["name"] for each in snapshot["processes"]] == ["north/web-1", "south/web-1"]
    assert [each["name"] for each in snapshot["instances"]] == ["north-w1-i1", "south-w1-i1"]
    # The machine that has handed it over does not list it.
    assert [(each["id"], each["instance"]) for each in snapshot["turns"]] == [(stream.request_id, "north-w1-i1")]


def test_killed_machine_costs_a_rebuild(pair):
    north, south = pair
    question = "[[sim: text=begun]] before the end"
    begun = south.ask(OPENAI, question)
    south.processes[0].kill()
    south.processes[0].wait()
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
    answer = north.ask(OPENAI, [*messages, {"role": "user", "content": "[[sim: text=again]] go on"}])
    assert (answer.status, answer.text, answer.headers["x-lingma-session"]) == (200, "again", "rebuilt")
