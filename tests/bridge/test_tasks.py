"""What Celery does for the bridge, against a real Redis."""

import logging
import time
from datetime import timedelta

import msgspec
import pytest
import redis
from django.core.management import call_command
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from bridge.fleet.logins import spread
from bridge.fleet.spread_orders import by_itself
from bridge.models import Instance, InstanceOrder, Login
from bridge.status.instance import InstanceStatus
from bridge.tasks import check_instances
from gateway_project.celery import app as celery

pytestmark = pytest.mark.django_db


@pytest.fixture
def beat(redis_server):
    """Publish a heartbeat as a pool does."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()

        def beat(name="w1-i1", **changes):
            facts = {
                "name": name, "process": 1, "pid": 99, "generation": 1, "state": "ready", "login": True,
                "in_flight": 2, "limit": 8, "restarts": 0, "last_error": "", "version": "2.5", "upstream": "lingma",
                "models": 6, "started_at": time.time() - 60, "at": time.time(),
            }  # fmt: skip
            value = msgspec.json.encode(InstanceStatus(**facts | changes))
            client.set(f"lgw:instance:{name}", value, ex=120)

        beat.client = client
        yield beat
        client.flushdb()


def states():
    return dict(Instance.objects.values_list("name", "state"))


def test_a_heartbeat_becomes_a_row(beat):
    beat(in_flight=3, version="2.5.1")
    check_instances()
    row = Instance.objects.get()
    assert (row.name, row.state, row.in_flight, row.limit, row.version) == ("w1-i1", "ready", 3, 8, "2.5.1")


def test_instances_checked_twice_stay_as_they_are(beat):
    beat()
    check_instances()
    check_instances()
    assert states() == {"w1-i1": "ready"}


def test_a_heartbeat_that_stopped_leaves_a_gone_instance(beat):
    beat()
    check_instances()
    beat.client.delete("lgw:instance:w1-i1")
    check_instances()
    row = Instance.objects.get()
    assert (row.state, row.in_flight, row.login) == ("gone", 0, False)


def test_returning_instance_is_no_longer_gone(beat):
    beat()
    check_instances()
    beat.client.flushdb()
    check_instances()
    beat(generation=2)
    check_instances()
    assert states() == {"w1-i1": "ready"}


def test_instance_gone_for_a_day_is_removed(beat):
    beat()
    check_instances()
    Instance.objects.update(seen_at=timezone.now() - timedelta(hours=25))
    beat.client.flushdb()
    check_instances()
    assert states() == {}


def test_given_logins_of_gone_instances_are_forgotten(beat, settings):
    login = Login.objects.create(label="main", generation=1)
    for name in ("given", "changed", "held", "by-hand"):
        beat(f"{name}-w1-i1")
    with by_itself():
        spread(settings.REDIS_URL, [f"{name}-w1-i1" for name in ("given", "changed", "held")])
    InstanceOrder.objects.create(name="by-hand-w1-i1", login=login)
    other = Login.objects.create(label="other")
    for name, columns in (("changed", {"login": other}), ("held", {"mode": "stop"})):
        changed = InstanceOrder.objects.get(name=f"{name}-w1-i1")
        for column, value in columns.items():
            setattr(changed, column, value)
        changed.save()
    check_instances()
    beat.client.flushdb()
    check_instances()
    assert InstanceOrder.objects.count() == 4  # gone for a moment
    Instance.objects.update(seen_at=timezone.now() - timedelta(hours=25))
    check_instances()
    kept = set(InstanceOrder.objects.values_list("name", flat=True))
    assert kept == {"changed-w1-i1", "held-w1-i1", "by-hand-w1-i1"}


def test_a_change_of_state_is_logged_once(beat, caplog):
    caplog.set_level(logging.INFO)
    beat()
    check_instances()
    beat(state="backoff", last_error="exit code 1")
    check_instances()
    check_instances()
    told = [(record.levelname, record.fields["was"], record.fields["state"]) for record in caplog.records]
    assert told == [("INFO", None, "ready"), ("WARNING", "ready", "backoff")]


def test_an_unreadable_heartbeat_hides_no_other(beat, caplog):
    beat()
    beat.client.set("lgw:instance:w1-i2", b"{}")
    check_instances()
    assert states() == {"w1-i1": "ready"}
    assert "could not be read" in caplog.text


def test_instances_are_not_gone_without_redis(beat, settings):
    beat()
    check_instances()
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    with pytest.raises(redis.ConnectionError):
        check_instances()
    assert states() == {"w1-i1": "ready"}


@pytest.fixture(scope="module")
def tasks():
    """All tasks. Celery sets Django up again, and with it the log, so this comes before anybody listens to it."""
    celery.loader.import_default_modules()
    return celery.tasks


@pytest.mark.parametrize("name", ["bridge.check_instances", "sessions_store.clean", "accounts.flush_usage"])
def test_task_without_redis_fails_without_a_trace(tasks, name, settings, caplog):
    """That Redis is away is told as such; a trace of fifty lines for each try would hide it."""
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    assert tasks[name].apply().state == "FAILURE"
    assert [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO] == []


def test_the_periodic_tasks_come_with_the_tables():
    found = {each.task: (each.interval.every, each.interval.period) for each in PeriodicTask.objects.all()}
    assert found == {
        "bridge.check_instances": (10, "seconds"),
        "bridge.check_alerts": (15, "seconds"),
        "bridge.look_after_logins": (10, "seconds"),
        "bridge.smoke": (900, "seconds"),
        "sessions_store.clean": (300, "seconds"),
        "accounts.prune_usage": (86_400, "seconds"),
        "accounts.sum_days": (600, "seconds"),
        "accounts.prune_answers": (600, "seconds"),
    }


def test_second_migration_leaves_what_operators_changed():
    before = PeriodicTask.objects.count()
    PeriodicTask.objects.filter(task="bridge.check_instances").update(enabled=False)
    PeriodicTask.objects.filter(task="sessions_store.clean").delete()
    call_command("migrate", verbosity=0)
    assert not PeriodicTask.objects.get(task="bridge.check_instances").enabled
    assert PeriodicTask.objects.count() == before
