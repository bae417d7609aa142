"""What happens between two statements."""

from contextlib import contextmanager

from django.db import connection


@contextmanager
def once_before(statement, action):
    """Call it just before the first statement of SQL that begins so."""
    actions = [action]

    def look(execute, sql, params, many, context):
        if sql.startswith(statement) and actions:
            actions.pop()()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        yield
    assert not actions
