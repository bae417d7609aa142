"""When the files of a login that a service writes are whole."""

from bridge.pool.logins.written_login import STABLE_SEC, WrittenLogin

FIRST, SECOND = ((1, 10, 100), (2, 20, 100)), ((1, 10, 100), (3, 25, 160))


def test_files_are_due_when_they_rest():
    written = WrittenLogin()
    assert written.look(FIRST, 10.0)
    assert not written.is_due(10.0)
    assert written.look(SECOND, 12.0)
    assert not written.look(SECOND, 10.0 + STABLE_SEC)
    assert not written.is_due(10.0 + STABLE_SEC)
    assert written.is_due(12.0 + STABLE_SEC)


def test_stored_files_are_due_no_more():
    written = WrittenLogin()
    written.look(FIRST, 0.0)
    written.stored()
    assert not written.is_due(60.0)
    written.look(SECOND, 61.0)
    assert written.is_due(61.0 + STABLE_SEC)


def test_absent_files_are_never_due():
    written = WrittenLogin()
    assert not written.look(None, 0.0)
    assert not written.is_due(60.0)
    written.look(FIRST, 61.0)
    assert written.look(None, 62.0)
    assert not written.is_due(120.0)
