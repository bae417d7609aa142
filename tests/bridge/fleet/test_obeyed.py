"""What is missing until an order is done, by what instances tell of themselves."""

import msgspec
import pytest

from bridge.fleet.obeyed import Given, since, undone
from bridge.fleet.orders import Action
from bridge.pool.instances.orders import EVERY, Order
from bridge.status.instance import InstanceStatus
from bridge.status.logins import WantedLogin
from bridge.status.smoke import SmokeReport
from bridge.status.states import InstanceState as S
from bridge.status.transitions import Transition, TransitionReason
from bridge.status.versions import WantedVersion
from bridge.status.wanted import Mode

IDLE = InstanceStatus(
    name="w1-i1", process=1, pid=99, generation=1, state=S.READY, login=True, in_flight=0, limit=8, restarts=0,
    last_error="", version="2.5.1", upstream="lingma", models=6, started_at=1000.0, at=2000.0,
)  # fmt: skip


def told(**other):
    return msgspec.structs.replace(IDLE, **other)


def given(action, order=None, before=IDLE):
    return Given(action, frozenset({"w1-i1"}), {EVERY: order or Order()}, {"w1-i1": before})


LOGIN = Order(login=WantedLogin(7, 3))
MOVED = Order(version=WantedVersion("2.9.0", "x", "y"))
AGAIN = {"generation": 3, "started_at": 2001.0}
ASKED = SmokeReport(1990.0, ok=True)


@pytest.mark.parametrize(
    ("action", "order", "not_yet", "done"),
    [
        (Action.DRAIN, None, {}, {"mode": Mode.DRAIN, "state": S.DRAINING}),
        (Action.DRAIN, None, {"mode": Mode.DRAIN, "state": S.DRAINING, "in_flight": 1}, {"mode": Mode.DRAIN}),
        (Action.STOP, None, {"mode": Mode.STOP, "state": S.DRAINING}, {"mode": Mode.STOP, "state": S.STOPPED}),
        (Action.START, None, {"mode": Mode.DRAIN, "state": S.DRAINING}, {}),
        (Action.START, None, {"state": S.STARTING}, {"state": S.BUSY}),
        (Action.RESTART, None, {}, AGAIN),
        (Action.RESTART, None, AGAIN | {"state": S.STARTING}, AGAIN),
        (Action.RESTART, None, {"replacing": True}, AGAIN | {"mode": Mode.DRAIN, "state": S.DRAINING}),
        # A successor that was on its way before the order is no answer to it.
        (Action.RESTART, None, {"generation": 2, "started_at": 1999.0}, AGAIN),
        (Action.COOL, Order(cool_until=2300.0), {}, {"cool_until": 2300.0, "state": S.COOLING}),
        (Action.CLEAR, None, {"cool_until": 2100.0, "cools_for": "limited", "state": S.COOLING}, {}),
        (Action.CLEAR, None, {"state": S.FAILED}, {}),
        (Action.SMOKE, None, {}, {"smoke": ASKED}),
        (Action.SMOKE, None, {"smoke": msgspec.structs.replace(ASKED, ok=False)}, {"smoke": ASKED}),
        (Action.RELOGIN, LOGIN, {"held_login": 7, "login_generation": 3}, {"held_login": 7, "login_generation": 4}),
        (Action.MOVE, MOVED, {"installed": "2.5.1"}, {"installed": "2.9.0"}),
        (Action.MOVE, None, {"at": 2001.0}, {"installed": "2.9.0"}),
        (Action.MOVE, None, {"at": 2010.0, "replacing": True}, {"at": 2010.0}),
    ],
)
def test_instances_are_waited_for(action, order, not_yet, done):
    order = given(action, order)
    assert [line.partition(":")[0] for line in undone(order, [told(**not_yet)])] == ["w1-i1"]
    assert undone(order, [told(**done)]) == []


def test_steps_since_the_order_are_told():
    steps = [
        Transition(2004.0, S.READY, TransitionReason.CONNECTED),
        Transition(2003.0, S.STARTING, TransitionReason.STARTED),
        Transition(2002.0, S.BACKOFF, TransitionReason.FAILED, "the program exited\nwith code 1"),
        Transition(1999.0, S.READY, TransitionReason.REPLACED),
    ]
    found = since(given(Action.RESTART), {"w1-i1": steps})
    why = "it failed: the program exited with code 1, then its service is started, then it is connected"
    assert found == [f"w1-i1 since the order: {why}"]
    assert since(given(Action.RESTART), {"w1-i1": steps[3:]}) == []


def test_smoke_chats_from_before_do_not_count():
    order = given(Action.SMOKE, before=told(smoke=ASKED))
    assert undone(order, [told(smoke=ASKED)]) == ["w1-i1: ready"]


def test_relogin_waits_for_own_logins_only():
    assert undone(given(Action.RELOGIN), [IDLE]) == []


def test_missing_names_turns_and_errors():
    failed = {"state": S.FAILED, "last_error": "no licence"}
    assert undone(given(Action.START), [told(**failed)]) == ["w1-i1: failed, no licence"]
    assert undone(given(Action.STOP), [told(in_flight=1)]) == ["w1-i1: ready, 1 turn in flight"]
    assert undone(given(Action.STOP), [told(in_flight=2)]) == ["w1-i1: ready, 2 turns in flight"]


def test_silence_is_never_done():
    assert undone(given(Action.DRAIN), []) == ["w1-i1: no sign of life"]
    assert undone(Given(Action.DRAIN, None), []) == ["no web process gives a sign of life"]
    assert undone(Given(Action.SIZE, None, size=2), []) == ["no web process gives a sign of life"]


def test_order_for_all_is_for_newcomers():
    drained, other = told(mode=Mode.DRAIN), told(name="w1-i2")
    assert undone(Given(Action.DRAIN, None), [drained, other]) == ["w1-i2: ready"]


def test_size_is_of_each_process_and_machine():
    order = Given(Action.SIZE, None, size=2)
    there = [told(name=name, process=2) for name in ("a-w2-i1", "a-w2-i2", "b-w2-i1")]
    assert undone(order, there) == ["b-w2-i2: no sign of life"]
    assert undone(order, [*there, told(name="b-w2-i2", process=2)]) == []
    assert undone(Given(Action.SIZE, None, size=1, process=2), there[:2]) == ["a-w2-i2: ready, has not left yet"]
    assert undone(Given(Action.SIZE, None, size=1, process=3), there) == [
        "web-3: none of its instances gives a sign of life"
    ]
