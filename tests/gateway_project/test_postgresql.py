"""Connections to a real PostgreSQL that is slow, silent, restarted or full."""

import socket
import threading
import time
from contextlib import closing
from importlib import import_module

import pytest
from django.db import InterfaceError, OperationalError

from accounts.models import UsageTotal
from gateway_project.databases import database as database_settings
from gateway_project.lib.database import database_state as database
from gateway_project.postgresql import connection_pool
from gateway_project.postgresql.base import DatabaseWrapper
from tests.doors import Door
from tests.trials.postgres import Postgres


@pytest.fixture(autouse=True)
def a_database_of_its_own(django_db_blocker):
    """Tests that use no database of Django's are kept from all others too."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def server():
    with Postgres() as running:
        yield running


@pytest.fixture
def door(server):
    with Door(server.port) as door:
        yield door


class Users:
    """Threads' views of one database, as Django makes them."""

    def __init__(self, url, data_dir, **options):
        self._settings = database_settings(url, data_dir)
        self._settings |= {"TIME_ZONE": None, "AUTOCOMMIT": True, "ATOMIC_REQUESTS": False}
        self._settings["OPTIONS"] |= options
        self._alias = f"test-{id(self)}"

    def one(self):
        return closing(DatabaseWrapper(self._settings, self._alias))

    def ask(self, query="SELECT pg_backend_pid()"):
        with self.one() as wrapper, wrapper.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]

    def close(self):
        DatabaseWrapper(self._settings, self._alias).close_pool()


@pytest.fixture
def users(door, server, tmp_path):
    url = server.url.replace(str(server.port), str(door.port))
    users = Users(url, tmp_path, statement_sec="2")
    yield users
    users.close()


def test_a_connection_is_kept_for_the_next_user(users):
    assert len({users.ask() for _ in range(5)}) == 1


def test_connection_in_a_transaction_is_not_kept(users):
    with users.one() as wrapper:
        wrapper.set_autocommit(False)
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            first = cursor.fetchone()[0]
    assert users.ask() != first


def test_silent_server_ends_query_by_our_deadline(users, door):
    with users.one() as wrapper, wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
        door.swallow()
        with pytest.raises(OperationalError, match="no answer within 2 s"):
            cursor.execute("SELECT 1")
        with pytest.raises((OperationalError, InterfaceError)):
            wrapper.rollback()
    door.heal()
    assert users.ask("SELECT 1") == 1


def test_a_silent_server_ends_a_connection_attempt(users, door):
    door.swallow()
    began = time.monotonic()
    with database.within(0.3), pytest.raises(OperationalError, match="no connection within"):
        users.ask()
    assert time.monotonic() - began < 10


def test_unresolved_names_end_a_connection_attempt(users, monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: asked.wait(20) and [])
    users._settings["HOST"] = "database.example"
    try:
        with database.within(0.3), pytest.raises(OperationalError, match="no connection within"):
            users.ask()
    finally:
        asked.set()


@pytest.mark.parametrize("harm", ["restart", "cut", "silence"])
def test_dead_kept_connection_costs_no_error(users, server, door, monkeypatch, harm):
    monkeypatch.setattr(connection_pool, "FRESH_SEC", 0.0)
    monkeypatch.setattr(connection_pool, "CHECK_SEC", 2.0)  # a busy machine may answer later than usual
    with users.one() as one, users.one() as other:  # two that are kept
        first = {wrapper.cursor().execute("SELECT pg_backend_pid()").fetchone()[0] for wrapper in (one, other)}
    assert users.ask() in first
    if harm == "restart":
        server.stop()
        server.start()
    elif harm == "cut":
        door.cut()
    else:
        door.swallow()
        door.heal()
    assert users.ask() not in first


def test_connections_are_bounded_except_for_priority(users, monkeypatch):
    monkeypatch.setattr(connection_pool, "PLACE_SEC", 0.1)
    held = [users.one() for _ in range(connection_pool.MOST)]
    try:
        for each in held:
            each.thing.ensure_connection()
        with pytest.raises(OperationalError, match="are in use"):
            users.ask()
        with database.within(10, ahead=True):
            assert users.ask("SELECT 1") == 1
    finally:
        for each in held:
            each.thing.close()
    assert users.ask("SELECT 1") == 1


def test_the_server_has_deadlines_too(users):
    assert users.ask("SHOW statement_timeout") == "2s"
    assert users.ask("SHOW lock_timeout") == "4s"


def test_url_connection_options_are_honoured(server, tmp_path):
    users = Users(f"{server.url}?application_name=ours&statement_sec=3", tmp_path)
    try:
        assert users.ask("SHOW application_name") == "ours"
        assert users.ask("SHOW statement_timeout") == "3s"
    finally:
        users.close()


def test_digests_have_one_index(server, tmp_path):
    users = Users(server.url, tmp_path)
    with users.one() as wrapper:
        with wrapper.schema_editor(atomic=False) as editor:
            editor.create_model(UsageTotal)
        query = "SELECT count(*) FROM pg_indexes WHERE tablename = 'accounts_usagetotal' AND indexdef LIKE '%(digest%'"
        with wrapper.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetchone() == (2,)
            with wrapper.schema_editor(atomic=False) as editor:
                import_module("accounts.migrations.0026_no_like_indexes").drop(None, editor)
            cursor.execute(query)
            assert cursor.fetchone() == (1,)
    users.close()
