"""The backend for SQLite."""

import gc
import os
from contextlib import closing

import pytest
from django.db import DatabaseError
from django.db.utils import ConnectionHandler

from gateway_project.databases import database
from gateway_project.lib.database.database_file import is_in_place


def open_files(path):
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link) == str(path) for link in links if os.path.lexists(link))


def test_broken_setup_closes_the_connection(tmp_path, django_db_blocker):
    path = tmp_path / "none.sqlite3"
    path.write_bytes(b"text" * 1024)
    wrapper = ConnectionHandler({"default": database(f"sqlite:///{path}", tmp_path)})["default"]
    gc.disable()
    try:
        for _ in range(3):
            with django_db_blocker.unblock(), pytest.raises(DatabaseError, match="not a database"):
                wrapper.ensure_connection()
        assert open_files(path) == 0
    finally:
        gc.enable()


def test_replaced_file_is_noticed(tmp_path, django_db_blocker):
    path = tmp_path / "a.sqlite3"
    wrapper = ConnectionHandler({"default": database(f"sqlite:///{path}", tmp_path)})["default"]
    with django_db_blocker.unblock(), closing(wrapper):
        wrapper.ensure_connection()
        assert is_in_place(wrapper)
        path.rename(tmp_path / "b.sqlite3")
        assert not is_in_place(wrapper)
        path.touch()
        assert not is_in_place(wrapper)
