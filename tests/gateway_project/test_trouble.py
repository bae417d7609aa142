"""Pages and the scheduler while the database is away, or locked by somebody else."""

import sqlite3
import time
from contextlib import closing, contextmanager
from datetime import timedelta

import django_celery_beat.models
import pytest
from celery import Celery
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.backends.signals import connection_created
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from gateway_project.beat import ResilientScheduler
from gateway_project.databases import database as database_settings
from gateway_project.databases import relax_deadlines
from gateway_project.lib.database import database_state as database

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def locked():
    """Somebody else writes, and does not come to an end."""
    connection.close()  # the next one has what patience is left
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
    connection.close()


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.05)


@contextmanager
def hidden(table):
    """A database that has lost a table."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_hidden")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_hidden RENAME TO {table}")


def test_login_names_a_locked_database(client, hasty, caplog):
    get_user_model().objects.create_superuser("anna", password="correct-horse")
    form = {"username": "anna", "password": "correct-horse"}
    with locked():
        page = client.post("/admin/login/", form)
        assert page.status_code == 503
        assert page["Retry-After"]
        assert "The database is away" in page.content.decode()
        assert database.in_doubt()
        assert not database.away()  # that is for those who serve keys to find out
        assert "Service Unavailable" not in caplog.text
    assert client.post("/admin/login/", form).status_code == 302


def test_programs_report_as_json(admin_client):
    with hidden("accounts_apikey"):
        answer = admin_client.get("/api/keys/")
    assert (answer.status_code, "database" in answer.json()["detail"]) == (503, True)


@pytest.mark.parametrize("table", ["django_session", "mfa_authenticator"])
@pytest.mark.parametrize("path", ["/admin/", "/usage/", "/api/keys/"])
def test_required_factor_that_cannot_be_looked_up(admin_client, settings, caplog, path, table):
    settings.ENV = settings.ENV.model_copy(update={"staff_mfa_required": True})
    admin_client.raise_request_exception = False
    with hidden(table):
        answer = admin_client.get(path)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "The database does not answer right now." in answer.content.decode()
    assert caplog.text == ""


def test_writer_waits_seconds_for_another_at_most():
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        assert 1000 <= cursor.fetchone()[0] <= 5000


def test_options_of_the_url_stand_beside_ours(tmp_path):
    found = database_settings("postgres://lgw@host/name?sslmode=require&connect_timeout=9", tmp_path)
    assert found["OPTIONS"]["sslmode"] == "require"
    assert int(found["OPTIONS"]["connect_timeout"]) == 9
    assert found["OPTIONS"]["lock_sec"] > 0


@pytest.mark.parametrize(("url", "option"), [("postgres://u@h/n", "statement_sec"), ("sqlite:///x", "timeout")])
def test_commands_on_whole_tables_are_patient(tmp_path, url, option):
    databases = {"default": database_settings(url, tmp_path)}
    before = databases["default"]["OPTIONS"][option]
    relax_deadlines(databases)
    assert databases["default"]["OPTIONS"][option] > before
    assert database_settings(url, tmp_path)["OPTIONS"][option] == before


@pytest.fixture
def scheduler(monkeypatch):
    monkeypatch.setattr("gateway_project.lib.database.database_state.RETRY_SEC", 0.0)
    return ResilientScheduler(app=Celery(set_as_current=False), lazy=True)


def test_scheduler_goes_on_with_what_it_read(scheduler, caplog):
    names = set(scheduler.schedule)
    assert names
    with hidden("django_celery_beat_periodictask"), hidden("django_celery_beat_periodictasks"):
        for _ in range(3):
            scheduler.sync()
            assert set(scheduler.all_as_schedule()) == names
            assert not scheduler.schedule_changed()
    assert set(scheduler.schedule) == names
    assert [each.levelname for each in caplog.records if each.levelname == "ERROR"] == []


def test_scheduler_without_database_reads_when_back(scheduler):
    with hidden("django_celery_beat_periodictask"):
        assert scheduler.schedule == {}
    assert scheduler.schedule


def test_the_scheduler_writes_when_tasks_ran(scheduler, hasty):
    name = next(iter(scheduler.schedule))
    scheduler._schedule[name] = scheduler.reserve(scheduler._schedule[name])
    with locked():
        scheduler.sync()
    assert PeriodicTask.objects.get(name=name).total_run_count == 0
    scheduler.sync()
    assert PeriodicTask.objects.get(name=name).total_run_count == 1


@pytest.fixture
def set_clock(monkeypatch):
    """Have the clock go ahead by so much."""
    true, library = time.time, django_celery_beat.models.now

    def set_clock(ahead):
        monkeypatch.setattr("gateway_project.beat.time.time", lambda: true() + ahead.total_seconds())
        monkeypatch.setattr("django_celery_beat.models.now", lambda: library() + ahead)

    return set_clock


@pytest.fixture
def often():
    """A scheduler with one task, which is always due."""
    PeriodicTask.objects.update(enabled=False)
    interval, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.MICROSECONDS)
    PeriodicTask.objects.create(name="often", task="often", interval=interval)
    return ResilientScheduler(app=Celery(set_as_current=False, broker="memory://"), lazy=True)


def runs(scheduler):
    for _ in range(5):
        scheduler.tick()
    scheduler.sync()
    return PeriodicTask.objects.get(name="often").total_run_count


def test_scheduler_keeps_its_connection(scheduler):
    connection.close()
    opened = []
    connection_created.connect(count := lambda **_: opened.append(1))
    for _ in range(3):
        assert scheduler.all_as_schedule()
        assert not scheduler.schedule_changed()
    connection_created.disconnect(count)
    assert len(opened) == 1


def test_scheduler_starts_after_the_clock_was_ahead(often):
    PeriodicTask.objects.update(last_run_at=timezone.now() + timedelta(days=1))
    assert runs(often) > 0


def test_scheduler_goes_on_after_the_clock_was_ahead(often, set_clock):
    set_clock(timedelta(days=1))
    before = runs(often)
    assert before > 0
    set_clock(timedelta(0))
    assert runs(often) > before
