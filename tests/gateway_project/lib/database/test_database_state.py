"""How the database is doing, as one process has met it."""

import sqlite3
from contextlib import closing

import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError, connection

from gateway_project.lib import degraded
from gateway_project.lib.database import database_state as database


def test_a_failure_is_noted_until_something_works():
    database.failed(OperationalError("connection\n refused"))
    assert database.away()
    assert [facts.why for facts in degraded.active()] == ["connection refused"]
    database.works()
    assert not database.away()
    assert degraded.active() == []


def test_one_asker_probes_at_a_time(monkeypatch):
    database.failed("away")
    assert not database.may_try()
    monkeypatch.setattr("gateway_project.lib.database.database_state.RETRY_SEC", 0)
    database.failed("away")
    assert database.may_try()


def test_doubtful_errors_are_only_doubted():
    database.doubt()
    assert (database.in_doubt(), database.away()) == (True, False)
    database.works()
    assert not database.in_doubt()


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_run_may_be_left_out(error):
    with database.doing_without():
        raise error("gone")
    assert database.away()
    with database.doing_without():
        pass
    assert not database.away()


def test_foreign_errors_are_raised():
    with pytest.raises(ProgrammingError), database.doing_without():
        raise ProgrammingError
    assert not database.away()


def test_patience_belongs_to_innermost_block_and_thread():
    assert database.seconds_left(7) == 7
    with database.within(5, ahead=True):
        assert 0 < database.seconds_left(7) <= 5
        with database.within(0):
            assert database.seconds_left(7) == 0
            assert not database.goes_ahead()
        assert database.goes_ahead()
    assert database.seconds_left(7) == 7


def test_full_sqlite_file_is_disk_trouble(tmp_path):
    with closing(sqlite3.connect(tmp_path / "full.sqlite3", isolation_level=None)) as file:
        file.execute("create table rows (text)")
        file.execute("pragma max_page_count = 2")
        with database.doing_without(), connection.wrap_database_errors:
            file.execute("insert into rows values (?)", ["x" * 100_000])
    assert [(facts.name, facts.why) for facts in degraded.active()] == [("disk", "database: database or disk is full")]
    assert database.away()
    database.failed("database is locked")
    assert degraded.is_on("database")
    database.works()
    assert degraded.active() == []
