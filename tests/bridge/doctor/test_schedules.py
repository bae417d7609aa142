"""Schedules as the doctor sees them."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation
from django_celery_beat.models import PeriodicTask

from bridge.doctor import schedules
from bridge.tasks import check_instances, look_after_logins
from gateway_project.lib.redis import redis_keys

pytestmark = pytest.mark.django_db
NAME, TASK = "Check instances", "bridge.check_instances"


@pytest.fixture
def found(installed, findings):
    """The line about one schedule, of a gateway that runs since an hour."""

    def found(succeeded=None, *, handed_out=None, since=3600, **columns):
        state = installed(held=True)
        state.redis_answers = state.database_answers = True
        state.started_at = state.now - since
        if succeeded is not None:
            state.redis.hset(redis_keys.SCHEDULES, TASK, state.now - succeeded)
        ran = handed_out if handed_out is None else datetime.now(UTC) - timedelta(seconds=handed_out)
        PeriodicTask.objects.filter(name=NAME).update(last_run_at=ran, **columns)
        [line] = [each for each in findings(schedules.schedules, state) if each[1].startswith(NAME)]
        return line

    return found


def test_last_success_is_told(found):
    assert found(8, handed_out=8) == ("ok", f"{NAME}: its last success was 8 s ago")


def test_names_are_in_the_readers_language(installed, findings):
    PeriodicTask.objects.filter(name="Clean sessions").update(name="Name")  # an operator's; a word of the catalogue
    state = installed(held=True)
    state.redis_answers = state.database_answers = True
    with translation.override("zh-hans"):
        told = " ".join(text for _, text in findings(schedules.schedules, state))
    assert "检查实例" in told
    assert re.findall("[A-Z][a-z]+", told) == ["Name"]


def test_late_success_fails_and_names_its_task(found):
    level, text = found(1200, handed_out=5)
    assert level == "fail"
    assert text == f"{NAME} is late: its last success was 20 min ago Search the log of the worker for {TASK}."


def test_tasks_are_not_late_after_a_start(found):
    assert found(1200, handed_out=5, since=60)[0] == "ok"


def test_task_switched_on_lately_is_not_late(found):
    assert found(1200)[0] == "ok"


def test_run_without_success_is_noticed(found):
    assert found(handed_out=600)[0] == "warn"


def test_task_never_handed_out_is_not_due(found):
    assert found() == ("ok", f"{NAME} has not been due yet")


def test_task_that_is_switched_off_says_so(found):
    assert found(9999, enabled=False) == ("ok", f"{NAME} is switched off")


def test_worker_notes_successes_and_no_failures(installed, redis_server, settings):
    settings.REDIS_URL = redis_server
    state = installed()
    check_instances.apply()
    look_after_logins.apply(args=("one too many",))
    assert set(state.redis.hgetall(redis_keys.SCHEDULES)) == {TASK.encode()}
    assert abs(state.now - int(state.redis.hget(redis_keys.SCHEDULES, TASK))) < 60
