"""The live page in the console, without its scripts."""

import time

import msgspec
import pytest
import redis
from django.contrib.auth.models import Permission
from django.urls import reverse

from bridge.admin.live import SOCKET
from bridge.fleet.live_view import LONGEST_ERROR, live_view
from bridge.http import live
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from gateway_project.server import websocket

pytestmark = pytest.mark.django_db
PAGE, NOW = reverse("admin:live"), reverse("admin:live_now")


def status(name, process=1, **changes):
    facts = {
        "pid": 9, "generation": 1, "state": InstanceState.READY, "login": True, "in_flight": 2, "limit": 8,
        "restarts": 3, "last_error": "", "version": "2.11.1", "upstream": "lingma", "models": 6, "started_at": 1.0,
        "at": time.time(), "waiting": 5,
    }  # fmt: skip
    return InstanceStatus(name=name, process=process, **facts | changes)


@pytest.fixture
def running(redis_server, settings):
    """Heartbeats of these instances."""
    settings.REDIS_URL = redis_server
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()

        def running(*statuses):
            for each in statuses:
                client.set(f"lgw:instance:{each.name}", msgspec.json.encode(each))

        yield running
        client.flushdb()


def test_page_is_right_when_it_is_loaded(admin_client, running):
    running(status("w1-i1"), status("w2-i1", 2, state=InstanceState.LOGIN_REQUIRED, cool_until=time.time() + 60))
    page = admin_client.get(PAGE).content.decode()
    assert 'data-instance="w1-i1"' in page
    assert "login required" in page
    assert "2 / 8" in page
    assert "paused for" in page
    assert reverse("admin:bridge_instance_drain_one", args=["w2-i1"]) in page


def test_one_address_names_the_socket_everywhere():
    assert {SOCKET} == {live.PATH} == websocket.PATHS


def test_polled_snapshot_is_that_of_the_socket(admin_client, running):
    running(status("w2-i1", 2), status("w1-i1"))
    found = msgspec.json.decode(admin_client.get(NOW).content)
    assert [each["name"] for each in found["instances"]] == ["w1-i1", "w2-i1"]
    assert found["processes"] == [
        {"process": 1, "in_flight": 2, "waiting": 5},
        {"process": 2, "in_flight": 2, "waiting": 5},
    ]


def test_turns_that_wait_count_once_for_a_process():
    view = live_view([status("w1-i1"), status("w1-i2")], [], 1.0)
    assert [(each.in_flight, each.waiting) for each in view.processes] == [(4, 5)]


def test_last_errors_are_short_and_without_secrets():
    [shown] = live_view([status("w1-i1", last_error="token=abcdefghijkl " + "x" * 999)], [], 1.0).instances
    assert "abcdefghijkl" not in shown.last_error
    assert len(shown.last_error) == LONGEST_ERROR


def test_redis_away_is_said(admin_client, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1"
    assert "Redis cannot be reached" in admin_client.get(PAGE).content.decode()
    assert admin_client.get(NOW).status_code == 503


def test_who_may_not_order_has_no_buttons(client, running, django_user_model):
    running(status("w1-i1"))
    user = django_user_model.objects.create_user("ann", is_staff=True)
    client.force_login(user)
    assert client.get(PAGE).status_code == client.get(NOW).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_instance"))
    page = client.get(PAGE).content.decode()
    assert 'data-instance="w1-i1"' in page
    assert "formaction" not in page
