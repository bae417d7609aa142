"""Rows that are made with their first change, on a real PostgreSQL: SQLite has one writer at a time."""

from tests.e2e.installation import django
from tests.trials.postgres import Postgres

TWO_AT_ONCE = """
import threading
from django.conf import settings
from django.db import connection, transaction
from bridge.fleet import logins, orders, sizes
from bridge.models import InstanceOrder, PoolSize
from bridge.status.logins import LoginKind

def both(*acts):
    '''The first has made its row, and commits only when the second waits for it, or has ended.'''
    made, errors = threading.Event(), []

    def first():
        with transaction.atomic():
            acts[0]()
            made.set()
            waits(second)

    def second_act():
        made.wait(30)
        acts[1]()

    def run(act):
        try:
            act()
        except Exception as exc:
            errors.append(type(exc).__name__)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in (first, second_act)]
    second = threads[1]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors

def waits(thread):
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while thread.is_alive():
        with connection.cursor() as cursor:
            cursor.execute(query)
            if cursor.fetchone()[0]:
                return

env = settings.ENV
told = [
    both(lambda: orders.give("drain", ["all"]), lambda: orders.give("smoke", ["all"])),
    both(lambda: sizes.order(2, 0, env), lambda: sizes.order(3, 0, env)),
    both(lambda: logins.make("one", LoginKind.BUNDLE), lambda: logins.make("one", LoginKind.BUNDLE)),
]
row = InstanceOrder.objects.get(name="all")
print(told, row.mode, row.smoke_at is not None, list(PoolSize.objects.values_list("size", flat=True)))
"""


def test_both_changes_of_a_new_row_count(tmp_path, migrated_postgres):
    with Postgres(migrated_postgres) as postgres:
        told = django(tmp_path, TWO_AT_ONCE, DATABASE_URL=postgres.url)
    assert told.splitlines()[-1] == "[[], [], ['ValidationError']] drain True [3]"
