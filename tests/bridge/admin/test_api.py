"""Instances in the operators' API."""

import time

import msgspec
import pytest
import redis

from bridge.models import Instance, Login
from bridge.status.instance import InstanceStatus
from bridge.status.logins import LoginKind
from bridge.status.states import InstanceState
from bridge.status.transitions import Transition, TransitionReason

pytestmark = pytest.mark.django_db


@pytest.fixture
def instances(db, redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        login = Login.objects.create(label="the first", kind=LoginKind.BUNDLE)
        for name, state, held in (("w1-i1", "ready", login.pk), ("w2-i1", "login_required", 0)):
            status = InstanceStatus(
                name=name, process=1, pid=99, generation=1, state=state, login=True, in_flight=2, limit=8, restarts=4,
                last_error="", version="2.5.1", upstream="lingma", models=6, started_at=time.time() - 7200,
                at=time.time(), held_login=held, login_generation=held and 3,
            )  # fmt: skip
            client.set(f"lgw:instance:{name}", msgspec.json.encode(status), ex=120)
        yield
        client.flushdb()


def test_list_is_that_of_the_heartbeats(admin_client, instances):
    rows = admin_client.get("/api/instances/").json()["results"]
    assert [(row["name"], row["state"], row["in_flight"]) for row in rows] == [
        ("w1-i1", "ready", 2), ("w2-i1", "login_required", 2),
    ]  # fmt: skip
    (row,) = admin_client.get("/api/instances/?state=login_required").json()["results"]
    alone = admin_client.get("/api/instances/w2-i1/").json()
    assert row == rows[1] == {name: value for name, value in alone.items() if name != "transitions"}
    backwards = admin_client.get("/api/instances/?ordering=-name&page_size=1").json()
    assert [row["name"] for row in backwards["results"]] == ["w2-i1"]
    assert [row["name"] for row in admin_client.get(backwards["next"]).json()["results"]] == ["w1-i1"]
    assert admin_client.get("/api/instances/?state=odd").status_code == 400


def test_instance_comes_with_its_timeline(admin_client, instances, redis_server):
    with redis.Redis.from_url(redis_server) as client:
        for step in (
            Transition(1_700_000_000.0, InstanceState.STARTING, TransitionReason.LOST, "lost", 5),
            Transition(1_700_000_001.5, InstanceState.READY, TransitionReason.CONNECTED, "", 6),
        ):
            client.lpush("lgw:timeline:w1-i1", msgspec.json.encode(step))
    found = admin_client.get("/api/instances/w1-i1/").json()
    assert (found["replacing"], found["state"]) == (False, "ready")
    assert found["transitions"] == [
        {"at": "2023-11-14T22:13:21.500000Z", "state": "ready", "why": "connected", "detail": "", "generation": 6},
        {"at": "2023-11-14T22:13:20Z", "state": "starting", "why": "lost", "detail": "lost", "generation": 5},
    ]  # fmt: skip
    listed = [each["last_step"] for each in admin_client.get("/api/instances/").json()["results"]]
    assert listed == [found["transitions"][0], None]


def test_list_names_the_logins_of_instances(admin_client, instances):
    rows = admin_client.get("/api/instances/").json()["results"]
    assert [(row["login_label"], row["login_generation"]) for row in rows] == [("the first", 3), (None, None)]


def test_instance_list_writes_no_row(admin_client, instances):
    admin_client.get("/api/instances/")
    assert not Instance.objects.exists()
    assert admin_client.delete("/api/instances/w1-i1/").status_code == 405
