"""The number of instances: ordered in three ways, within bounds, and missed by nobody when they are gone."""

import json

import msgspec
import pytest
from django.core.management import CommandError

from accounts.models import AuditEntry
from bridge.fleet import mirror
from bridge.fleet.sizes import read_sizes, size_of, taken_away
from bridge.models import Instance, PoolSize
from gateway_project.env import Environment
from tests.bridge.fleet.test_orders import beat, by_command, member
from tests.bridge.fleet.test_orders import instances as instances

pytestmark = pytest.mark.django_db
PAGE = "/admin/bridge/instance/size/"
ACTIONS = "/api/instances/all/actions/"


@pytest.fixture(autouse=True)
def two_processes(settings, monkeypatch):
    monkeypatch.setenv("WEB_PROCESSES", "2")
    settings.ENV = Environment(_env_file=None)


@pytest.mark.parametrize(
    ("sizes", "given", "size"),
    [
        ({}, {}, 1), ({}, {"LINGMA_INSTANCES": "4"}, 4), ({0: 3}, {}, 3), ({0: 3, 2: 5}, {}, 5),
        ({1: 2}, {"LINGMA_INSTANCES": "4"}, 4), ({2: 20}, {}, 16), ({2: 20}, {"LINGMA_INSTANCES": "32"}, 20),
        ({2: 9}, {"LINGMA_ATTACH_URLS": "ws://a:1,ws://b:1"}, 2),
    ],
)  # fmt: skip
def test_size_follows_order_then_settings(monkeypatch, sizes, given, size):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert size_of(2, sizes, Environment(_env_file=None)) == size


def test_one_process_or_all_are_ordered(admin_client):
    assert by_command("size", "3") == "size: 3 of each web process\n"
    assert by_command("size", "2", "2") == "size: 2 of web-2\n"
    assert read_sizes() == {0: 3, 2: 2}
    answer = admin_client.post(ACTIONS, json.dumps({"action": "size", "size": 4, "process": 1}), "application/json")
    assert (answer.status_code, read_sizes()) == (202, {0: 3, 1: 4, 2: 2})
    page = admin_client.post(PAGE, {"size": "5", "process": "0"}, follow=True).content.decode()
    assert "Ordered. It begins within two seconds." in page
    assert page.count('value="5"') == 3
    assert read_sizes() == {0: 5}
    rows = AuditEntry.objects.filter(object_type="bridge.poolsize").order_by("id").values_list("source", "action")
    assert list(rows) == [
        ("command", "created"), ("command", "created"), ("rest", "created"), ("console", "deleted"),
        ("console", "deleted"), ("console", "changed"),
    ]  # fmt: skip


def test_impossible_size_is_refused(admin_client, monkeypatch, settings):
    for words, arguments in (("From 1 to 16", ["17"]), ("From 1 to 16", ["0"]), ("no web process 3", ["2", "3"]),
                             ("no number", ["x"])):  # fmt: skip
        with pytest.raises(CommandError, match=words):
            by_command("size", *arguments)
    with pytest.raises(CommandError, match="takes one NAME"):
        by_command("drain", "all", "2")
    for path, body in ((ACTIONS, {"size": 17}), (ACTIONS, {"size": 2, "process": 9}),
                       ("/api/instances/w1-i1/actions/", {"size": 2})):  # fmt: skip
        answer = admin_client.post(path, json.dumps({"action": "size"} | body), "application/json")
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["size"])
    assert "This is no number." in admin_client.post(PAGE, {"size": "many"}, follow=True).content.decode()
    monkeypatch.setenv("LINGMA_ATTACH_URLS", "ws://a:1")
    settings.ENV = Environment(_env_file=None)
    with pytest.raises(CommandError, match="as many as LINGMA_ATTACH_URLS names"):
        by_command("size", "2")
    assert "as many as LINGMA_ATTACH_URLS names" in admin_client.get(PAGE).content.decode()
    assert not PoolSize.objects.exists()


@pytest.mark.parametrize(("group", "allowed"), [("Operator", True), ("Viewer", False), ("Team lead", False)])
def test_size_is_changed_by_operators_alone(group, allowed):
    client = member(group)
    client.post(PAGE, {"size": "2", "process": "0"})
    assert bool(read_sizes()) is allowed
    body = json.dumps({"action": "size", "size": 3})
    assert (client.post(ACTIONS, body, "application/json").status_code == 202) is allowed


def test_instance_taken_away_is_not_missed(instances, redis_server):
    for name in ("w1-i2", "w1-i3"):
        beat(instances, name)
    mirror.refresh(redis_server)
    instances.delete("lgw:instance:w1-i2", "lgw:instance:w1-i3", "lgw:instance:w2-i1")
    PoolSize.objects.create(process=1, size=2)
    assert {each.name: each.state for each in mirror.current(redis_server)} == {
        "w1-i1": "ready", "w1-i2": "gone", "w2-i1": "gone",
    }  # fmt: skip
    mirror.refresh(redis_server)
    assert set(Instance.objects.values_list("name", flat=True)) == {"w1-i1", "w1-i2", "w2-i1"}
    assert msgspec.json.decode(instances.get("lgw:instance:w1-i1"))["name"] == "w1-i1"


def test_names_of_machines_are_understood():
    PoolSize.objects.create(process=0, size=1)
    assert taken_away(["node-7-w1-i2", "w1-i1", "w12-i3", "odd"]) == {"node-7-w1-i2", "w12-i3"}
