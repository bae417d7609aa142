"""Every action, ordered on a page, by the API and by a command: the same order, and who gave it in the audit log."""

import json
import time

import pytest

from accounts.audit.context import unrecorded
from accounts.models import AuditEntry
from bridge.admin.instance_actions import BUTTONS
from bridge.fleet.orders import Action, read_orders
from bridge.models import InstanceOrder, Login, LoginAttempt, Version
from bridge.status.logins import LoginKind
from bridge.status.wanted import Mode
from tests.bridge.fleet.test_orders import by_command
from tests.bridge.fleet.test_orders import instances as instances

pytestmark = pytest.mark.django_db
NAME = "w1-i1"


def is_recent(moment):
    return abs(time.time() - moment) < 60


DONE = {
    Action.DRAIN: lambda order: order.mode is Mode.DRAIN,
    Action.RESTART: lambda order: is_recent(order.restart_before),
    Action.STOP: lambda order: order.mode is Mode.STOP,
    Action.START: lambda order: (order.mode, order.cool_until) == (Mode.RUN, 0),
    Action.COOL: lambda order: is_recent(order.cool_until - 300),
    Action.CLEAR: lambda order: is_recent(order.cleared_at),
    Action.SMOKE: lambda order: is_recent(order.smoke_at),
    Action.RELOGIN: lambda order: LoginAttempt.objects.get().login_id == order.login.login,
    Action.MOVE: lambda order: order.version.version == "2.11.1",
}
"""Whether what was ordered is what pools read."""


def by_page(client, action):
    if action is Action.MOVE:
        return client.post(f"/admin/bridge/version/{Version.objects.get().pk}/move/", {"name": NAME})
    return client.post(f"/admin/bridge/instance/{NAME}/{action}/", {"confirmed": "yes"})


def by_api(client, action):
    body = {"action": action} | ({"version": "2.11.1"} if action is Action.MOVE else {})
    return client.post(f"/api/instances/{NAME}/actions/", json.dumps(body), "application/json")


def by_hand(_client, action):
    return by_command(action, NAME, *(["--version=2.11.1"] if action is Action.MOVE else []))


WAYS = {"console": by_page, "rest": by_api, "command": by_hand}


@pytest.fixture
def held(instances):
    """The instance is drained, cools down, and has a login; a version is installed."""
    with unrecorded():
        Version.objects.create(version="2.11.1", archive_sha256="0" * 64)
        login = Login.objects.create(label="work", kind=LoginKind.BROWSER)
        InstanceOrder.objects.create(name=NAME, mode=Mode.DRAIN, login=login)


def test_table_has_every_action():
    assert {*DONE} == {*Action} - {Action.SIZE}
    assert {*BUTTONS} == {*DONE} - {Action.MOVE}


@pytest.mark.parametrize("source", WAYS)
@pytest.mark.parametrize("action", DONE)
def test_action_is_ordered_and_recorded(admin_client, held, source, action):
    if action is Action.DRAIN:
        InstanceOrder.objects.update(mode=Mode.RUN)
    last = AuditEntry.objects.order_by("-id").values_list("id", flat=True).first() or 0
    WAYS[source](admin_client, action)
    assert DONE[action](read_orders()[NAME])
    [entry] = AuditEntry.objects.filter(id__gt=last)
    assert (entry.source, entry.actor) == (source, "pool" if source == "command" else "admin")
    assert ("work" if action is Action.RELOGIN else NAME) in entry.object_text
    assert entry.changes
