"""Maintenance windows and the number of instances, on a gateway that runs."""

import json

import pytest

from tests.e2e.formats import FORMATS, OPENAI, Stream, send
from tests.e2e.installation import KEY, django, until

OPEN = """
from datetime import timedelta
from django.utils import timezone
from bridge.models import MaintenanceWindow
now = timezone.now()
MaintenanceWindow.objects.create(name="upgrade", starts_at=now, ends_at=now + timedelta(hours=1))
"""
CLOSE = """
from django.utils import timezone
from bridge.models import MaintenanceWindow
for row in MaintenanceWindow.objects.all():
    row.ends_at = timezone.now()
    row.save()
"""
TOLD = """
import json
from django.conf import settings
from accounts.models import AuditEntry
from bridge.fleet import timelines
rows = AuditEntry.objects.filter(object_type="bridge.maintenancewindow", source="schedule").order_by("id")
steps = [each.why for each in timelines.read(settings.REDIS_URL, "w1-i1") if each.detail == "upgrade"]
print(json.dumps([[row.action for row in rows], steps[::-1]]))
"""
SIZE = """
from django.core.management import call_command
call_command("pool", "size", "%d")
"""
POOL = """
from django.core.management import CommandError, call_command
try:
    call_command("pool", *%r)
except CommandError as exc:
    print("refused:", exc)
"""


def pool(gateway, *arguments):
    return django(gateway.data_dir, POOL % (arguments,))


def works(gateway):
    return gateway.ask(OPENAI, "[[sim: text=x]] x").status == 200


def ready(gateway):
    there = send(gateway, "GET", "/readyz").json()["instances"]
    return [each["name"] for each in there if each["state"] == "ready"]


def test_number_of_instances_outlives_the_process(mortal):
    django(mortal.data_dir, SIZE % 2)
    until(lambda: ready(mortal) == ["w1-i1", "w1-i2"])
    mortal.processes[0].kill()
    mortal.processes[0].wait()
    mortal.processes[0] = mortal.start(1)
    until(lambda: ready(mortal) == ["w1-i1", "w1-i2"])
    django(mortal.data_dir, SIZE % 1)
    until(lambda: ready(mortal) == ["w1-i1"])
    assert works(mortal)
    with mortal.redis() as client:
        until(lambda: not client.exists("lgw:instance:w1-i2"))


def test_pool_command_waits_for_a_restart(mortal):
    until(lambda: works(mortal))
    (before,) = json.loads(pool(mortal, "list", "--json"))
    assert "done" in pool(mortal, "restart", "w1-i1", "--wait", "60")
    (after,) = json.loads(pool(mortal, "list", "--json"))
    assert (after["state"], after["reason"]) == ("ready", "the successor has taken over")
    assert after["pid"] != before["pid"]
    assert works(mortal)


def test_pool_command_says_what_is_missing(mortal):
    until(lambda: works(mortal))
    with Stream(mortal, OPENAI, '[[sim: text="first second" chunks=2 delay_ms=60000]] x', key=KEY) as running:
        running.until(b"first")
        until(lambda: mortal.in_flight() == 1)  # which is what the command tells
        assert "refused: Not done within 1 s: w1-i1: " in (told := pool(mortal, "drain", "all", "--wait", "1"))
        assert "1 turn in flight" in told
        running.hang_up()
    assert "done" in pool(mortal, "drain", "all", "--wait", "60")
    assert "w1-i1  draining" in (listed := pool(mortal, "list"))
    assert "by order" in listed
    assert "done" in pool(mortal, "start", "all", "--wait", "60")
    assert "done" in pool(mortal, "size", "2", "--wait", "60")
    assert ready(mortal) == ["w1-i1", "w1-i2"]
    assert "done" in pool(mortal, "size", "1", "--wait", "60")


@pytest.fixture(scope="module")
def closed(mortal):
    """A gateway in maintenance."""
    until(lambda: works(mortal))
    django(mortal.data_dir, OPEN)
    until(lambda: not works(mortal))
    until(lambda: json.loads(django(mortal.data_dir, TOLD))[0])
    yield mortal
    django(mortal.data_dir, CLOSE)
    until(lambda: works(mortal))
    told = until(lambda: len((found := json.loads(django(mortal.data_dir, TOLD)))[0]) == 2 and found)
    assert told == [["opened", "closed"], ["maintenance", "maintained"]]


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_pool_in_maintenance_says_until_when(closed, wire):
    answer = closed.ask(wire, "[[sim: text=x]] x", stream=True)
    assert answer.status == 503
    assert 3000 < int(answer.headers["retry-after"]) <= 3600
    assert "in maintenance until 20" in answer.body.decode()


def test_readiness_names_the_maintenance(closed):
    answer = send(closed, "GET", "/readyz")
    assert (answer.status, "in a maintenance window" in answer.body.decode()) == (503, True)
