"""The states of an instance: every state, everything that can happen in it, and what follows."""

from itertools import product

import pytest

from bridge.pool.instances.state_machine import CONNECTED, Event, after, connected
from bridge.status.accounts import Remedy
from bridge.status.states import OWN_STATES, InstanceState

KEPT = [each for each in OWN_STATES if each is not InstanceState.BUSY]
FOUND = "found"
"""What its account, its orders and its pauses make of one that is connected."""
EVENTS = (
    Event.BEGINS, Event.SIGNED_ON, Event.CHANGED, Event.LOST, Event.ENDS, Event.FAILED, Event.RESTS, Event.CLOSED,
)  # fmt: skip
UP = ("starting", FOUND, FOUND, "starting", "draining", "backoff", "stopped", "stopped")
TABLE = {
    "starting": ("starting", FOUND, "starting", "starting", "draining", "backoff", "stopped", "stopped"),
    "ready": UP,
    "login_required": UP,
    "degraded": UP,
    "failed": UP,
    "cooling": UP,
    "draining": UP,
    "backoff": ("starting", FOUND, "backoff", "backoff", "draining", "backoff", "stopped", "stopped"),
    "stopped": ("starting", FOUND, "stopped", "stopped", "stopped", "backoff", "stopped", "stopped"),
}
"""By state, in the order of EVENTS."""


def test_table_has_every_pair():
    assert set(EVENTS) == set(Event)
    assert set(TABLE) == set(KEPT)


@pytest.mark.parametrize(("state", "event"), list(product(KEPT, EVENTS)), ids=lambda each: getattr(each, "name", None))
def test_state_follows_from_state_and_event(state, event):
    expected = TABLE[state][EVENTS.index(event)]
    for found in CONNECTED:
        assert after(state, event, found) == (found if expected == FOUND else expected)


@pytest.mark.parametrize(
    ("remedy", "state"),
    [
        (Remedy.NONE, "ready"), (Remedy.LOGIN, "login_required"), (Remedy.TIME, "degraded"),
        (Remedy.ADMINISTRATOR, "failed"),
    ],
)  # fmt: skip
def test_account_orders_and_pauses_make_a_state(remedy, state):
    assert connected(remedy, is_held=False, is_paused=False) == state
    paused = "cooling" if remedy is Remedy.NONE else state
    assert connected(remedy, is_held=False, is_paused=True) == paused
    assert {connected(remedy, is_held=True, is_paused=each) for each in (False, True)} == {InstanceState.DRAINING}
